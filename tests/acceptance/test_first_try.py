"""The first try of somebody new: start, count, look, stop, start again; and what a kill of the supervisor costs."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from acceptance.ledger import left_in_spools, left_in_the_outbox
from acceptance.server import Server, until

pytestmark = pytest.mark.timeout(240)

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Content-Type": "text/plain",
}
PAGE = {"n": "pageview", "u": "http://localhost/welcome", "d": "localhost"}


async def test_a_first_try_on_an_empty_folder(empty_place: Path) -> None:
    async with Server(empty_place) as server:
        await server.start()
        assert 'data-domain="localhost"' in server.said()

        answer = await server.post(PAGE, BROWSER)
        assert (answer.status, "X-Headcount-Ignored" in answer.headers) == (202, False)
        await until(lambda: shows_one_view(server))
        await server.stop()


async def test_the_stats_api_has_it_too(place: Path) -> None:
    async with Server(place) as server:
        await server.start()
        token = await server.token("stats:read")
        assert (await server.post(PAGE, BROWSER)).status == 202

        async def is_counted() -> bool:
            return await server.total(token, "localhost") == 1

        await until(is_counted, seconds=10)
        await server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_well_and_a_second_start_reuses_the_data(place: Path, number: signal.Signals) -> None:
    async with Server(place) as server:
        await server.start()
        assert (await server.post(PAGE, BROWSER)).status == 202
        await server.end_by(number)
        assert (left_in_spools(server), left_in_the_outbox(server)) == (0, 0)

        await server.start()
        total = await server.total(await server.token("stats:read"), "localhost")
        assert (total, await held_by_postgres(server)) == (
            1,
            {"hits": 1, "views": 1, "dropped": 0, "flushes": 1},
        )
        await server.stop()
    assert "Traceback" not in server.said()


async def test_a_killed_supervisor_takes_its_children_along_and_loses_nothing(place: Path) -> None:
    async with Server(place) as server:
        await server.start()
        load = asyncio.create_task(views_until_refused(server))
        await asyncio.sleep(1)
        await server.kill_supervisor()
        sent, acknowledged = await load
        await until(lambda: server.processes() == {})

        await server.start()
        token = await server.token("stats:read")
        await until(lambda: left_in_spools(server) + left_in_the_outbox(server) == 0)
        assert 0 < acknowledged <= await server.total(token, "localhost") <= sent
        await server.stop()


async def shows_one_view(server: Server) -> bool:
    printed = json.loads(await server.command("stats", "localhost", "--json"))
    return bool(printed["figures"]["pageviews"] == 1)


async def views_until_refused(server: Server) -> tuple[int, int]:
    """Send page views one after the other until nobody answers: how many were sent, how many acknowledged."""
    sent = acknowledged = 0
    while True:
        sent += 1
        try:
            answer = await server.post(PAGE, {**BROWSER, "Connection": "close"})
        except aiohttp.ClientError:
            return sent, acknowledged
        acknowledged += answer.status == 202


async def held_by_postgres(server: Server) -> dict[str, int]:
    """What arrived, so that a failure tells where an event was lost."""
    connection = await asyncpg.connect(server.dsn)
    try:
        row = await connection.fetchrow(
            "select (select count(*) from hit) as hits, (select count(*) from dropped) as dropped,"
            " (select coalesce(sum(pageviews), 0)::int from counter where dimension = '') as views,"
            " (select sum(applied)::int from drain) as flushes"
        )
        return dict(row or {})
    finally:
        await connection.close()
