"""Processes killed under load: what was acknowledged is counted, and counted once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from acceptance import ledger
from acceptance.ledger import Ledger, Load, Outcome
from acceptance.server import Server
from acceptance.soak import Soak
from headcount.store import embedded

pytestmark = pytest.mark.timeout(240)

Harm = Callable[[Server], Awaitable[None]]


async def _kill_supervisor(server: Server) -> None:
    """Start again at once, while its children still come to their end."""
    await server.kill_supervisor()
    await server.start()


async def _kill_everything(server: Server) -> None:
    """As if the machine had stopped, but for its memory: that has the keys of the day."""
    postgres = server.postgres()
    assert postgres is not None
    for pid in (server.pid, *server.processes(), postgres):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await server.kill_supervisor()
    await server.start()


VICTIMS: Mapping[str, Harm] = {
    "worker": lambda server: server.kill_child("web"),
    "rollup": lambda server: server.kill_child("rollup"),
    "supervisor": _kill_supervisor,
    "Postgres": lambda server: server.kill_postgres(),
    "everything": _kill_everything,
}


async def test_without_a_fault_all_that_was_sent_is_counted(place: Path, soak: Soak) -> None:
    async with Server(place, **ledger.SETTINGS) as server:
        await server.start()
        sent = Ledger()
        async with Load(server, sent, rate=0) as load:
            await load.acknowledges(soak.pick(500, 20_000))
        await ledger.drained(server)
        soak.report(await ledger.verdict(server, sent))
        assert set(sent.statuses) == {202}
        await server.stop()


@pytest.mark.parametrize("victim", VICTIMS)
async def test_whoever_is_killed_under_load_loses_nothing(place: Path, soak: Soak, victim: str) -> None:
    async with Server(place, **ledger.SETTINGS) as server:
        await server.start()
        sent = Ledger()
        kills = soak.pick(1 if victim in ("supervisor", "everything") else 2, 50)
        for _ in range(kills):
            async with Load(server, sent, rate=soak.pick(200, 40)) as load:
                await asyncio.sleep(soak.random.uniform(0, 1))
                await VICTIMS[victim](server)
                await load.acknowledges(20)
            await ledger.drained(server)
            counted = await ledger.verdict(server, sent)
        soak.report(f"{victim} killed {kills} times: {counted}")
        await server.stop()


async def test_a_stop_under_load_leaves_nothing_behind(
    place: Path, outside: embedded.Embedded, soak: Soak
) -> None:
    settings = {**ledger.SETTINGS, "database_url": outside.start()}
    async with Server(place, **settings) as server:
        sent = Ledger()
        for _ in range(soak.pick(1, 20)):
            await server.start()
            async with Load(server, sent, rate=0) as load:
                await load.acknowledges(100)
                began = time.monotonic()
                await server.stop()
                took = time.monotonic() - began
            assert (ledger.left_in_spools(server), ledger.left_in_the_outbox(server)) == (0, 0)
            soak.report(f"stopped in {took:.1f} s: {await ledger.verdict(server, sent)}")


@pytest.mark.soak
async def test_rolling_restarts_under_load_turn_nobody_away(place: Path, soak: Soak) -> None:
    async with Server(place, **ledger.SETTINGS) as server:
        await server.start()
        sent = Ledger()
        restarts = 50
        for _ in range(restarts):
            async with Load(server, sent, rate=20, keep_alive=False) as load, Load(server, sent, rate=20):
                await server.renew()
                await load.acknowledges(20)
            await ledger.drained(server)
            counted = await ledger.verdict(server, sent)
        soak.report(f"restarted {restarts} times: {counted}")
        assert set(sent.outcomes.values()) == {Outcome.ACKNOWLEDGED}
        await server.stop()
