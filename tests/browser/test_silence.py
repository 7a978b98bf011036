"""When the script does nothing, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, Route

from browser.capture import SCRIPT, Site, looks

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

WWW = "www.example.com"
EXAMPLE = 'data-domain="example.com"'


async def use(site: Site, page: Page, url: str) -> None:
    """All that could make the script send something."""
    await page.goto(url)
    await looks(page)
    await page.evaluate("headcount('Event')")
    await page.evaluate("history.pushState({}, '', '/next')")
    await page.click("a")
    await looks(page)
    await page.goto(site.url("/without-the-tag", WWW))


LINK = '<a href="https://other.example.net/" onclick="event.preventDefault()">there</a>'


def says(name: str, value: str) -> str:
    return f"Object.defineProperty(Navigator.prototype, '{name}', {{get: () => {value}}})"


@pytest.mark.parametrize(
    "browser_says",
    [says("globalPrivacyControl", "true"), says("doNotTrack", "'1'"), says("webdriver", "true")],
    ids=["GPC", "DNT", "webdriver"],
)
async def test_nothing_is_sent_for_a_browser_that_says(site: Site, page: Page, browser_says: str) -> None:
    site.page("/", LINK, EXAMPLE)
    await page.add_init_script(browser_says)
    await use(site, page, site.url(host=WWW))
    assert site.posts == []


@pytest.mark.parametrize(
    "browser_says",
    [says("globalPrivacyControl", "false"), says("doNotTrack", "'0'")],
    ids=["GPC", "DNT"],
)
async def test_a_browser_that_does_not_mind_is_counted(site: Site, page: Page, browser_says: str) -> None:
    site.page("/", LINK, EXAMPLE)
    await page.add_init_script(browser_says)
    await use(site, page, site.url(host=WWW))
    assert {body["n"] for body in site.bodies()} == {
        "pageview",
        "engagement",
        "Event",
        "Outbound Link: Click",
    }


@pytest.mark.parametrize("host", ["localhost", "shop.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
async def test_nothing_is_sent_from_this_machine_for_another_site(site: Site, page: Page, host: str) -> None:
    posted = []

    async def serve(route: Route) -> None:
        posted.extend([route.request.url] if route.request.method == "POST" else [])
        if route.request.url.endswith("/h.js"):
            await route.fulfill(path=SCRIPT)
        else:
            await route.fulfill(body=site.tag(EXAMPLE, host) + LINK, content_type="text/html")

    await page.route(site.url("/**", host), serve)
    await use(site, page, site.url(host=host))
    assert (posted, site.posts) == ([], [])


@pytest.mark.parametrize("host", ["localhost", "shop.localhost", "127.0.0.1"])
@pytest.mark.parametrize("domain", ["localhost", "shop.localhost"])
async def test_a_site_named_localhost_is_counted_on_it(
    site: Site, page: Page, host: str, domain: str
) -> None:
    site.page("/", LINK, f'data-domain="{domain}"')
    await page.goto(site.url(host=host))
    assert (await site.sent("pageview"))[0]["d"] == domain


async def test_nothing_is_sent_from_a_file(site: Site, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html>{site.tag(EXAMPLE)}{LINK}")
    await page.goto(file.as_uri())
    await page.evaluate("headcount('Event')")
    await page.click("a")
    await looks(page)
    assert site.posts == []


async def test_the_visitor_can_opt_out_and_in_again(site: Site, page: Page) -> None:
    site.page("/", LINK, EXAMPLE)
    await use(site, page, site.url("/#headcount-off", WWW))
    await use(site, page, site.url("/", WWW))
    assert site.posts == []
    await page.goto(site.url("/#headcount-on", WWW))
    await site.sent("pageview")
    assert await page.evaluate("Object.keys(localStorage)") == []


async def test_opting_out_works_on_the_page_that_is_open(site: Site, page: Page) -> None:
    site.page("/", LINK, EXAMPLE)
    await page.goto(site.url(host=WWW))
    await site.sent("pageview")
    await page.evaluate("location.hash = 'headcount-off'")
    await looks(page)
    await use(site, page, site.url(host=WWW))
    assert await page.evaluate("({...localStorage})") == {"headcount-off": "1"}
    assert [body["n"] for body in site.bodies()] == ["pageview"]


async def test_the_wish_holds_for_one_site(site: Site, page: Page) -> None:
    site.page("/", LINK, EXAMPLE)
    await page.goto(site.url("/#headcount-off", WWW))
    await looks(page)
    await page.goto(site.url("/", "shop.example.com"))
    await site.sent("pageview")


async def test_a_browser_without_storage_is_counted(site: Site, page: Page) -> None:
    site.page("/", LINK, EXAMPLE)
    await page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    )
    await page.goto(site.url(host=WWW))
    await site.sent("pageview")


async def test_no_cookie_is_sent_or_set_and_nothing_is_stored(
    site: Site, page: Page, context: BrowserContext
) -> None:
    # Behind a proxy on the site's own host, the site's own cookies would go along.
    await context.add_cookies([{"name": "session", "value": "secret", "domain": ".example.com", "path": "/"}])
    site.page("/", LINK, EXAMPLE + ' data-api="/api/event"')
    await use(site, page, site.url(host=WWW))
    await site.sent("engagement")
    assert [post for post in site.posts if "cookie" in post.headers] == []
    assert len(await context.cookies()) == 1
    assert await page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


async def test_a_blocked_request_is_no_error_of_the_page(site: Site, page: Page) -> None:
    rejected = (
        "<script>rejected = []; onunhandledrejection = (event) => rejected.push(`${event.reason}`)</script>"
    )
    site.page("/", LINK, EXAMPLE, head=rejected)
    await page.route("**/api/event", lambda route: route.abort())
    await page.goto(site.url(host=WWW))
    await page.evaluate("headcount('Event')")
    await looks(page)
    assert await page.evaluate("rejected") == []


async def test_it_adds_one_name_to_the_page(site: Site, page: Page) -> None:
    site.page("/", head="<script>before = new Set(Object.getOwnPropertyNames(window))</script>")
    await page.goto(site.url())
    await site.sent("pageview")
    added = "Object.getOwnPropertyNames(window).filter((name) => !before.has(name) && name != 'before')"
    assert await page.evaluate(added) == ["headcount"]
