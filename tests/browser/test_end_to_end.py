"""From a page in a real browser to the stats API of a real server, with nothing in between replaced."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from acceptance.server import Server, until
from browser.capture import Site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

TALL = '<style>body {margin: 0}</style><div style="height: 1600px">Two screens</div>'


class Counted:
    """A server that has made its site `localhost`, and somebody who may ask it."""

    def __init__(self, server: Server, token: str) -> None:
        self.origin = server.origin
        self._server = server
        self._token = token

    async def rows(self, dimension: str, metrics: list[str], **question: Any) -> dict[str, list[Any]]:
        """The metrics by the dimension's values."""
        answer = await self._server.query(
            self._token, "localhost", metrics, date_range="day", dimensions=[dimension], **question
        )
        return {row["dimensions"][0]: row["metrics"] for row in answer["results"]}

    async def becomes(
        self, expected: dict[str, list[Any]], dimension: str, metrics: list[str], **question: Any
    ) -> None:
        """Wait until the answer is this."""

        async def is_it() -> bool:
            return await self.rows(dimension, metrics, **question) == expected

        await until(is_it)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counted(ram: Path) -> AsyncIterator[Counted]:
    place = ram / secrets.token_hex(4)
    place.mkdir()
    place.chmod(0o711)  # Postgres runs under another account when we are root
    async with Server(place) as server:
        await server.start()
        yield Counted(server, await server.token("stats:read"))
        await server.stop()


def serve(site: Site, counted: Counted, path: str, body: str = "", attributes: str = "") -> None:
    """A page with the tag that the server prints for its site."""
    tag = f'<script defer src="{counted.origin}/h.js" data-domain="localhost" {attributes}></script>'
    site.html(path, f"<!doctype html>{tag}<body>{body}</body>")


async def test_a_visit_of_three_pages_is_one_visitor(site: Site, page: Page, counted: Counted) -> None:
    serve(site, counted, "/first", '<a href="/second">next</a>')
    serve(site, counted, "/second")
    await page.goto(site.url("/first?utm_source=news"))
    await page.click("a")
    await page.wait_for_url("**/second")
    await page.evaluate("history.pushState({}, '', '/third#part')")
    await counted.becomes(
        {"/first": [1, 1], "/second": [1, 1], "/third": [1, 1]},
        "event:page",
        ["visitors", "pageviews"],
        filters=[["is", "event:page", ["/first", "/second", "/third"]]],
    )
    assert await counted.rows("visit:source", ["visitors", "visits"]) == {"news": [1, 1]}
    assert await counted.rows("visit:screen", ["visits"]) == {"XL": [1]}


async def test_how_far_a_page_was_read(site: Site, page: Page, counted: Counted) -> None:
    serve(site, counted, "/article", TALL)
    await page.goto(site.url("/article"))
    await page.evaluate("scrollTo(0, 400)")
    await page.wait_for_timeout(600)
    await page.goto(site.url("/without-the-tag"))
    await counted.becomes(
        {"/article": [75]}, "event:page", ["scroll_depth"], filters=[["is", "event:page", ["/article"]]]
    )


async def test_events_and_what_is_kept_of_them(site: Site, page: Page, counted: Counted) -> None:
    serve(
        site,
        counted,
        "/missing",
        '<a href="https://other.example.net/there?token=1" onclick="event.preventDefault()">there</a>',
        'data-status="404"',
    )
    await page.goto(site.url("/missing"))
    await page.click("a")
    await page.evaluate("headcount('Signup', {props: {plan: 'team'}, revenue: {currency: 'EUR', amount: 9}})")
    names = ["404", "Outbound Link: Click", "Signup"]
    await counted.becomes(
        {name: [1] for name in names}, "event:name", ["events"], filters=[["is", "event:name", names]]
    )
    assert await counted.rows("event:props:url", ["events"]) == {"https://other.example.net/there": [1]}
    assert await counted.rows("event:props:path", ["events"]) == {"/missing": [1]}


async def test_who_does_not_want_to_be_counted_is_not(site: Site, page: Page, counted: Counted) -> None:
    serve(site, counted, "/private")
    serve(site, counted, "/after")
    await page.goto(site.url("/private#headcount-off"))
    await page.evaluate("headcount('Private')")
    await page.goto(site.url("/after#headcount-on"))
    pages = ["/private", "/after"]
    await counted.becomes({"/after": [1]}, "event:page", ["pageviews"], filters=[["is", "event:page", pages]])
    assert "Private" not in await counted.rows("event:name", ["events"])
