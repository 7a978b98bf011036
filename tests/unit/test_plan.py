"""From what a question is answered, and how far back."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest

import make_rows
from headcount import errors
from headcount.stats import dates, plan
from headcount.stats.plan import Plan, Source
from headcount.wire import query

OLDEST = date(2026, 10, 24)
IS_PAGE = ["is", "event:page", ["/"]]
IS_GOOGLE = ["is", "visit:source", ["Google"]]


def decide(
    *dimensions: str, filters: Any = (), metrics: Any = ("visitors",), date_range: Any = "12mo", **more: Any
) -> Plan:
    asked = {"site_id": "example.com", "metrics": list(metrics), "date_range": date_range, **more}
    parsed = query.parse(orjson.dumps({**asked, "dimensions": dimensions, "filters": filters}))
    period = dates.resolve(parsed.date_range, make_rows.ZONE, make_rows.NOW, date(2025, 1, 1))
    return plan.decide(parsed, period, make_rows.NOW, OLDEST)


def codes(planned: Plan) -> dict[str, str]:
    return {name: code for name, (code, _) in planned.warnings.items()}


@pytest.mark.parametrize(
    ("dimensions", "filters", "counted"),
    [
        ([], [], None),
        (["time:day"], [], None),
        (["event:page"], [], "page"),
        (["visit:source", "time:month"], [], "source"),
        (["visit:country", "visit:country_name"], [], "country"),
        (["event:props:plan"], [], "props:plan"),
        (["event:page"], [["contains", "event:page", ["/a"]], ["not", IS_PAGE]], "page"),
        (["visit:country"], [["is", "visit:country_name", ["Latvia"]]], "country"),
        ([], [IS_PAGE], "page"),
        (["time:week"], [IS_GOOGLE], "source"),
        ([], [["and", [IS_GOOGLE]]], "source"),
        ([], [["is", "visit:utm_source", ["(not set)"]]], "utm_source"),
        ([], [["is", "visit:country_name", ["Latvia"]]], "country"),
    ],
)
def test_one_dimension_is_answered_from_counters_for_all_time(
    dimensions: list[str], filters: list[Any], counted: str | None
) -> None:
    planned = decide(*dimensions, filters=filters)
    assert planned.source is Source.COUNTERS
    assert (planned.counted.counted if planned.counted else None) == counted


RAW = [
    (["event:page", "visit:source"], []),
    (["event:page"], [IS_GOOGLE]),
    (["visit:source"], [["or", [IS_GOOGLE, IS_PAGE]]]),
    ([], [IS_GOOGLE, IS_PAGE]),
    ([], [["is_not", "visit:source", ["Google"]]]),
    ([], [["is", "visit:source", ["Google", "Bing"]]]),
    ([], [["is", "visit:source", ["google"], {"case_sensitive": False}]]),
    ([], [["contains", "event:page", ["/a"]]]),
    ([], [["is", "event:props:plan", ["(none)"]]]),
    (["time:hour"], [IS_PAGE]),
    (["time:hour", "event:page"], []),
]


@pytest.mark.parametrize(("dimensions", "filters"), RAW)
def test_everything_else_is_answered_from_raw_rows(dimensions: list[str], filters: list[Any]) -> None:
    planned = decide(*dimensions, filters=filters, date_range="30d")
    assert planned.source is Source.RAW
    assert codes(planned) == {"visitors": "visits_not_visitors"}


@pytest.mark.parametrize(("dimensions", "filters"), RAW)
def test_past_the_raw_rows_the_refusal_names_the_oldest_day(
    dimensions: list[str], filters: list[Any]
) -> None:
    with pytest.raises(errors.BadInput, match="reach back to 2026-10-24") as caught:
        decide(*dimensions, filters=filters, date_range="91d")
    assert caught.value.field == "date_range"


def test_hours_come_from_hourly_totals_for_all_time() -> None:
    assert decide("time:hour", date_range="year").source is Source.HOURS
    assert decide("time:hour", date_range="24h").source is Source.HOURS
    assert decide("time", date_range="day").source is Source.HOURS


def test_a_window_that_cuts_an_hour_needs_raw_rows() -> None:
    whole = ["2026-11-20T12:00:00+01:00", "2026-11-20T15:59:59+01:00"]
    cut = ["2026-11-20T12:30:00+01:00", "2026-11-20T15:59:59+01:00"]
    assert decide("time:hour", date_range=whole).source is Source.HOURS
    assert decide("time:hour", date_range=cut).source is Source.RAW
    assert decide(date_range=whole).source is Source.RAW


def test_24_hours_without_a_dimension_are_raw_rows() -> None:
    assert decide(date_range="24h").source is Source.RAW


def test_visitors_of_several_days_are_said_to_be_a_sum() -> None:
    assert codes(decide()) == {"visitors": "sum_of_daily_visitors"}
    assert codes(decide("time:week")) == {"visitors": "sum_of_daily_visitors"}


def test_visitors_of_one_day_or_hour_are_visitors() -> None:
    assert codes(decide(date_range="day")) == {}
    assert codes(decide("time:day")) == {}
    assert codes(decide("time:hour")) == {}


def test_no_warning_is_given_for_what_was_not_asked() -> None:
    assert codes(decide(metrics=["visits"])) == {}


def test_the_default_order_is_time_then_the_first_metric() -> None:
    assert decide("event:page", metrics=["visits", "events"]).order_by == (("visits", True),)
    assert decide("event:page", "time:day").order_by == (("time:day", False), ("visitors", True))


def test_time_is_made_definite_in_the_order_too() -> None:
    planned = decide("time", order_by=[["time", "desc"]])
    assert planned.order_by == (("time:week", True),)
    assert [one.key for one in planned.dimensions] == ["time:week"]


@pytest.mark.parametrize(
    ("dimensions", "filters"),
    [
        (["event:page"], []),
        ([], [IS_PAGE]),
        (["visit:source"], [IS_PAGE]),
        (["time:day"], [["and", [IS_PAGE]]]),
    ],
)
def test_scroll_depth_belongs_to_pages(dimensions: list[str], filters: list[Any]) -> None:
    assert decide(*dimensions, filters=filters, metrics=["scroll_depth"], date_range="30d")


@pytest.mark.parametrize(
    ("dimensions", "filters"),
    [
        ([], []),
        (["visit:source"], []),
        ([], [["not", IS_PAGE]]),
        ([], [["or", [IS_PAGE, IS_GOOGLE]]]),
        ([], [["is", "event:page", ["/", "/a"]]]),
        (["event:page", "event:name"], []),
        (["event:page"], [["is", "event:props:plan", ["a"]]]),
    ],
)
def test_scroll_depth_is_refused_elsewhere(dimensions: list[str], filters: list[Any]) -> None:
    with pytest.raises(errors.BadInput, match="scroll_depth") as caught:
        decide(*dimensions, filters=filters, metrics=["scroll_depth"], date_range="30d")
    assert caught.value.field == "metrics"
