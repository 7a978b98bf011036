"""A rollup that is behind: what it takes late counts by the time at which it was received."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from acceptance.server import Clock, Server, until

pytestmark = pytest.mark.timeout(240)

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"}
VIEW = {"n": "pageview", "u": "http://localhost/", "d": "localhost"}
MANY = 600
"""More commits than one step takes from a spool."""


async def test_a_visit_goes_on_although_its_next_event_is_taken_late(place: Path, clock: Clock) -> None:
    async with Server(place, clock) as server:
        await server.start()
        token = await server.token("stats:read")
        await server.post(VIEW, BROWSER)
        await views(server, token, 1)

        (rollup,) = server.children("rollup")
        os.kill(rollup, signal.SIGSTOP)
        clock.set(clock.now + timedelta(minutes=25))
        await server.post(VIEW, BROWSER)
        clock.set(clock.now + timedelta(hours=1))
        os.kill(rollup, signal.SIGCONT)
        await views(server, token, 2)
        assert await server.total(token, "localhost", "visits") == 1
        await server.stop()


async def test_a_day_stays_open_until_all_of_it_was_taken(place: Path, clock: Clock) -> None:
    async with Server(place, clock, rate_limit="0") as server:
        await server.start()
        token = await server.token("stats:read")
        (rollup,) = server.children("rollup")
        os.kill(rollup, signal.SIGSTOP)
        for _ in range(MANY):
            await server.post(VIEW, BROWSER)
        clock.set(clock.now.replace(hour=0) + timedelta(days=1, minutes=6))
        await server.kill_child("rollup")
        await views(server, token, MANY)
        assert await server.total(token, "localhost", "visitors") == 1
        await server.stop()


async def views(server: Server, token: str, count: int) -> None:
    """Wait until so many page views are counted."""

    async def are_counted() -> bool:
        return await server.total(token, "localhost") == count

    await until(are_counted)
