"""Questions of a dashboard over three years of counters, filtered ones over raw rows, and the disk they take.

What is timed is the real service `Reports`, with the parsing of the question, on a real Postgres with the settings
of the embedded one. The rows are made on the server. Beside it stand the round trip of `select 1` through the same
pool, and one sequential pass over the same raw rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import uvloop

import make
from headcount import app
from headcount.jobs.months import Months
from headcount.model import Site
from headcount.services.reports import Reports
from headcount.store import embedded, migrations
from headcount.store.postgres import LONG, Database
from headcount.wire import query as wire

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

Question = Mapping[str, Any]

NOW = datetime(2026, 11, 22, 15, 20, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
YEARS = 3
DAYS = YEARS * 365
VIEWS = 100_000_000
"""Page views in the counters."""
RAW_DAYS = 30
RAW_ROWS = 10_000_000
"""Raw rows: a visit and its three events are four."""
ROWS_A_VISIT = 4
SITE = 7
METRICS = ["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"]
RANGES = {"30 days": "30d", "12 months": "12mo", "3 years": "all"}
_PARTS = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def dashboard() -> dict[str, Question]:
    """The twelve questions of an owner's dashboard, without their range."""
    page = {"metrics": ["visitors", "pageviews", "bounce_rate"], "pagination": {"limit": 10}}
    visit = {"metrics": ["visitors", "visits"], "pagination": {"limit": 10}}
    return {
        "aggregate": {"metrics": METRICS},
        "by day": {"metrics": ["visitors", "pageviews"], "dimensions": ["time:day"]},
        "by week": {"metrics": ["visitors", "pageviews"], "dimensions": ["time:week"]},
        "by month": {"metrics": ["visitors", "pageviews"], "dimensions": ["time:month"]},
        "top pages": {**page, "dimensions": ["event:page"]},
        "entry pages": {**visit, "dimensions": ["visit:entry_page"]},
        "exit pages": {**visit, "dimensions": ["visit:exit_page"]},
        "sources": {**visit, "dimensions": ["visit:source"]},
        "channels": {**visit, "dimensions": ["visit:channel"]},
        "campaigns": {**visit, "dimensions": ["visit:utm_campaign"]},
        "countries": {**visit, "dimensions": ["visit:country_name"]},
        "devices": {**visit, "dimensions": ["visit:device"]},
        "browsers": {**visit, "dimensions": ["visit:browser"]},
        "events": {
            "metrics": ["visitors", "events"],
            "dimensions": ["event:name"],
            "pagination": {"limit": 10},
        },
    }


def filtered() -> dict[str, Question]:
    """Questions with three filters, which only raw rows can answer."""
    of_visit = [
        ["is", "visit:country", ["C1", "C2"]],
        ["is", "visit:device", ["device-1"]],
        ["is_not", "visit:browser", ["Browser 3"]],
    ]
    of_both = [*of_visit[:2], ["contains", "event:page", ["name-1"]]]
    return {
        "aggregate, filters of visits": {"metrics": METRICS, "filters": of_visit},
        "sources, filters of visits": {"metrics": METRICS, "dimensions": ["visit:source"], "filters": of_visit},
        "by day, filters of visits": {"metrics": METRICS, "dimensions": ["time:day"], "filters": of_visit},
        "aggregate, with a filter of events": {"metrics": METRICS, "filters": of_both},
        "top pages, filters of visits": {
            "metrics": METRICS, "dimensions": ["event:page"], "filters": of_visit, "pagination": {"limit": 10},
        },
        "sources, with a filter of events": {
            "metrics": METRICS, "dimensions": ["visit:source"], "filters": of_both,
        },
    }  # fmt: skip


def parts() -> dict[str, str]:
    _, *found = _PARTS.split(Path(__file__).with_suffix(".sql").read_text())
    return dict(zip(found[::2], found[1::2], strict=True))


async def make_counters(db: Connection, days: int, views: int) -> None:
    first = TODAY - (days - 1) * DAY
    async with db.transaction():
        await db.execute("truncate counter, hour")  # in one transaction with the rows: those need no log
        await db.execute("select setseed(0.5)")
        await db.execute(parts()["counters"], SITE, first, TODAY, views / days / 0.943, timeout=LONG)
        await db.execute(parts()["hours"], SITE, first, TODAY, timeout=LONG)
    await db.execute("vacuum analyze counter, hour", timeout=LONG)


async def sum_months(db: Connection, database: Database) -> float:
    """Add up the closed months, as the rollup does once for each; seconds a month."""
    began, clock = time.perf_counter(), make.Stopped(NOW)
    while await Months(database, clock).run():
        pass
    months: int = await db.fetchval("select count(*) from month where dimension = ''")
    took = (time.perf_counter() - began) / months
    await db.execute("vacuum analyze month", timeout=LONG)
    return took


async def make_raw(db: Connection, days: int, rows: int) -> None:
    await db.execute("truncate counter, month, hour")  # by itself, so that the disk is free again
    async with db.transaction():
        await db.execute("select setseed(0.5)")
        for day in (TODAY - n * DAY for n in range(days)):
            for table in ("hit", "visit"):
                await db.execute(
                    f"create table {table}_{day:%Y%m%d} partition of {table} "
                    f"for values from ('{day}') to ('{day + DAY}')"
                )
            await db.execute(parts()["visits"], SITE, day, rows // ROWS_A_VISIT // days, timeout=LONG)
            await db.execute(parts()["hits"], SITE, day, timeout=LONG)
    await db.execute("vacuum analyze hit, visit", timeout=LONG)


async def milliseconds(reports: Reports, site: Site, question: Question, rounds: int) -> list[float]:
    """How long the answer takes, after one that is not counted."""
    body = orjson.dumps({"site_id": site.domain, **question})
    found = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer = await reports.query(site, wire.parse(body))
        orjson.dumps(answer.as_dict())
        found.append((time.perf_counter() - began) * 1000)
        assert answer.results
    return found[1:]


async def trips(database: Database, rounds: int) -> list[float]:
    """How long it takes to ask Postgres nothing."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        await database.select("select 1")
        found.append((time.perf_counter() - began) * 1000)
    return found


def p95(times: Sequence[float]) -> float:
    return round(statistics.quantiles(times, n=20, method="inclusive")[-1], 1)


async def of_counters(db: Connection, reports: Reports, database: Database, given: Given) -> dict[str, Any]:
    await make_counters(db, given.days, given.views)
    a_month = await sum_months(db, database)
    site = make.site(id=SITE)
    found: dict[str, Any] = {name: {} for name in dashboard()}
    for range_name, date_range in RANGES.items():
        for name, question in dashboard().items():
            times = await milliseconds(reports, site, {**question, "date_range": date_range}, given.rounds)
            found[name][range_name] = p95(times)
    rows = await db.fetchval("select count(*) from counter", timeout=LONG)
    views = await db.fetchval("select sum(pageviews)::bigint from counter where dimension = ''")
    size = await db.fetchval(
        "select sum(pg_total_relation_size(name)) from (values ('counter'), ('hour'), ('month')) as t (name)"
    )
    return {
        "page_views_in_counters": views,
        "load_average_before": os.getloadavg()[0],
        "rows_of_counters": rows,
        "seconds_to_add_up_a_month": round(a_month, 2),
        "select_1_p95_ms": p95(await trips(database, given.rounds * 5)),
        "dashboard_p95_ms": found,
        "bytes_a_million_views_rolled_up": round(float(size) / views * 1e6),
    }


async def of_raw_rows(db: Connection, reports: Reports, given: Given) -> dict[str, Any]:
    await make_raw(db, given.raw_days, given.raw_rows)
    site, rounds = make.site(id=SITE), max(3, given.rounds // 5)
    found = {
        name: p95(await milliseconds(reports, site, {**question, "date_range": "30d"}, rounds))
        for name, question in filtered().items()
    }
    began = time.perf_counter()
    rows = await db.fetchval("select (select count(*) from hit) + (select count(*) from visit)", timeout=LONG)
    scan = (time.perf_counter() - began) * 1000
    views = await db.fetchval("select count(*) from hit where name = 'pageview'", timeout=LONG)
    size = await db.fetchval(
        "select sum(pg_total_relation_size(inhrelid)) from pg_inherits "
        "where inhparent in ('hit'::regclass, 'visit'::regclass)"
    )
    return {
        "raw_rows": rows,
        "load_average": os.getloadavg()[0],
        "count_of_raw_rows_ms": round(scan),
        "filtered_p95_ms": found,
        "bytes_a_million_views_raw": round(float(size) / views * 1e6),
    }


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[str]:
    server = embedded.Embedded(folder / "postgres", {"fsync": "off"})
    try:
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.release)


async def measure(given: Given) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headcount-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with postgres(folder) as dsn:
            database = Database(lambda: dsn)
            db = await asyncpg.connect(dsn)
            try:
                await migrations.migrate(db, NOW)
                await db.execute(
                    "insert into site (id, domain, timezone, created_at) values ($1, 'example.com', 'Etc/UTC', $2)",
                    SITE, NOW,
                )  # fmt: skip
                reports = app.reports_of(make.settings(folder), database, make.Stopped(NOW))
                figures = await of_counters(db, reports, database, given)
                return {"what": "questions of a dashboard"} | figures | await of_raw_rows(db, reports, given)
            finally:
                await db.close()
                await database.close()


class Given(argparse.Namespace):
    """How much is made and asked."""

    rounds: int
    days: int
    views: int
    raw_days: int
    raw_rows: int
    json: Path | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="Times that each question is asked.")
    parser.add_argument("--days", type=int, default=DAYS, help="Days of counters.")
    parser.add_argument("--views", type=int, default=VIEWS, help="Page views in them.")
    parser.add_argument("--raw-days", type=int, default=RAW_DAYS, help="Days of raw rows.")
    parser.add_argument("--raw-rows", type=int, default=RAW_ROWS, help="Raw rows in them.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    given = parser.parse_args(namespace=Given())
    figures = uvloop.run(measure(given))
    print(json.dumps(figures, indent=2))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
