"""Sums of closed months answer as their days do, and hold no longer than their days stay as they are."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import make_rows
from headcount import redaction
from headcount.jobs.months import Months
from headcount.model import CountRow, Flush
from headcount.services.redactions import Redactions
from headcount.services.reports import Reports
from headcount.services.sites import Sites
from headcount.store.counters import Applied, Counters
from headcount.store.heartbeats import Heartbeats
from headcount.store.postgres import Database
from headcount.wire import query
from make import Stopped
from make_rows import Hit, StoppedClock, Visit

if TYPE_CHECKING:
    from make_rows import Connection

FIRST = date(2025, 12, 20)
QUESTIONS: list[dict[str, Any]] = [
    {"dimensions": ["event:page"]},
    {"dimensions": ["event:page"], "metrics": ["visitors", "scroll_depth", "visit_duration", "bounce_rate"]},
    {"dimensions": ["event:page"], "pagination": {"limit": 2, "offset": 1}, "include": {"total_rows": True}},
    {"dimensions": ["visit:country_name"], "order_by": [["visit:country_name", "asc"]]},
    {"dimensions": ["visit:country_name", "time:month"]},
    {"dimensions": ["event:page", "time:week"]},
    {"dimensions": ["time:day"], "filters": [["is", "event:page", ["/2"]]]},
    {"dimensions": ["time:month"], "filters": [["is", "event:page", ["/2"]]]},
    {"filters": [["is", "visit:country", ["LV"]]]},
    {"dimensions": ["event:page"], "filters": [["contains", "event:page", ["2"]]]},
    {"dimensions": ["event:page"], "filters": [["is_not", "event:page", ["/2"]]]},
    {"dimensions": ["event:props:plan"]},
    {"dimensions": ["time:month"]},
    {},
]
RANGES: list[Any] = [
    "all", "12mo", "year", ["2026-01-01", "2026-10-31"], ["2025-12-31", "2026-11-01"], ["2026-02-02", "2026-05-30"],
    ["2026-03-01", "2026-03-31"], ["2026-06-15", "2026-07-20"],
]  # fmt: skip


def crowd() -> list[Visit]:
    """Visits of eleven months, some of them with days that have none."""
    return [
        Visit(
            (Hit(page=f"/{n % 7}"), *([Hit("Signup", page=f"/{n % 5}", props=(("plan", str(n % 3)),))] * (n % 2)),
             Hit("engagement", page=f"/{n % 7}", scroll=n % 101)),
            day=FIRST + timedelta(days=n * 3 // 2),
            visitor=n,
            attributes={"country": ("LV", "DE", "")[n % 3]},
            duration=n,
        )
        for n in range(220)
    ]  # fmt: skip


@pytest.fixture
async def database(dsn: str, db: Connection) -> AsyncIterator[Database]:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values (1, 'example.com', $1, $2)",
        make_rows.ZONE, make_rows.NOW,
    )  # fmt: skip
    await make_rows.store(db, crowd(), raw=False)
    found = Database(lambda: dsn)
    yield found
    await found.close()


async def add_up(database: Database, now: datetime = make_rows.NOW) -> None:
    while await Months(database, Stopped(now)).run():
        pass


async def summed(db: Connection) -> list[str]:
    """The months whose sums hold."""
    rows = await db.fetch("select month from month where dimension = '' order by month")
    return [f"{row['month']:%Y-%m}" for row in rows]


async def answers(database: Database) -> list[Any]:
    reports, site = Reports(database, StoppedClock(), 30), make_rows.site()
    return [
        (await reports.query(site, query.parse(json.dumps(_body(asked, over)).encode()))).as_dict()
        for asked, over in itertools.product(QUESTIONS, RANGES)
    ]


def _body(asked: dict[str, Any], over: Any) -> dict[str, Any]:
    return {
        "site_id": "example.com",
        "metrics": ["visits", "pageviews", "events"],
        "date_range": over,
    } | asked


async def test_questions_over_months_are_answered_as_over_their_days(database: Database) -> None:
    of_days = await answers(database)
    await add_up(database)
    assert await answers(database) == of_days
    assert sum(bool(answer["results"]) for answer in of_days) > len(of_days) * 0.9


async def test_some_months_may_be_missing(database: Database, db: Connection) -> None:
    of_days = await answers(database)
    await add_up(database)
    await db.execute("delete from month where dimension = '' and extract(month from month) in (1, 4, 5)")
    await db.execute("update month set visits = 999 where extract(month from month) = 4")
    assert await answers(database) == of_days


async def test_the_sums_are_what_is_read(database: Database, db: Connection) -> None:
    await add_up(database)
    await db.execute("delete from counter where day < '2026-11-01' and dimension = 'page'")
    reports, site = Reports(database, StoppedClock(), 30), make_rows.site()
    asked = {"dimensions": ["event:page"], "metrics": ["pageviews"]}
    found = await reports.query(
        site, query.parse(json.dumps(_body(asked, ["2026-01-01", "2026-11-22"])).encode())
    )
    assert sum(row["metrics"][0] for row in found.as_dict()["results"]) > 100


async def test_months_are_added_up_three_days_after_their_end(database: Database, db: Connection) -> None:
    await add_up(database, datetime(2026, 3, 3, 23, tzinfo=UTC))
    assert await summed(db) == ["2025-12", "2026-01"]
    await add_up(database, datetime(2026, 3, 4, 1, tzinfo=UTC))
    assert await summed(db) == ["2025-12", "2026-01", "2026-02"]


async def test_adding_up_again_changes_nothing(database: Database, db: Connection) -> None:
    await add_up(database)
    everything = "select md5(string_agg(month::text, ',' order by dimension, month, value)) from month"
    before = await db.fetchval(everything)
    await add_up(database)
    assert await db.fetchval(everything) == before


# When a day changes


def late(day: date, pageviews: int = 1) -> Flush:
    counts = (1, pageviews, pageviews, 0, 5, 0, 0)
    rows = [
        CountRow(1, day, dimension, value, 1, counts) for dimension, value in (("", ""), ("page", "/late"))
    ]
    return Flush(counts=rows)


async def apply(database: Database, number: int, flush: Flush) -> None:
    counters = Counters(database, Heartbeats(database))
    assert await counters.apply("node", number, flush, make_rows.NOW) is Applied.NOW


async def test_what_comes_late_is_in_the_answers_at_once_and_in_the_sums_after_the_next_turn(
    database: Database, db: Connection
) -> None:
    await add_up(database)
    before = await summed(db)
    await apply(database, 1, late(date(2026, 4, 9)))
    assert await summed(db) == [month for month in before if month != "2026-04"]
    of_days = await answers(database)
    assert any("/late" in json.dumps(answer) for answer in of_days)
    await add_up(database)
    assert await summed(db) == before
    assert await answers(database) == of_days


async def test_today_touches_no_sums(database: Database, db: Connection) -> None:
    await add_up(database)
    before = await summed(db)
    await apply(database, 1, late(make_rows.TODAY))
    assert await summed(db) == before


async def test_what_comes_while_a_month_is_added_up_is_not_left_out(
    database: Database, db: Connection
) -> None:
    for number in range(1, 13):
        await asyncio.gather(add_up(database), apply(database, number, late(date(2026, number % 10 + 1, 9))))
    await add_up(database)
    sums = "select dimension, value, sum(visits), sum(pageviews), sum(duration) from {} group by 1, 2 order by 1, 2"
    await db.execute("delete from counter where day >= '2026-11-01'")
    assert await db.fetch(sums.format("month")) == await db.fetch(sums.format("counter"))


async def test_a_redacted_value_is_in_no_sums(database: Database, db: Connection, tmp_path: Path) -> None:
    await add_up(database)
    before = await summed(db)
    await Redactions(database, Stopped(make_rows.NOW)).request(redaction.parse(1, "page", "/2"))
    assert await db.fetchval("select count(*) from month where value = '/2'") == 0
    of_days = await answers(database)
    await add_up(database)
    assert (await summed(db), await answers(database)) == (before, of_days)


async def test_sums_go_with_their_site(database: Database, db: Connection) -> None:
    await add_up(database)
    await Sites(database, Stopped(make_rows.NOW)).reset("example.com")
    assert await db.fetchval("select count(*) from month") == 0
