"""How long and how far a page was read. The clock of the page is made to run fast; its timers are real."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from browser.capture import HIDDEN, Site, looks

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

TALL = '<div style="height: 4000px; margin: 0">A page of five screens</div><style>body {margin: 0}</style>'


async def open_page(site: Site, page: Page, body: str = "") -> None:
    """A page with a clock of its own, in a tab that can be hidden with `show(false)`."""
    site.page("/", body, head=HIDDEN)
    await page.clock.install()
    await page.goto(site.url())
    await page.evaluate("show(true)")
    await site.sent("pageview")


async def test_leaving_a_page_sends_what_was_read_of_it(site: Site, page: Page) -> None:
    site.page("/article", TALL)
    await page.goto(site.url("/article"))
    await site.sent("pageview")
    await looks(page)
    await page.goto(site.url("/without-the-tag"))
    (engagement,) = await site.sent("engagement")
    assert engagement.pop("e") in range(250, 20_000, 250)
    assert engagement == {
        "n": "engagement",
        "u": site.url("/article"),
        "d": "localhost",
        "r": "",
        "w": 1920,
        "sd": 20,
    }


async def test_time_counts_while_the_page_is_seen(site: Site, page: Page) -> None:
    await open_page(site, page)
    await page.clock.run_for(5000)
    await page.evaluate("show(false)")
    await page.clock.run_for(60_000)
    await page.evaluate("show(true)")
    await page.clock.run_for(4000)
    await page.evaluate("show(false)")
    first, second = await site.sent("engagement", 2)
    assert first["e"] in range(5000, 20_000, 250)
    assert second["e"] in range(4000, 20_000, 250)


async def test_time_without_focus_does_not_count(site: Site, page: Page) -> None:
    await open_page(site, page)
    await page.evaluate("document.hasFocus = () => false")
    await page.clock.run_for(60_000)
    await page.evaluate("show(false)")
    (engagement,) = await site.sent("engagement")
    assert engagement["e"] < 20_000


async def test_clicks_are_no_time(site: Site, page: Page) -> None:
    await open_page(site, page)
    await page.evaluate("for (let i = 0; i < 200; i++) document.body.click()")
    await page.evaluate("show(false)")
    assert all(body["e"] < 20_000 for body in await site.sent("engagement"))


async def test_less_than_three_seconds_more_are_not_sent(site: Site, page: Page) -> None:
    await open_page(site, page)
    await page.evaluate("document.hasFocus = () => true")
    await page.clock.run_for(500)
    await page.evaluate("show(false)")
    await site.sent("engagement")
    await page.evaluate("document.hasFocus = () => false")  # no time passes but what is let pass
    await page.evaluate("show(true); show(false); headcount('End')")
    await site.sent("End")
    assert len(site.bodies("engagement")) == 1


async def test_depth_is_the_deepest(site: Site, page: Page) -> None:
    await open_page(site, page, TALL)
    for top in (1200, 400):
        await page.evaluate("top => scrollTo(0, top)", top)
        await page.clock.run_for(300)
    await page.evaluate("show(false)")
    await page.evaluate("show(true); scrollTo(0, 4000)")
    await page.clock.run_for(300)
    await page.evaluate("show(false)")
    assert [body["sd"] for body in await site.sent("engagement", 2)] == [50, 100]


async def test_a_page_that_fits_is_read_to_its_end(site: Site, page: Page) -> None:
    await open_page(site, page, "Short")
    await page.clock.run_for(300)
    await page.evaluate("show(false)")
    assert [body["sd"] for body in await site.sent("engagement")] == [100]


async def test_a_new_path_ends_the_page_before_it(site: Site, page: Page) -> None:
    await open_page(site, page, TALL)
    await page.evaluate("scrollTo(0, 4000)")
    await page.clock.run_for(300)
    # Some routers draw the new page first and change the address then, others the other way round.
    await page.evaluate("scrollTo(0, 0); history.pushState({}, '', '/next')")
    await page.clock.run_for(1000)
    await page.evaluate("show(false)")
    first, second = await site.sent("engagement", 2)
    assert [(body["u"], body["sd"]) for body in (first, second)] == [
        (site.url("/"), 100),
        (site.url("/next"), 20),
    ]
    assert [body["n"] for body in site.bodies()] == ["pageview", "engagement", "pageview", "engagement"]
