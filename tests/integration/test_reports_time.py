"""Time buckets, ranges and windows over real rows; how far back they reach; what happens now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import make_rows
from asking import SITE, Ask
from headcount import errors
from headcount.store.postgres import Database
from make_rows import TODAY, Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

YESTERDAY = TODAY - timedelta(days=1)
GOOGLE = {"source": "Google"}


@pytest.fixture
async def ask(dsn: str) -> AsyncIterator[Ask]:
    database = Database(lambda: dsn)
    yield Ask(database)
    await database.close()


@pytest.mark.parametrize("filters", [[], [["contains", "visit:source", ["oo"]]]])
async def test_time_is_grouped_by_day_week_and_month(ask: Ask, db: Connection, filters: list[Any]) -> None:
    days = [date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2), TODAY]
    await make_rows.store(db, [Visit(day=day, attributes=GOOGLE) for day in days])

    async def rows(time: str) -> list[tuple[Any, ...]]:
        return await ask.rows(time, date_range=["2026-10-28", "2026-11-22"], filters=filters)

    assert await rows("time:week") == [("2026-10-28", 3), ("2026-11-02", 1), ("2026-11-16", 1)]
    assert await rows("time:month") == [("2026-10-01", 2), ("2026-11-01", 3)]
    assert (await rows("time"))[0] == ("2026-10-30", 1)


@pytest.mark.parametrize("filters", [[], [["contains", "visit:source", ["oo"]]]])
async def test_an_hour_counts_the_visits_that_touched_it(
    ask: Ask, db: Connection, filters: list[Any]
) -> None:
    await make_rows.store(
        db,
        [
            Visit((Hit(), Hit(after=45)), hour=9, minute=30, attributes=GOOGLE),
            Visit(hour=10, attributes=GOOGLE),
        ],
    )
    want = [("2026-11-22 09:00:00", 1, 1), ("2026-11-22 10:00:00", 2, 2)]
    metrics = ["visits", "pageviews"]
    assert await ask.rows("time:hour", metrics=metrics, date_range="day", filters=filters) == want


@pytest.mark.parametrize("filters", [[], [["is", "visit:source", ["Google"]]]])
async def test_the_hour_that_occurs_twice_is_two_rows(ask: Ask, db: Connection, filters: list[Any]) -> None:
    day = date(2026, 10, 25)
    await make_rows.store(db, [Visit(day=day, hour=2, fold=fold, attributes=GOOGLE) for fold in (0, 1)])
    answer = await ask(
        "time:hour", date_range=["2026-10-25", "2026-10-25"], filters=filters, include={"time_labels": True}
    )
    found = [row["dimensions"][0] for row in answer["results"]]
    assert found == ["2026-10-25 02:00:00+02:00", "2026-10-25 02:00:00+01:00"]
    assert len(answer["meta"]["time_labels"]) == 25


async def test_24_hours_leave_out_what_was_before(ask: Ask, db: Connection) -> None:
    early, late = Visit(day=YESTERDAY, hour=15, minute=19), Visit(day=YESTERDAY, hour=15, minute=20)
    await make_rows.store(
        db, [early, late, Visit((Hit(), Hit(after=30)), day=YESTERDAY, hour=15), Visit(hour=15)]
    )
    assert await ask.rows(metrics=["visits", "pageviews"], date_range="24h") == [(3, 3)]
    by_hour = await ask.rows("time:hour", date_range="24h")
    assert by_hour == [("2026-11-21 15:00:00", 3), ("2026-11-22 15:00:00", 1)]


async def test_date_times_are_answered_to_the_minute(ask: Ask, db: Connection) -> None:
    await make_rows.store(
        db, [Visit(hour=hour, minute=minute) for hour, minute in ((9, 59), (10, 0), (11, 59), (12, 0))]
    )
    hours = ["2026-11-22T10:00:00+01:00", "2026-11-22T11:59:59+01:00"]
    assert await ask.rows(date_range=hours) == [(2,)]
    assert await ask.rows("time:hour", date_range=hours) == [
        ("2026-11-22 10:00:00", 1),
        ("2026-11-22 11:00:00", 1),
    ]


async def test_raw_rows_reach_as_far_as_the_site_keeps_them(ask: Ask) -> None:
    short = make_rows.site(retention_days=7)
    filters = [["contains", "event:page", ["a"]]]
    assert await ask.rows(site=short, filters=filters, date_range="7d") == [(0,)]
    with pytest.raises(errors.BadInput, match="reach back to 2026-11-16"):
        await ask(site=short, filters=filters, date_range="28d")


async def test_raw_rows_that_were_purged_are_not_promised(ask: Ask, db: Connection) -> None:
    await db.execute("insert into purge values (1, $1, 'rows', 1, $2, 5)", make_rows.NOW, date(2026, 11, 20))
    await db.execute("insert into purge values (2, $1, 'rows', 2, $2, 5)", make_rows.NOW, TODAY)
    with pytest.raises(errors.BadInput, match="reach back to 2026-11-20"):
        await ask(filters=[["contains", "event:page", ["a"]]])


async def test_all_begins_with_the_first_counter(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(day=date(2024, 2, 29)), Visit()], raw=False)
    answer = await ask(date_range="all")
    assert answer["results"][0]["metrics"] == [2]
    assert answer["query"]["date_range"][0] == "2024-02-29T00:00:00+01:00"


async def test_realtime_is_the_last_minutes(ask: Ask, db: Connection) -> None:
    await make_rows.store(
        db,
        [
            Visit((Hit(), Hit()), hour=15, minute=20),
            Visit((Hit("Signup"),), hour=15, minute=16),
            Visit((Hit(), Hit("engagement", after=29)), hour=14, minute=51),
            Visit(hour=14, minute=50),
        ],
    )
    now = (await ask.reports().realtime(SITE)).as_dict()
    assert now["visitors"] == 2
    assert len(now["pageviews"]) == 30
    assert now["pageviews"][0] == {"minute": "2026-11-22T13:51:00Z", "pageviews": 1}
    assert now["pageviews"][-1] == {"minute": "2026-11-22T14:20:00Z", "pageviews": 2}
    assert sum(minute["pageviews"] for minute in now["pageviews"]) == 3


async def test_realtime_reaches_over_midnight(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(day=YESTERDAY, hour=23, minute=59)])
    midnight = Visit(hour=0).began + timedelta(minutes=2)
    assert (await ask.reports(midnight).realtime(SITE)).visitors == 1
