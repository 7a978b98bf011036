"""Filters mean the same in counters and raw rows, and never become SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import make_rows
from asking import SITE, Ask
from headcount import errors
from headcount.services.reports import Reports
from headcount.store.postgres import Database
from headcount.wire import query
from make_rows import Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

GOOGLE = {"source": "Google"}


@pytest.fixture
async def ask(dsn: str) -> AsyncIterator[Ask]:
    database = Database(lambda: dsn)
    yield Ask(database)
    await database.close()


async def test_event_filters_must_hold_on_the_same_event(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit((Hit(page="/a"), Hit("Signup", "/b"))), Visit((Hit("Signup", "/a"),))])
    both = [["is", "event:page", ["/a"]], ["is", "event:name", ["Signup"]]]
    assert await ask.rows(metrics=["visits", "events"], filters=both) == [(1, 1)]


async def test_a_filtered_question_counts_visits_and_says_so(ask: Ask, db: Connection) -> None:
    await make_rows.store(
        db, [Visit(visitor=1, attributes=GOOGLE), Visit(visitor=1, hour=15, attributes=GOOGLE)]
    )
    answer = await ask(metrics=["visitors"], filters=[["contains", "visit:source", ["oogle"]]])
    assert answer["results"] == [{"metrics": [2], "dimensions": []}]
    assert answer["meta"]["metric_warnings"]["visitors"]["code"] == "visits_not_visitors"
    assert answer["meta"]["counted_from"] == "raw rows"
    assert answer["meta"]["raw_rows_since"] == "2026-10-24"


async def test_one_filter_with_a_counter_knows_visitors(ask: Ask, db: Connection) -> None:
    await make_rows.store(
        db, [Visit(visitor=1, attributes=GOOGLE), Visit(visitor=1, hour=15, attributes=GOOGLE)]
    )
    answer = await ask(metrics=["visitors"], filters=[["is", "visit:source", ["Google"]]], date_range="day")
    assert answer["results"] == [{"metrics": [1], "dimensions": []}]
    assert "metric_warnings" not in answer["meta"]


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        (["is", "visit:source", ["Google", "Bing"]], {"Google", "Bing"}),
        (["is_not", "visit:source", ["Google"]], {"Bing", "100%_sure", "Direct / None"}),
        (["is", "visit:source", ["google"]], set()),
        (["is", "visit:source", ["google"], {"case_sensitive": False}], {"Google"}),
        (["contains", "visit:source", ["oo", "in"]], {"Google", "Bing"}),
        (["contains", "visit:source", ["%_"]], {"100%_sure"}),
        (["contains", "visit:source", ["GOO"], {"case_sensitive": False}], {"Google"}),
        (["contains_not", "visit:source", ["o"]], {"Bing", "100%_sure"}),
        (["matches", "visit:source", ["^[GB].*g"]], {"Google", "Bing"}),
        (["matches_not", "visit:source", ["^[GB]"]], {"100%_sure", "Direct / None"}),
        (["matches", "visit:source", ["^bing$"], {"case_sensitive": False}], {"Bing"}),
        (["matches", "visit:source", ["none"]], set()),
        (["is", "visit:source", ["Direct / None"]], {"Direct / None"}),
        (["is", "visit:source", [""]], {"Direct / None"}),
        (["contains", "visit:source", ["Direct"]], {"Direct / None"}),
        (["is", "visit:source", [""], {"case_sensitive": False}], {"Direct / None"}),
        (["contains_not", "visit:source", [""], {"case_sensitive": False}], set()),
        (["contains_not", "visit:source", [""]], set()),
        (
            ["not", ["or", [["is", "visit:source", ["Google"]], ["is", "visit:source", [""]]]]],
            {"Bing", "100%_sure"},
        ),
    ],
)
async def test_filters_mean_the_same_in_counters_and_raw_rows(
    ask: Ask, db: Connection, filter: list[Any], found: set[str]
) -> None:
    sources = ["Google", "Bing", "100%_sure", ""]
    await make_rows.store(db, [Visit(attributes={"source": source, "os": "Linux"}) for source in sources])
    counted = await ask.rows("visit:source", filters=[filter])
    raw = await ask.rows("visit:source", "visit:os", filters=[filter])
    assert {row[0] for row in counted} == {row[0] for row in raw} == found


async def test_patterns_that_take_too_long_are_given_up(ask: Ask) -> None:
    class Slow(make_rows.StoppedClock):
        def monotonic(self) -> float:
            return next(seconds)

    seconds = iter(range(0, 100, 10))
    asked = {"site_id": "example.com", "metrics": ["visits"], "date_range": "7d"}
    slow = query.parse(orjson.dumps({**asked, "filters": [["matches", "event:page", ["a"]]]}))
    with pytest.raises(errors.BadInput, match="longer than 5 seconds"):
        await Reports(ask.database, Slow(), 30).query(SITE, slow)


async def test_properties_are_counted_where_they_are(ask: Ask, db: Connection) -> None:
    paid, free = (
        Hit("Signup", props=(("plan", "paid"),)),
        Hit("Signup", props=(("plan", "free"), ("beta", "yes"))),
    )
    await make_rows.store(db, [Visit((Hit(), paid)), Visit((Hit(), free, paid)), Visit()])
    want = [("paid", 2), ("free", 1)]
    assert await ask.rows("event:props:plan") == want
    assert await ask.rows("event:props:plan", filters=[["is", "event:name", ["Signup"]]]) == want
    assert await ask.rows("event:props:plan", "event:props:beta") == [("free", "yes", 1)]
    assert await ask.rows(filters=[["is", "event:props:plan", ["(none)"]]]) == [(3,)]
    assert await ask.rows(
        filters=[["is_not", "event:props:beta", ["yes"]], ["is", "event:name", ["Signup"]]]
    ) == [(2,)]


async def test_countries_are_filtered_and_ordered_by_name(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit(attributes={"country": code}) for code in ("DE", "LV", "EE", "")])
    order = [["visit:country_name", "asc"]]
    names = [("(not set)", 1), ("Estonia", 1), ("Germany", 1), ("Latvia", 1)]
    assert await ask.rows("visit:country_name", order_by=order) == names
    is_there = [["is", "visit:country_name", ["Latvia"]]]
    assert await ask.rows(filters=is_there, metrics=["visitors"], date_range="day") == [(1,)]
    assert await ask.rows("visit:country", filters=[["contains", "visit:country_name", ["an", "ton"]]]) == [
        ("DE", 1),
        ("EE", 1),
    ]
    assert await ask.rows("visit:os", filters=is_there) == [("(not set)", 1)]


async def test_values_are_arguments_and_never_sql(ask: Ask, db: Connection) -> None:
    await make_rows.store(db, [Visit()])
    evil = "'; drop table counter; --"
    for operator in ("is", "contains", "is_not"):
        filters = [[operator, f"event:props:{evil}", [evil]], [operator, "visit:source", [evil, "$1"]]]
        await ask(f"event:props:{evil}", "event:page", filters=filters)
    assert await ask.rows() == [(1,)]
