"""Memory of all processes at rest, and of the rollup after a million distinct visitors in one day.

The first is a real server with one worker and its own Postgres. For the second this process is the rollup: the events
come from made spools, so that a day passes in minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
from pathlib import Path

import uvloop

from acceptance.server import Server
from bench import load, rollup, stream

VISITORS = 1_000_000
PART = 5_000
"""Visitors whose events are made, spooled and drained at once."""
REST = 5.0
"""Seconds after the start until the memory at rest is looked at."""
DAY = 15 * 3600.0
"""Seconds over which they come."""


def resident(pid: int) -> float:
    """Megabytes that the process has in memory; of what it shares with others its part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


async def at_rest(folder: Path) -> dict[str, float]:
    """Megabytes of each process of a server that nobody has asked anything yet."""
    folder.mkdir()
    async with Server(folder) as server:
        await server.start()
        await asyncio.sleep(REST)
        found: dict[str, float] = {}
        for pid, (_, role) in server.processes().items():
            found[role] = max(resident(pid), found.get(role, 0))
        postmaster = server.postgres()
        if postmaster is not None:
            found["postgres"] = sum(map(resident, [postmaster, *load.children(postmaster)]))
    return {f"{role}_megabytes": round(size, 1) for role, size in found.items()}


async def a_day(folder: Path, visitors: int) -> dict[str, float]:
    """Megabytes of a rollup before, while and after so many visitors come, each once."""
    async with rollup.bench(folder) as it:
        await it.fill(stream.hits(100, 1, most_views=1))
        await it.together()
        sizes = [_here()]
        for number in range(visitors // PART):
            seconds = DAY * PART / visitors
            hits = stream.hits(PART, seconds, number + 2, number * seconds + 2, most_views=1)
            await it.fill(hits)
            await it.together()
            del hits
            sizes.append(_here())
        opened = _open(it)
        state = (folder / "state.db").stat().st_size / 1e6
        it.clock.step(minutes=35)
        await it.take()
        await it.send()
        ended = _open(it)
        after_visits = _here()
        it.clock.step(hours=2)
        await it.take()
        await it.engine.close_days()
        return {
            "before_megabytes": sizes[0],
            "most_megabytes": max(sizes),
            "after_the_last_visit_megabytes": after_visits,
            "after_the_day_megabytes": _here(),
            "open_visits_at_the_end": opened,
            "open_visits_half_an_hour_later": ended,
            "state_file_megabytes": round(state, 1),
        }


async def measure(folder: Path, visitors: int) -> dict[str, object]:
    rest, day = folder / "rest", folder / "day"
    day.mkdir()
    figures = await a_day(day, visitors)
    return {
        "what": f"memory at rest, and of a rollup with {visitors} visitors in one day",
        "ratio": round(figures["most_megabytes"] / figures["before_megabytes"], 2),
        **await at_rest(rest),
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=VISITORS)
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        figures = uvloop.run(measure(Path(folder), given.visitors))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):44} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


def _open(it: rollup.Bench) -> int:
    return sum(len(ledger.visits) for ledger in it.engine._tally.ledgers.values())


def _here() -> float:
    gc.collect()
    return resident(os.getpid())


if __name__ == "__main__":
    main()
