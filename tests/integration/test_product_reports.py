"""Answers about products from real counts: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

import make_rows
from asking import AskProduct
from headcount.store.postgres import Database
from make_installs import DAY, MADE, NOW, TODAY, Install, Selling, count_one, make_product, since, store

if TYPE_CHECKING:
    from make_installs import Connection

YESTERDAY = TODAY - DAY
MONDAY = date(2026, 11, 16)
FLOW = ["installs", "new_installs", "returning_installs", "lost_installs", "heartbeats"]


@pytest.fixture
async def ask(dsn: str) -> AsyncIterator[AskProduct]:
    database = Database(lambda: dsn)
    yield AskProduct(database, make_rows.StoppedClock(NOW))
    await database.close()


async def test_a_product_without_installs_has_zeros(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    assert await ask.rows(metrics=FLOW) == [(0, 0, 0, 0, 0)]
    assert await ask.rows("install:version", metrics=FLOW) == []
    assert await ask.rows("install:version", "install:plan") == []


async def test_an_answer_has_the_shape_of_a_sites(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(db, [since(MONDAY)])
    assert await ask("install:plan", include={"imports": True, "total_rows": True}) == {
        "results": [{"metrics": [1], "dimensions": ["team"]}],
        "meta": {
            "imports_included": False,
            "counted_from": "daily counts of installs",
            "counted_days": ["2026-09-01", "2026-11-22"],
            "installs_on": "2026-11-22",
            "imports_skip_reason": "no_imported_data",
            "total_rows": 1,
        },
        "query": {
            "site_id": "product:shop",
            "metrics": ["installs"],
            "date_range": ["2026-11-16T00:00:00+00:00", "2026-11-22T23:59:59+00:00"],
            "dimensions": ["install:plan"],
            "filters": [],
            "order_by": [["installs", "desc"]],
            "include": {"imports": True, "total_rows": True},
            "pagination": {"limit": 10000, "offset": 0},
        },
    }


async def test_a_range_answers_with_its_last_day_and_sums_what_came_and_went(
    ask: AskProduct, db: Connection
) -> None:
    await make_product(db)
    back = Install((MONDAY, MONDAY + DAY, TODAY))
    await store(db, [since(MADE), since(MONDAY), since(MADE, YESTERDAY), back])
    assert await ask.rows(metrics=FLOW) == [(3, 2, 1, 2, 23)]
    assert await ask.rows(metrics=FLOW, date_range=["2026-11-16", "2026-11-17"]) == [(4, 2, 0, 0, 8)]
    assert await ask.rows(metrics=FLOW, date_range="day") == [(3, 0, 1, 1, 3)]


async def test_a_week_and_a_month_answer_with_their_last_day(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(
        db,
        [since(date(2026, 10, 30)), since(date(2026, 11, 14)), since(MADE, date(2026, 11, 3)), since(TODAY)],
    )

    async def rows(time: str) -> list[tuple[Any, ...]]:
        metrics = ["installs", "new_installs", "lost_installs"]
        return await ask.rows(time, metrics=metrics, date_range=["2026-10-30", "2026-11-22"])

    assert await rows("time:week") == [
        ("2026-10-30", 2, 1, 0),
        ("2026-11-02", 1, 0, 1),
        ("2026-11-09", 2, 1, 0),
        ("2026-11-16", 3, 1, 0),
    ]
    assert await rows("time:month") == [("2026-10-01", 2, 1, 0), ("2026-11-01", 3, 2, 1)]
    assert (await rows("time"))[-2:] == [("2026-11-21", 2, 0, 0), ("2026-11-22", 3, 1, 0)]


async def test_a_value_that_was_gone_on_the_last_day_has_no_installs(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(db, [since(MADE, YESTERDAY, version="1.0"), since(MADE, version="2.0")])
    assert await ask.rows("install:version") == [("2.0", 1)]
    assert await ask.rows("install:version", metrics=["installs", "lost_installs"]) == [
        ("2.0", 1, 0),
        ("1.0", 0, 1),
    ]
    assert await ask.rows("time:week", "install:version", date_range=["2026-11-09", "2026-11-22"]) == [
        ("2026-11-09", "1.0", 1),
        ("2026-11-09", "2.0", 1),
        ("2026-11-16", "2.0", 1),
    ]


async def test_every_dimension_is_answered(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    other: dict[str, Any] = {
        "version": "2.5.0",
        "plan": "solo",
        "country": "EE",
        "environment": "demo",
        "os": "windows",
    }
    await store(db, [since(MADE), since(MADE), since(MADE, **other, status="grace"), since(MADE, YESTERDAY)])
    for name, values in {**other, "status": "grace", "state": "silent"}.items():
        usual = {**Install().__dict__, "state": "active"}[name]
        assert (await ask.rows(f"install:{name}"))[-1] == (values, 1)
        assert (await ask.rows(f"install:{name}"))[0] == (usual, 3 if name == "state" else 2)
    assert await ask.rows("install:country_name") == [("Latvia", 2), ("Estonia", 1)]
    assert await ask.rows("install:country", "install:country_name") == [
        ("LV", "Latvia", 2),
        ("EE", "Estonia", 1),
    ]


async def test_checks_of_unknown_keys_are_counted_by_status_alone(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(db, [since(TODAY)])
    await count_one(db, "status", "unknown", heartbeats=7)
    await count_one(db, "status", "wrong_product", heartbeats=2)
    answer = await ask("install:status", metrics=["heartbeats", "installs"])
    assert [(*row["dimensions"], *row["metrics"]) for row in answer["results"]] == [
        ("unknown", 7, 0),
        ("wrong_product", 2, 0),
        ("active", 1, 1),
    ]
    assert {name: one["code"] for name, one in answer["meta"]["metric_warnings"].items()} == {
        "heartbeats": "checks_of_unknown_keys",
        "installs": "more_than_the_total",
    }
    assert await ask.rows(metrics=["heartbeats"]) == [(1,)]


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        (["is", "install:version", ["2.4.1", "2.10.0"]], {"2.4.1", "2.10.0"}),
        (["is_not", "install:version", ["2.4.1"]], {"2.10.0", "2.5.0-beta.1", "(not set)"}),
        (["contains", "install:version", ["2.4", "beta"]], {"2.4.1", "2.5.0-beta.1"}),
        (["contains_not", "install:version", ["0"]], {"2.4.1", "(not set)"}),
        (["matches", "install:version", ["^2[.]1"]], {"2.10.0"}),
        (["is", "install:version", ["2.5.0-BETA.1"], {"case_sensitive": False}], {"2.5.0-beta.1"}),
        (["is", "install:version", ["(not set)"]], {"(not set)"}),
        (["not", ["or", [["is", "install:version", ["", "2.4.1"]]]]], {"2.10.0", "2.5.0-beta.1"}),
    ],
)
async def test_filters_mean_the_same_in_counts_and_cells(
    ask: AskProduct, db: Connection, filter: list[Any], found: set[str]
) -> None:
    await make_product(db)
    versions = ["2.4.1", "2.10.0", "2.5.0-beta.1", ""]
    await store(db, [since(MADE, version=version) for version in versions for _ in range(5)])
    assert {row[0] for row in await ask.rows("install:version", filters=[filter])} == found
    by_two = await ask.rows("install:version", "install:plan", filters=[filter])
    assert {row[0] for row in by_two} == found
    plan = ["is", "install:plan", ["team"]]
    assert await ask.rows(filters=[filter]) == await ask.rows(filters=[filter, plan]) == [(5 * len(found),)]


async def test_versions_are_ordered_by_their_numbers(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    versions = ["2.10.0", "2.5.0-beta.1", "", "2.5.0", "2.5", "(other)", "10.0"]
    await store(db, [since(MADE, version=version) for version in versions])
    order = [["install:version", "asc"]]
    assert [row[0] for row in await ask.rows("install:version", order_by=order)] == [
        "2.5",
        "2.5.0-beta.1",
        "2.5.0",
        "2.10.0",
        "10.0",
        "(not set)",
        "(other)",
    ]


async def test_rows_are_ordered_and_cut_into_pages(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(db, [since(MADE, os=os) for os in ["linux", "windows", "windows", "macos"]])
    assert await ask.rows("install:os") == [("windows", 2), ("linux", 1), ("macos", 1)]
    ascending = await ask.rows("install:os", order_by=[["installs", "asc"], ["install:os", "desc"]])
    assert ascending == [("macos", 1), ("linux", 1), ("windows", 2)]
    page = await ask("install:os", pagination={"limit": 1, "offset": 1}, include={"total_rows": True})
    assert page["results"] == [{"metrics": [1], "dimensions": ["linux"]}]
    assert page["meta"]["total_rows"] == 3


async def test_version_plan_and_country_are_combined_with_small_cells_folded(
    ask: AskProduct, db: Connection
) -> None:
    await make_product(db)
    await store(db, [*[since(MADE)] * 6, *[since(MADE, country="EE")] * 5, since(MADE, version="1.0")])
    answer = await ask("install:version", "install:country_name")
    assert [(*row["dimensions"], *row["metrics"]) for row in answer["results"]] == [
        ("2.4.1", "Latvia", 6),
        ("2.4.1", "Estonia", 5),
        ("(other)", "(other)", 1),
    ]
    assert answer["meta"]["counted_from"] == "daily cells of version, plan and country"
    assert answer["meta"]["metric_warnings"]["installs"]["code"] == "small_cells_folded"
    of_team = [["is", "install:plan", ["team"]]]
    assert await ask.rows("install:version", filters=of_team) == [("2.4.1", 11)]
    assert await ask.rows("time:day", filters=[*of_team, ["is", "install:country", ["EE"]]]) == [
        ((MONDAY + number * DAY).isoformat(), 5) for number in range(7)
    ]
    by_name = [["is", "install:country_name", ["estonia", "(OTHER)"], {"case_sensitive": False}]]
    assert await ask.rows("install:version", filters=by_name) == [("2.4.1", 5), ("(other)", 1)]


async def test_before_the_product_was_made_nothing_is_known(ask: AskProduct, db: Connection) -> None:
    await make_product(db, made=YESTERDAY)
    await store(db, [since(YESTERDAY)])
    before = await ask(metrics=FLOW, date_range=["2026-11-01", "2026-11-10"])
    assert before["results"][0]["metrics"] == [None, 0, 0, 0, 0]
    assert before["meta"]["installs_on"] is None
    assert before["meta"]["counted_days"] == ["2026-11-21", "2026-11-22"]
    assert before["meta"]["metric_warnings"]["installs"] == {
        "code": "not_counted",
        "warning": "Installs were counted from 2026-11-21 to 2026-11-22: what the range has besides is not known.",
    }
    by_day = await ask("time:day", include={"time_labels": True})
    assert [row["dimensions"] for row in by_day["results"]] == [["2026-11-21"], ["2026-11-22"]]
    assert len(by_day["meta"]["time_labels"]) == 7
    assert "metric_warnings" not in by_day["meta"]


async def test_all_begins_when_the_product_was_made(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    answer = await ask(date_range="all")
    assert answer["query"]["date_range"] == ["2026-09-01T00:00:00+00:00", "2026-11-22T23:59:59+00:00"]


async def test_a_day_that_has_begun_and_is_not_counted_yet_is_no_zero(
    ask: AskProduct, db: Connection
) -> None:
    await make_product(db)
    await store(db, [since(MADE, YESTERDAY)], until=YESTERDAY)
    await Selling(ask.database).install()
    await count_one(db, "", "", heartbeats=3)
    answer = await ask(metrics=["installs", "heartbeats"])
    assert answer["results"][0]["metrics"] == [1, 9]
    assert answer["meta"]["installs_on"] == "2026-11-21"
    assert answer["meta"]["metric_warnings"]["installs"]["code"] == "not_counted"
    by_day = await ask.rows(
        "time:day", metrics=["heartbeats", "installs"], date_range=["2026-11-21", "2026-11-22"]
    )
    assert by_day == [("2026-11-21", 1, 1), ("2026-11-22", 3, None)]
    by_week = await ask.rows("time:week", metrics=["heartbeats", "installs"])
    assert by_week == [("2026-11-16", 9, 1)]
    await count_one(db, "state", "active", installs=1)
    assert (await ask())["meta"]["installs_on"] == "2026-11-22"


async def test_a_server_that_was_down_answers_with_the_last_day_it_counted(
    ask: AskProduct, db: Connection
) -> None:
    await make_product(db, closed=date(2026, 11, 17))
    await store(db, [since(MADE)], until=date(2026, 11, 18))
    answer = await ask()
    assert answer["results"][0]["metrics"] == [1]
    assert answer["meta"]["installs_on"] == "2026-11-18"
    assert answer["meta"]["metric_warnings"]["installs"]["code"] == "not_counted"
    today = await ask(date_range="day")
    assert today["results"][0]["metrics"] == [None]


async def test_before_anything_was_counted_installs_are_unknown(ask: AskProduct, db: Connection) -> None:
    await make_product(db, closed=None)
    answer = await ask(metrics=["installs", "heartbeats"])
    assert answer["results"] == [{"metrics": [None, 0], "dimensions": []}]
    assert answer["meta"]["counted_days"] == ["2026-09-01", None]
    assert await ask.rows("time:day") == []


async def test_other_products_are_never_counted(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await make_product(db, 2, "other")
    await store(db, [*[since(MADE)] * 5], product=2)
    for dimensions in ([], ["time:day"], ["install:version"], ["install:version", "install:plan"]):
        assert await ask.rows(*dimensions) in ([], [(0,)])


async def test_values_are_arguments_and_never_sql(ask: AskProduct, db: Connection) -> None:
    await make_product(db)
    await store(db, [since(MADE)])
    evil = "'; drop table install_count; --"
    for operator in ("is", "contains", "is_not", "matches"):
        await ask("install:os", filters=[[operator, "install:os", [evil, "$1"]]])
        await ask("install:plan", filters=[[operator, "install:version", [evil, "$1"]]])
    assert await ask.rows() == [(1,)]
