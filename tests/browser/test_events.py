"""What is sent of clicks, downloads, forms and of a site's own events."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, Page

from browser.capture import Site, looks

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

STAY = """<script>
    addEventListener("click", (event) => event.target.closest("a") && event.preventDefault());
    addEventListener("submit", (event) => event.preventDefault());
</script>"""
"""The page handles its links and forms itself."""


async def clicked(site: Site, page: Page, body: str) -> list[dict[str, object]]:
    """What is sent when everything with class `it` is clicked: the names and properties of events."""
    site.page("/shop", body, head=STAY)
    await page.goto(site.url("/shop"))
    for element in await page.locator(".it").all():
        await element.click()
    await page.evaluate("headcount('End')")
    await site.sent("End")
    events = [body for body in site.bodies() if body["n"] not in ("pageview", "engagement", "End")]
    return [{"n": event["n"], **event.get("p", {})} for event in events]


async def test_a_link_to_another_site_counts(site: Site, page: Page) -> None:
    link = '<a href="https://user:secret@other.example.net/path?token=1#part">go <b class="it">there</b></a>'
    assert await clicked(site, page, link) == [
        {"n": "Outbound Link: Click", "url": "https://other.example.net/path"}
    ]


async def test_links_within_the_site_and_links_to_no_site_do_not_count(site: Site, page: Page) -> None:
    links = [
        "/next",
        "#part",
        "?q=a",
        "",
        "mailto:someone@example.com",
        "tel:+3711",
        "javascript:void 0",
        "data:,a",
    ]
    body = "".join(f'<a class="it" href="{link}">link</a> ' for link in links)
    assert await clicked(site, page, body + '<a class="it">no link</a>') == []


async def test_a_link_to_what_the_page_itself_made_does_not_count(site: Site, page: Page) -> None:
    body = """<a class="it" id="made">save</a><script>
        document.getElementById("made").href = URL.createObjectURL(new Blob(["a"]))</script>"""
    assert await clicked(site, page, body) == []


@pytest.mark.parametrize("file", ["a.pdf", "a.PDF", "a.xls", "b.docx", "a.tar.gz", "c.zip", "song.mp3"])
async def test_a_link_to_a_file_is_a_download(site: Site, page: Page, file: str) -> None:
    body = f'<a class="it" href="/files/{file}?signature=secret">a file</a>'
    assert await clicked(site, page, body) == [{"n": "File Download", "url": site.url(f"/files/{file}")}]


async def test_a_file_on_another_site_is_a_download_once(site: Site, page: Page) -> None:
    body = '<a class="it" href="https://cdn.example.net/a.pdf">a file</a>'
    assert await clicked(site, page, body) == [{"n": "File Download", "url": "https://cdn.example.net/a.pdf"}]


async def test_a_name_with_an_ending_inside_is_no_download(site: Site, page: Page) -> None:
    body = '<a class="it" href="/a.pdf/view">page</a> <a class="it" href="/pdf">page</a>'
    assert await clicked(site, page, body) == []


async def test_the_middle_button_counts_and_the_right_one_does_not(
    site: Site, page: Page, context: BrowserContext
) -> None:
    site.page("/", f'<a href="{site.url("/", "other.example.com")}">there</a>')
    await page.goto(site.url())
    async with context.expect_page():
        await page.click("a", button="middle")
    await page.click("a", button="right")
    await page.evaluate("headcount('End')")
    await site.sent("End")
    assert len(site.bodies("Outbound Link: Click")) == 1


async def test_the_click_that_leaves_the_page_is_sent(site: Site, page: Page) -> None:
    site.page("/", f'<a href="{site.url("/", "other.example.com")}">there</a>')
    await page.goto(site.url())
    await page.click("a")
    await page.wait_for_url("**other.example.com**")
    await site.sent("Outbound Link: Click")


async def test_a_page_that_keeps_its_clicks_to_itself_is_counted(site: Site, page: Page) -> None:
    stop = "(event) => { event.preventDefault(); event.stopImmediatePropagation() }"
    script = f"<script>document.addEventListener('click', {stop}, true)</script>"
    link = '<a class="it" href="https://other.example.net/">there</a>'
    assert [event["n"] for event in await clicked(site, page, link + script)] == ["Outbound Link: Click"]


async def test_a_form_that_is_sent_counts_with_its_path(site: Site, page: Page) -> None:
    mail = '<input name="mail" value="a@example.com">'
    body = f'<form action="/private?token=1">{mail}<button class="it">Send</button></form>'
    assert await clicked(site, page, body) == [{"n": "Form: Submission", "path": "/shop"}]


async def test_a_named_element_counts_from_anywhere_within(site: Site, page: Page) -> None:
    body = '<button data-hc-event="Add to cart"><i class="it">+</i></button> <div class="it">beside</div>'
    assert await clicked(site, page, body) == [{"n": "Add to cart"}]


async def test_a_named_link_counts_as_both(site: Site, page: Page) -> None:
    body = '<p data-hc-event="Partner"><a class="it" href="https://other.example.net/">there</a></p>'
    assert await clicked(site, page, body) == [
        {"n": "Outbound Link: Click", "url": "https://other.example.net/"},
        {"n": "Partner"},
    ]


async def test_a_named_form_counts_when_it_is_sent(site: Site, page: Page) -> None:
    body = (
        '<form data-hc-event="Subscribe"><b class="it">Your name</b><button class="it">Send</button></form>'
    )
    assert await clicked(site, page, body) == [
        {"n": "Form: Submission", "path": "/shop"},
        {"n": "Subscribe"},
    ]


async def test_a_sites_own_event_has_what_it_is_given(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await page.evaluate(
        """headcount("Signup", {
            props: {plan: "team", seats: 5},
            revenue: {currency: "EUR", amount: 12.5},
            interactive: false,
        })"""
    )
    (signup,) = await site.sent("Signup")
    assert signup == {
        "n": "Signup",
        "u": site.url("/"),
        "d": "localhost",
        "r": "",
        "w": 1920,
        "props": {"plan": "team", "seats": 5},
        "revenue": {"currency": "EUR", "amount": 12.5},
        "interactive": False,
    }


async def test_events_from_before_the_script_follow_the_page_view(site: Site, page: Page) -> None:
    stub = "window.headcount=window.headcount||function(){(headcount.q=headcount.q||[]).push(arguments)};"
    site.page(
        "/", head=f"<script>{stub} headcount('Early', {{props: {{a: 1}}}}); headcount('Second')</script>"
    )
    await page.goto(site.url())
    await site.sent("Second")
    assert [body["n"] for body in site.bodies()] == ["pageview", "Early", "Second"]
    assert site.bodies("Early")[0]["props"] == {"a": 1}


async def test_an_event_belongs_to_the_page_it_happened_on(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await site.sent("pageview")
    await page.evaluate("history.pushState({}, '', '/thanks'); headcount('Order')")
    assert (await site.sent("Order"))[0]["u"] == site.url("/thanks")


async def test_an_event_just_before_leaving_is_sent(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await page.evaluate(
        "path => { headcount('Order'); location.href = path }", site.url("/", "other.example.com")
    )
    await site.sent("Order")


async def test_what_cannot_be_sent_breaks_nothing(site: Site, page: Page) -> None:
    site.page("/")
    await page.goto(site.url())
    await page.evaluate("let round = {}; round.self = round; headcount('Round', {props: round})")
    await page.evaluate(
        "headcount('Null', null); headcount(); document.dispatchEvent(new MouseEvent('click'))"
    )
    await site.sent("Null")
    assert site.bodies("Round") == []


async def test_data_status_adds_an_event_to_the_page_view(site: Site, page: Page) -> None:
    site.page("/missing", attributes='data-domain="localhost" data-status="404"')
    await page.goto(site.url("/missing?token=1"))
    assert [body["p"] for body in await site.sent("404")] == [{"path": "/missing"}]
    assert [body["n"] for body in site.bodies()] == ["pageview", "404"]
    await page.evaluate("history.pushState({}, '', '/found')")
    await site.paths(2)
    await looks(page)
    assert len(site.bodies("404")) == 1
