"""A single-page application with a router from npm (app/), in both of its routings."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page

from browser.capture import Site, looks

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"


@pytest_asyncio.fixture(loop_scope="module", params=["history", "hash"])
async def routing(site: Site, request: pytest.FixtureRequest) -> str:
    """Serve the application at every path; its routing."""
    if not (PACKAGES / "wouter-preact").is_dir():
        pytest.skip("the router is not installed: npm ci --prefix tests/browser")
    kind: str = request.param
    attributes = 'data-domain="localhost"' + (" data-hash" if kind == "hash" else "")
    index = (HERE / "app" / "index.html").read_text().replace("<!-- tag -->", site.tag(attributes))
    site.html("*", index.replace("<meta", f'<html data-routing="{kind}"><meta', 1))
    site.folder("/app/", HERE / "app")
    site.folder("/modules/", PACKAGES)
    return kind


async def start(site: Site, page: Page, routing: str) -> None:
    await page.goto(site.url(*pages(routing)))
    await page.wait_for_selector("nav")
    await site.paths(1)


def pages(routing: str, *paths: str) -> list[str]:
    """How the addresses of the application's pages look, from its root on."""
    return [path if routing == "history" else f"/#{path}" for path in ("/", *paths)]


async def test_every_page_of_the_application_counts_once(site: Site, page: Page, routing: str) -> None:
    await start(site, page, routing)
    await page.click("#item")
    await site.paths(2)
    await page.click("#buy")
    await page.wait_for_selector("text=Thanks")
    await site.paths(3)
    await page.click("#home")
    assert await site.paths(4) == pages(routing, "/items/7", "/thanks", "/")


async def test_going_back_and_forward_counts(site: Site, page: Page, routing: str) -> None:
    await start(site, page, routing)
    await page.click("#item")
    await site.paths(2)
    await page.go_back()
    await site.paths(3)
    await page.go_forward()
    assert await site.paths(4) == pages(routing, "/items/7") * 2


async def test_a_redirect_counts_where_it_ends(site: Site, page: Page, routing: str) -> None:
    await start(site, page, routing)
    await page.click("#account")
    await page.wait_for_selector("text=Log in")
    assert await site.paths(2) == pages(routing, "/login")


async def test_quick_clicks_are_all_counted(site: Site, page: Page, routing: str) -> None:
    await start(site, page, routing)
    await page.evaluate("for (let id of ['item', 'home', 'item']) document.getElementById(id).click()")
    # In any order: requests of one moment may overtake each other.
    assert sorted(await site.paths(4)) == sorted(pages(routing, "/items/7", "/", "/items/7"))


async def test_typing_into_a_search_box_does_not_count(site: Site, page: Page, routing: str) -> None:
    await start(site, page, routing)
    await page.type("#search", "tea pots", delay=60)
    await page.wait_for_function("location.search == '?q=tea+pots'")
    await looks(page)
    await page.click("#item")
    first, second = await site.paths(2)
    assert first == pages(routing)[0]
    assert second.endswith("/items/7")
