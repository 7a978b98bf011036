"""The rollup's own limit: spool, local step, Postgres; beside a loop that only counts, and a plain COPY.

This process has one core and Postgres the other. What is timed is the real `Drain` on real files and a real
Postgres with the settings of the embedded one; the spools are filled before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import asyncpg
import msgspec
import uvloop

import make
from bench import load, stream
from headcount import app
from headcount.jobs.drain import Drain
from headcount.model import Hit
from headcount.store import embedded, migrations, spool
from headcount.store.counters import Counters
from headcount.store.figures import Figures
from headcount.store.heartbeats import Heartbeats
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.store.state import State

COMMIT = 50
"""Events a commit of the spool, as a worker under load makes them."""
EVENTS_A_VISIT = 5
ROWS = ("site_id", "day", "visit", "order", "minute", "hour", "name", "hostname", "page", "props", "scroll")


@dataclass
class Cost:
    """What a run took."""

    seconds: float
    here: float
    """Seconds of CPU of this process."""
    postgres: float
    """Seconds of CPU of all processes of Postgres."""

    def figures(self, name: str, events: int) -> dict[str, float]:
        return {
            f"{name}_events_per_second": round(events / self.seconds),
            f"{name}_microseconds_an_event": round(self.here / events * 1e6, 1),
            f"{name}_microseconds_of_postgres": round(self.postgres / events * 1e6, 1),
        }


class Bench:
    """A drain on a data directory, a database of its own, and a spool to fill."""

    def __init__(self, folder: Path, dsn: str, postmaster: int) -> None:
        self._postmaster = postmaster
        self.folder = folder
        self.clock = make.Stopped(stream.BEGIN)
        self.database = Database(lambda: dsn)
        self.state = State(folder / "state.db")
        make.write_settings(folder, stream.sites())
        settings = SettingsFile(folder / "settings.msgpack")
        settings.refresh()
        heartbeats = Heartbeats(self.database)
        counters = Counters(self.database, heartbeats)
        self.engine = Drain(
            self.state,
            counters,
            settings,
            folder / "spool",
            self.clock,
            10_000,
            1 << 34,
            lambda: secrets.randbits(62),
            Figures(),
        )

    async def fill(self, hits: Sequence[Hit]) -> None:
        """Commit the events to a spool, and let the time be just after them."""
        async with spool.Spool(self.folder / "spool", 1 << 40, self.clock.milliseconds) as worker:
            for start in range(0, len(hits), COMMIT):
                await worker.append(hits[start : start + COMMIT])
        self.clock.moment = datetime.fromtimestamp(hits[-1].at / 1000, UTC) + timedelta(seconds=1)

    async def take(self) -> None:
        while await self.engine.take() or not self.engine.caught_up:
            pass

    async def send(self) -> None:
        while await self.engine.send():
            pass

    async def together(self) -> None:
        """Both steps at once, as in a rollup: sending goes on until all that was taken is sent."""
        taking = asyncio.create_task(self.take())
        while not taking.done():
            if not await self.engine.send():
                await asyncio.sleep(0.01)
        await taking
        await self.send()

    async def timed(self, work: Callable[[], Awaitable[object]]) -> Cost:
        here, theirs, began = time.process_time(), self._postgres(), time.perf_counter()
        await work()
        return Cost(time.perf_counter() - began, time.process_time() - here, self._postgres() - theirs)

    def _postgres(self) -> float:
        return load.cpu_of_tree(self._postmaster)


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """All of it, on a Postgres that has the load's core to itself."""
    os.sched_setaffinity(0, {load.LOAD_CORE})  # the server inherits it
    server = embedded.Embedded(folder)
    dsn = await asyncio.to_thread(server.start)
    os.sched_setaffinity(0, {load.SERVER_CORE})
    app.collect_garbage_seldom()
    try:
        connection = await asyncpg.connect(dsn)
        await migrations.migrate(connection, datetime.now(UTC))
        await connection.executemany(
            "insert into site (id, domain, timezone, created_at) values ($1, $2, $3, $4)",
            [(site.id, site.domain, site.timezone, site.created_at) for site in stream.sites()],
        )
        postmaster = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        await connection.close()
        found = Bench(folder, dsn, postmaster)
        try:
            yield found
        finally:
            found.engine.close()
            await found.database.close()
    finally:
        await asyncio.to_thread(server.release)


def bodies(hits: Sequence[Hit]) -> list[bytes]:
    """The events as the spool holds them."""
    return [msgspec.msgpack.encode(hits[start : start + COMMIT]) for start in range(0, len(hits), COMMIT)]


async def count_only(spooled: Sequence[bytes]) -> None:
    """The yardstick of step 1: what any counter must do at least."""
    counts: Counter[tuple[int, str]] = Counter()
    for body in spooled:
        for hit in spool.records(body):
            assert isinstance(hit, Hit)
            counts[hit.site, hit.page] += 1


async def copy_only(database: Database, hits: Sequence[Hit]) -> None:
    """The yardstick of step 2: the raw rows of the events and nothing else, into a table as `hit` is."""
    ids = count()
    async with database.transaction() as connection:
        await connection.execute("drop table if exists plain; create table plain (like hit including all)")
        rows = [
            (
                hit.site,
                hit.day,
                hit.token,
                next(ids),
                datetime.fromtimestamp(hit.at // 60_000 * 60, UTC),
                datetime.fromtimestamp(hit.hour, UTC),
                hit.name,
                hit.hostname,
                hit.page,
                dict(hit.props) or None,
                hit.scroll,
            )
            for hit in hits
        ]
        await connection.copy_records_to_table("plain", columns=ROWS, records=rows)


async def measure(folder: Path, rounds: int, count: int) -> dict[str, object]:
    """Figures of so many rounds of so many events each, after one that is not counted."""
    total = (2 * rounds + 1) * count
    hits = stream.hits(total // EVENTS_A_VISIT * 5 // 4, total / 1000)
    parts = iter([hits[start : start + count] for start in range(0, total, count)])
    steps: dict[str, list[Cost]] = {"step_1": [], "step_2": [], "both": [], "counting": [], "copying": []}
    async with bench(folder) as it:
        await it.fill(next(parts))
        await it.together()
        for _ in range(rounds):
            part = next(parts)
            spooled = bodies(part)
            steps["counting"].append(await it.timed(lambda spooled=spooled: count_only(spooled)))  # type: ignore[misc] # a default has no type
            await it.fill(part)
            steps["step_1"].append(await it.timed(it.take))
            steps["step_2"].append(await it.timed(it.send))
            await it.fill(next(parts))
            steps["both"].append(await it.timed(it.together))
            steps["copying"].append(await it.timed(lambda part=part: copy_only(it.database, part)))  # type: ignore[misc] # likewise
    middle = {
        name: Cost(
            *(
                statistics.median(getattr(cost, part) for cost in costs)
                for part in ("seconds", "here", "postgres")
            )
        )
        for name, costs in steps.items()
    }
    figures: dict[str, object] = {
        "what": "events through the rollup, from the spool to Postgres",
        "events": count * rounds,
        "ratio": round(middle["counting"].here / middle["step_1"].here, 3),
        "ratio_of_step_2_to_copying": round(middle["copying"].seconds / middle["step_2"].seconds, 3),
        "limit_events_per_second": round(count / max(middle["both"].here, middle["both"].postgres)),
    }
    for name, cost in middle.items():
        figures |= cost.figures(name, count)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=50_000, help="Events a run.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        figures = uvloop.run(measure(Path(folder), given.rounds, given.count))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):44} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
