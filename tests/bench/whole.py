"""A whole server under load: what an event costs each process, whether the rollup keeps up, how soon it is seen.

One worker, one rollup and their own PostgreSQL share the machine with the load, as on a small server.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from acceptance.server import Server, until
from bench import ingest, load, report

PROBE_EVERY = 0.2
"""Seconds between two events whose way is watched."""


async def measure(rounds: int, seconds: float) -> report.Figures:
    """Full load, then half of it."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the server inherits it
    seconds = max(5.0, rounds * seconds)
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        async with Server(Path(folder), workers="1", rate_limit="0", trusted_proxies="127.0.0.1") as server:
            await server.start()
            await server.add_site(ingest.DOMAIN)
            token = await server.token("stats:read")
            full = await _full(server, token, seconds)
            half = await _half(server, token, seconds, float(str(full["events a second"])) / 2)
    return {"full load": full, "half of it": half}


async def _full(server: Server, token: str, seconds: float) -> dict[str, object]:
    processes = {"worker": server.children("web")[0], "rollup": server.children("rollup")[0]}
    before = _cpu(server, processes)
    requests = [ingest.post(n, ingest.event(n)) for n in range(ingest.EVENTS)]
    port = urlsplit(server.origin).port
    assert port is not None
    result = await load.run(port, processes["worker"], requests, seconds)
    ended = time.monotonic()
    await until(lambda: _is_counted(server, token, result.requests))
    drained = time.monotonic() - ended
    used = {name: (after - before[name]) / result.requests for name, after in _cpu(server, processes).items()}
    return {
        "events a second": round(result.rate),
        **{f"CPU microseconds of {name}, an event": round(cost * 1e6, 1) for name, cost in used.items()},
        "seconds until all were counted": round(drained, 1),
    }


async def _half(server: Server, token: str, seconds: float, rate: float) -> dict[str, object]:
    requests = [ingest.post(n, ingest.event(n)) for n in range(ingest.EVENTS)]
    port = urlsplit(server.origin).port
    assert port is not None
    loading = asyncio.create_task(load.run(port, server.children("web")[0], requests, seconds, rate))
    await asyncio.sleep(1)
    posted: dict[str, float] = {}
    seen: dict[str, float] = {}
    watching = asyncio.create_task(_watch(server, token, posted, seen))
    while not loading.done():
        page = f"/probe/{chr(97 + len(posted) // 26)}{chr(97 + len(posted) % 26)}"
        answer = await server.post(
            {"n": "pageview", "u": f"https://{ingest.DOMAIN}{page}", "d": ingest.DOMAIN},
            {"X-Forwarded-For": "192.0.2.1", "User-Agent": ingest.agents()[0]},
        )
        assert answer.status == 202
        posted[page] = time.monotonic()
        await asyncio.sleep(PROBE_EVERY)
    result = await loading
    await until(lambda: posted.keys() <= seen.keys())
    watching.cancel()
    waits = sorted(max(seen[page] - then, 0.0) for page, then in posted.items())
    return {
        "events a second": round(result.rate),
        "seconds from acknowledged to visible, median": round(statistics.median(waits), 2),
        "seconds from acknowledged to visible, p99": round(waits[int(len(waits) * 0.99)], 2),
        "events watched": len(waits),
    }


async def _watch(server: Server, token: str, posted: dict[str, float], seen: dict[str, float]) -> None:
    """Ask for the pages, again and again, and note when one is first among them."""
    pages = ["contains", "event:page", ["/probe/"]]
    while True:
        found = await server.query(
            token,
            ingest.DOMAIN,
            ["pageviews"],
            dimensions=["event:page"],
            filters=[pages],
            pagination={"limit": 10_000},
        )
        for row in found["results"]:
            seen.setdefault(row["dimensions"][0], time.monotonic())
        await asyncio.sleep(0.05)


async def _is_counted(server: Server, token: str, number: int) -> bool:
    return await server.total(token, ingest.DOMAIN) >= number


def _cpu(server: Server, processes: dict[str, int]) -> dict[str, float]:
    used = {name: load.cpu_seconds(pid) for name, pid in processes.items()}
    postgres = server.postgres()
    assert postgres is not None
    return used | {"Postgres": load.cpu_of_tree(postgres)}


if __name__ == "__main__":
    report.run(measure, __doc__)
