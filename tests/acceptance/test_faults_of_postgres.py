"""A Postgres that is down, slow, silent, closed or full: events are taken all the same, and counted once."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from acceptance import ledger
from acceptance.ledger import Ledger, Load, Outcome
from acceptance.proxy import Proxy
from acceptance.server import PATIENCE, Clock, Server, until
from acceptance.soak import Soak
from headcount.store import embedded

pytestmark = pytest.mark.timeout(240)

Outside = embedded.Embedded


@pytest.fixture
async def proxy(outside: Outside) -> AsyncIterator[Proxy]:
    async with Proxy(outside.start()) as found:
        yield found


@pytest.fixture
async def server(place: Path, proxy: Proxy) -> AsyncIterator[Server]:
    """A server that reaches its Postgres through the proxy."""
    async with Server(place, **ledger.SETTINGS, database_url=proxy.dsn) as found:
        await found.start()
        yield found


@asynccontextmanager
async def down(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    await asyncio.to_thread(outside.release)
    yield
    await asyncio.to_thread(outside.start)


@asynccontextmanager
async def slow(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    proxy.delay = 0.2
    yield
    proxy.delay = 0


@asynccontextmanager
async def silent(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    proxy.be_silent()
    yield
    proxy.speak()


@asynccontextmanager
async def locked(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    """Another session holds what each flush has to change."""
    async with _session(outside) as connection, connection.transaction():
        await connection.execute("lock table drain in access exclusive mode")
        yield


@asynccontextmanager
async def refusing(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    """The password has been changed, and comes back."""
    right = urlsplit(proxy.dsn).password
    async with _session(outside) as connection:
        await connection.execute("alter role headcount password 'another'")
        proxy.cut()
        yield
        await connection.execute(f"alter role headcount password '{right}'")


@asynccontextmanager
async def full(outside: Outside, proxy: Proxy) -> AsyncIterator[None]:
    """Others have taken all connections."""
    async with AsyncExitStack() as stack:
        while True:
            proxy.cut()
            try:
                await stack.enter_async_context(_session(outside))
            except asyncpg.TooManyConnectionsError:
                break
        yield


@asynccontextmanager
async def _session(outside: Outside) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(outside.dsn())
    try:
        yield connection
    finally:
        await connection.close()


Trouble = Callable[[Outside, Proxy], AbstractAsyncContextManager[None]]
TROUBLES: Mapping[Trouble, int] = {down: 120, slow: 40, silent: 60, locked: 60, refusing: 40, full: 40}
"""And the seconds that each lasts in the long form: some longer than a statement may take."""


async def test_events_are_taken_and_counted_whatever_postgres_does(
    server: Server, outside: Outside, proxy: Proxy, soak: Soak
) -> None:
    sent = Ledger()
    for trouble, seconds in TROUBLES.items():
        async with Load(server, sent, rate=100) as load:
            await load.acknowledges(20)
            async with trouble(outside, proxy):
                await load.acknowledges(soak.pick(60, 100 * seconds))
            await load.acknowledges(20)
        await ledger.drained(server)
        soak.report(f"Postgres {trouble.__name__}: {await ledger.verdict(server, sent)}")
    assert set(sent.statuses) == {202}
    await server.stop()


async def test_a_whole_start_without_postgres_takes_events_all_the_same(
    place: Path, outside: Outside, soak: Soak
) -> None:
    async with Server(place, **ledger.SETTINGS, database_url=outside.start()) as server:
        await asyncio.to_thread(outside.release)
        starting = asyncio.create_task(server.start())  # the very first: it does not know its sites yet
        await until(lambda: "rollup" in {role for _, role in server.processes().values()})
        await asyncio.to_thread(outside.start)
        await starting

        sent = Ledger()
        for _ in range(soak.pick(1, 10)):
            await server.stop()
            await asyncio.to_thread(outside.release)
            await server.start()
            async with Load(server, sent) as load:
                await load.acknowledges(50)
                await asyncio.to_thread(outside.start)
                await load.acknowledges(50)
            await ledger.drained(server)
            soak.report(f"started without Postgres: {await ledger.verdict(server, sent)}")
        assert set(sent.statuses) == {202}
        await server.stop()


async def test_a_stop_while_postgres_is_silent_loses_nothing(
    server: Server, proxy: Proxy, soak: Soak
) -> None:
    sent = Ledger()
    for _ in range(soak.pick(1, 10)):
        async with Load(server, sent) as load:
            proxy.be_silent()
            await load.acknowledges(100)
            began = time.monotonic()
            await server.stop()
            took = time.monotonic() - began
        assert "was killed" not in server.said()
        proxy.speak()
        await server.start()
        await ledger.drained(server)
        soak.report(
            f"stopped in {took:.1f} s while Postgres was silent: {await ledger.verdict(server, sent)}"
        )
    await server.stop()


async def test_a_connection_that_breaks_at_any_moment_counts_nothing_twice(
    server: Server, proxy: Proxy, soak: Soak
) -> None:
    sent = Ledger()
    breaks = soak.pick(5, 200)
    async with Load(server, sent) as load:
        for turn in range(breaks):
            await asyncio.sleep(soak.random.uniform(0, 0.3))
            if turn % 2:
                proxy.cut()
            else:  # the transaction is committed, and the server cannot know
                proxy.break_at = b"COMMIT"
            await load.acknowledges(20)
    await ledger.drained(server)
    soak.report(f"{breaks} connections broken: {await ledger.verdict(server, sent)}")
    await server.stop()


@pytest.mark.soak
async def test_a_network_that_is_gone_amid_a_flush_stops_nothing_for_good(
    server: Server, proxy: Proxy, soak: Soak
) -> None:
    sent = Ledger()
    for _ in range(5):
        async with Load(server, sent, rate=40) as load:
            proxy.delay = 0.05  # so that a flush is under way nearly always
            await load.acknowledges(100)
            await proxy.lose()
            proxy.delay = 0
            await load.acknowledges(100)
        await ledger.drained(server)
        soak.report(f"network lost: {await ledger.verdict(server, sent)}")
    await server.stop()


async def test_a_database_that_comes_back_minutes_old_gets_again_what_it_lacks(
    server: Server, outside: Outside, soak: Soak
) -> None:
    sent = Ledger()
    for turn in range(soak.pick(1, 10)):
        async with Load(server, sent, rate=soak.pick(200, 40)) as load:
            await asyncio.sleep(soak.random.uniform(0, 1))
            await asyncio.to_thread(copy_database, outside)
            await flushes_arrive(outside, soak.pick(3, 50))
            await asyncio.to_thread(restore_database, outside)
            await load.acknowledges(20)
        await ledger.drained(server)
        soak.report(f"restored from a copy: {await ledger.verdict(server, sent)}")
        assert server.said().count("are sent again") == turn + 1
    assert "are missing" not in server.said()
    await server.stop()


async def test_a_database_that_comes_back_too_old_tells_what_is_missing(
    place: Path, outside: Outside, clock: Clock, soak: Soak
) -> None:
    async with Server(place, clock, **ledger.SETTINGS, database_url=outside.start()) as server:
        await server.start()
        sent = Ledger()
        first = await views(server, sent) + 1
        kept = set(sent.visitors)
        copy_database(outside)
        last = await views(server, sent)
        lost = sent.visitors.keys() - kept

        clock.set(clock.now + timedelta(minutes=16))
        await server.kill_child("rollup")
        await until(lambda: ledger.kept_flushes(server) == 0)
        restore_database(outside)
        await views(server, sent)

        assert f"flushes {first} to {last} are missing" in server.said()
        assert await gaps(outside) == [(first, last)]
        found = await ledger.stored(server)
        sent.note(lost, Outcome.UNSENT)
        ledger.check_events(sent, found)
        assert found.pageviews == found.by_hour == len(found.hits)
        soak.report(
            f"restored from too old a copy: {len(lost)} views of flushes {first} to {last} are missing"
        )
        await server.stop()


async def views(server: Server, sent: Ledger) -> int:
    """Have pages looked at until all of it is in Postgres; the last flush."""
    async with Load(server, sent) as load:
        await load.acknowledges(60)
    await ledger.drained(server)
    return ledger.last_flush(server)


async def flushes_arrive(outside: Outside, count: int) -> None:
    """Wait until so many more have been applied."""

    async def applied() -> int:
        async with _session(outside) as connection:
            return int(await connection.fetchval("select coalesce(sum(applied), 0) from drain"))

    goal = await applied() + count

    async def is_reached() -> bool:
        return await applied() >= goal

    await until(is_reached, seconds=3 * PATIENCE)


async def gaps(outside: Outside) -> list[tuple[int, int]]:
    """The flushes that are missing, from the first to the last."""
    async with _session(outside) as connection:
        return [tuple(row) for row in await connection.fetch("select first_missing, last_missing from gap")]


def copy_database(outside: Outside) -> None:
    """As an operator would who has no better way: stop it, copy its files, start it."""
    outside.release()
    subprocess.run(["cp", "-a", outside.pgdata, _copy(outside)], check=True)
    outside.start()


def restore_database(outside: Outside) -> None:
    outside.release()
    shutil.rmtree(outside.pgdata)
    _copy(outside).rename(outside.pgdata)
    outside.start()


def _copy(outside: Outside) -> Path:
    return outside.pgdata.with_name("copy")
