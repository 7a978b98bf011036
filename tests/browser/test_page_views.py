"""Which page views the script sends, and what one says."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from pathlib import Path

import pytest
from playwright.async_api import Page

from browser.capture import HIDDEN, Site, looks
from browser.chromium import chromium, flags

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


async def test_a_page_view_says_this_and_nothing_else(site: Site, page: Page) -> None:
    site.page("/pricing")
    await page.goto(site.url("/pricing?utm_source=news#plans"))
    await site.sent("pageview")
    assert site.bodies() == [
        {"n": "pageview", "u": site.url("/pricing?utm_source=news"), "d": "localhost", "r": "", "w": 1920}
    ]


async def test_it_is_posted_to_the_scripts_host_without_asking_first(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await site.sent("pageview")
    post = site.posts[0]
    assert (post.host, post.path, post.headers["content-type"]) == (
        "count.example.com",
        "/api/event",
        "text/plain;charset=UTF-8",
    )
    assert site.preflights == 0


async def test_data_api_is_where_it_posts(site: Site, page: Page) -> None:
    site.page("/", attributes='data-domain="localhost" data-api="/counted/here"')
    await page.goto(site.url())
    await site.sent("pageview")
    assert (site.posts[0].host, site.posts[0].path) == ("localhost", "/counted/here")


async def test_without_data_domain_the_server_decides(site: Site, page: Page) -> None:
    site.page("/", attributes="")
    await page.goto(site.url(host="www.example.com"))
    assert "d" not in (await site.sent("pageview"))[0]


async def test_the_first_page_view_alone_has_the_referrer(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url(), referer="https://search.example.net/")
    await site.sent("pageview")
    await page.evaluate("history.pushState({}, '', '/next')")
    first, second = await site.sent("pageview", 2)
    assert (first["r"], second["r"]) == ("https://search.example.net/", "")


async def test_each_new_path_of_the_history_counts(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await site.paths(1)
    await page.evaluate("history.pushState({}, '', '/two')")
    await site.paths(2)
    await page.evaluate("history.replaceState({}, '', '/three')")
    await site.paths(3)
    await page.evaluate("history.back()")
    assert await site.paths(4) == ["/", "/two", "/three", "/"]


async def test_one_path_counts_once(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await site.paths(1)
    await page.evaluate("history.replaceState({}, '', '/')")
    await page.evaluate("history.pushState({}, '', '/?q=a')")
    await page.evaluate("history.replaceState({}, '', '/?q=ab')")
    await page.evaluate("location.hash = 'part'")
    await looks(page)
    await page.evaluate("history.pushState({}, '', '/end')")
    assert await site.paths(2) == ["/", "/end"]


async def test_a_redirect_of_an_instant_is_no_page(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await site.paths(1)
    await page.evaluate("history.pushState({}, '', '/account'); history.replaceState({}, '', '/login')")
    assert await site.paths(2) == ["/", "/login"]


async def test_the_pages_own_history_is_left_alone(site: Site, page: Page) -> None:
    site.page("/", head="<script>var push = history.pushState</script>")
    await page.goto(site.url())
    await site.paths(1)
    assert await page.evaluate("push === history.pushState")


async def test_with_data_hash_each_fragment_is_a_page(site: Site, page: Page) -> None:
    site.page("/", attributes='data-domain="localhost" data-hash')
    await page.goto(site.url("/?utm_source=news#/one"))
    await site.paths(1)
    await page.evaluate("location.hash = '/two'")
    assert await site.paths(2) == ["/?utm_source=news#/one", "/?utm_source=news#/two"]
    assert [body["h"] for body in site.bodies("pageview")] == [1, 1]


async def test_a_page_from_the_back_forward_cache_counts_again(site: Site, page: Page) -> None:
    site.page("/one", head="<script>onpageshow = (event) => (window.shown = event.persisted)</script>")
    site.page("/two")
    await page.goto(site.url("/one"))
    await site.paths(1)
    await page.goto(site.url("/two"))
    await site.paths(2)
    await page.evaluate("history.back()")
    assert await site.paths(3) == ["/one", "/two", "/one"]
    assert await page.evaluate("window.shown") is True


async def test_a_page_counts_when_it_is_first_seen(site: Site, page: Page) -> None:
    site.page("/", head=HIDDEN, attributes='data-domain="localhost" data-status="404"')
    await page.goto(site.url())
    await page.evaluate("headcount('Early')")
    await looks(page)
    assert site.bodies() == []
    await page.evaluate("show(true)")
    await site.sent("Early")
    assert [body["n"] for body in site.bodies()] == ["pageview", "404", "Early"]


async def test_a_prerendered_page_counts_when_it_is_activated(site: Site, tmp_path: Path) -> None:
    # Chromium prerenders nothing while it is driven from outside, so this one drives itself.
    rules = '{"prerender": [{"source": "list", "urls": ["/next"], "eagerness": "immediate"}]}'
    note = "name => fetch('/note', {method: 'POST', keepalive: true, body: JSON.stringify({n: name})})"
    leave = f"setTimeout(() => {{ ({note})('leaving'); location.href = '/next' }}, 2000)"
    site.html("/", f'<script type="speculationrules">{rules}</script><script>{leave}</script>')
    activated = f"document.addEventListener('prerenderingchange', () => ({note})('activated'))"
    site.page("/next", head=f"<script>{activated}</script>")
    process = await asyncio.create_subprocess_exec(
        chromium(), *flags(), f"--user-data-dir={tmp_path}", site.url(), stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        await site.sent("pageview")
        await site.sent("activated")
    finally:
        process.terminate()
        await process.wait()
    assert site.bodies()[0]["n"] == "leaving"
    assert await site.paths(1) == ["/next"]


async def test_excluded_pages_send_nothing(site: Site, page: Page) -> None:
    site.page("/admin/users", attributes='data-domain="localhost" data-exclude="/admin*, /*/draft"')
    await page.goto(site.url("/admin/users?page=2"))
    await looks(page)
    for path in ("/posts/2026/draft", "/posts/drafts", "/my/admin"):
        await page.evaluate("path => history.pushState({}, '', path)", path)
        await page.evaluate("path => headcount(path)", path)
        await looks(page)
    assert await site.paths(2) == ["/posts/drafts", "/my/admin"]
    assert {body["n"] for body in site.bodies()} - {"pageview", "engagement"} == {
        "/posts/drafts",
        "/my/admin",
    }
