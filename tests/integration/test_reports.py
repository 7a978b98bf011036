"""Answers from real rows: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

import make_rows
from asking import SITE, Ask
from headcount.store.postgres import Database
from headcount.wire import query
from make_rows import TODAY, Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

YESTERDAY = TODAY - timedelta(days=1)
GOOGLE = {"source": "Google"}
SUMS = ["visits", "pageviews", "events", "bounce_rate", "visit_duration"]


@pytest.fixture
async def ask(dsn: str) -> AsyncIterator[Ask]:
    database = Database(lambda: dsn)
    yield Ask(database)
    await database.close()


async def test_a_site_without_visits_has_zeros(ask: Ask) -> None:
    metrics = ["visitors", *SUMS, "views_per_visit"]
    assert await ask.rows(metrics=metrics) == [(0, 0, 0, 0, 0, 0, 0)]
    assert await ask.rows(metrics=metrics, date_range="24h") == [(0, 0, 0, 0, 0, 0, 0)]
    assert await ask.rows("event:page", metrics=metrics) == []


async def test_an_answer_has_plausibles_shape(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(attributes=GOOGLE)])
    assert await ask("visit:source", metrics=["visitors"], include={"imports": True, "total_rows": True}) == {
        "results": [{"metrics": [1], "dimensions": ["Google"]}],
        "meta": {
            "imports_included": False,
            "counted_from": "daily counters",
            "imports_skip_reason": "no_imported_data",
            "metric_warnings": {
                "visitors": {
                    "code": "sum_of_daily_visitors",
                    "warning": "Visitors are the sum of the daily visitors: somebody who came on two days "
                    "counts twice, because nothing ties one day's visitors to another's.",
                }
            },
            "total_rows": 1,
        },
        "query": {
            "site_id": "example.com",
            "metrics": ["visitors"],
            "date_range": ["2026-11-16T00:00:00+01:00", "2026-11-22T23:59:59+01:00"],
            "dimensions": ["visit:source"],
            "filters": [],
            "order_by": [["visitors", "desc"]],
            "include": {"imports": True, "total_rows": True},
            "pagination": {"limit": 10000, "offset": 0},
        },
    }


async def test_visitors_of_several_days_are_added_up(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(visitor=1), Visit(visitor=1, hour=15), Visit(visitor=1, day=YESTERDAY)])
    assert await ask.rows(metrics=["visitors", "visits"]) == [(2, 3)]
    assert await ask.rows("time:day", metrics=["visitors"]) == [("2026-11-21", 1), ("2026-11-22", 1)]


async def test_every_metric_has_its_unit(ask: Ask, db: Connection) -> None:
    signup = Hit("Signup")
    await make_rows.store(
        db, [Visit(duration=10), Visit((Hit(), Hit(), signup), duration=95), Visit((Hit(),), duration=0)]
    )
    metrics = ["visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration", "events"]
    assert await ask.rows(metrics=metrics) == [(3, 4, 1.33, 66.7, 35, 5)]


async def test_scroll_depth_is_the_mean_of_the_deepest_and_null_where_unknown(
    ask: Ask, db: Connection
) -> None:
    def read(page: str, *depths: int) -> tuple[Hit, ...]:
        return (Hit(page=page), *(Hit("engagement", page, scroll=depth) for depth in depths))

    await make_rows.store(
        db, [Visit(read("/a", 20, 80, 50)), Visit(read("/a", 41)), Visit(read("/a")), Visit(read("/b"))]
    )
    want = [("/a", 60), ("/b", None)]
    order = [["event:page", "asc"]]
    assert await ask.rows("event:page", metrics=["scroll_depth"], order_by=order) == want
    not_other = [["is_not", "visit:source", ["Other"]]]
    assert await ask.rows("event:page", metrics=["scroll_depth"], order_by=order, filters=not_other) == want
    assert await ask.rows(metrics=["scroll_depth"], filters=[["is", "event:page", ["/a"]]]) == [(60,)]


async def test_a_page_counts_the_visits_that_touched_it(ask: Ask, db: Connection) -> None:
    await make_rows.store(
        db, [Visit((Hit(page="/a"), Hit(page="/b"), Hit(page="/a")), duration=30), Visit((Hit(page="/a"),))]
    )
    want = [("/a", 2, 3, 3, 50.0, 15), ("/b", 1, 1, 1, 0.0, 30)]
    assert await ask.rows("event:page", metrics=SUMS) == want
    raw = [["is", "event:hostname", ["example.com"]]]
    assert await ask.rows("event:page", metrics=SUMS, filters=raw) == want


async def test_rows_are_ordered_and_cut_into_pages(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit((Hit(page=page),)) for page in ["/c", "/a", "/a", "/b"]])
    assert await ask.rows("event:page") == [("/a", 2), ("/b", 1), ("/c", 1)]
    assert await ask.rows("event:page", order_by=[["event:page", "desc"]]) == [
        ("/c", 1),
        ("/b", 1),
        ("/a", 2),
    ]
    second = await ask("event:page", pagination={"limit": 1, "offset": 1}, include={"total_rows": True})
    assert second["results"] == [{"metrics": [1], "dimensions": ["/b"]}]
    past = await ask("event:page", pagination={"limit": 1, "offset": 9}, include={"total_rows": True})
    assert (past["results"], past["meta"]["total_rows"]) == ([], 3)


async def test_rates_order_by_their_value_and_unknown_last(ask: Ask, db: Connection) -> None:
    two = (Hit(page="/a"), Hit(page="/a"))
    await make_rows.store(
        db, [Visit(two), Visit((Hit(page="/b"),)), Visit((*two, Hit("engagement", "/a", scroll=9)))]
    )
    order = [["scroll_depth", "desc"]]
    assert await ask.rows("event:page", metrics=["scroll_depth"], order_by=order) == [("/a", 9), ("/b", None)]
    assert await ask.rows("event:page", metrics=["bounce_rate"]) == [("/b", 100.0), ("/a", 0.0)]


async def test_what_has_gone_to_zero_is_no_row(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit((Hit(page="/a"), Hit(page="/b")))])
    await db.execute(
        "insert into counter select site_id, day, dimension, '/was', 0, 0, 0, 0, 0, 0, 0, 0"
        " from counter where dimension = 'exit_page'"
    )
    assert await ask.rows("visit:exit_page") == [("/b", 1)]


async def test_other_sites_are_never_counted(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(attributes=GOOGLE)], site=2)
    for dimensions in (
        [],
        ["event:page"],
        ["time:hour"],
        ["event:page", "visit:source"],
        ["visit:os", "visit:source"],
    ):
        assert await ask.rows(*dimensions, date_range="day") in ([], [(0,)])


async def test_what_was_dropped_is_counted_by_reason(ask: Ask, db: Connection) -> None:
    rows = [
        (1, TODAY, "gpc", 2),
        (1, YESTERDAY, "gpc", 3),
        (1, TODAY, "bot_tool", 9),
        (1, date(2026, 1, 1), "gpc", 50),
    ]
    await db.copy_records_to_table("dropped", records=rows)
    week = query.parse(b'{"site_id": "example.com", "metrics": ["visits"], "date_range": "7d"}')
    assert await ask.reports().dropped(SITE, week) == [("bot_tool", 9), ("gpc", 5)]
