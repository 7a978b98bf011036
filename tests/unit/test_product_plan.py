"""From what a question about a product is answered, which days answer, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest

from headcount import errors
from headcount.licensed import UTC_ZONE
from headcount.stats import dates, product
from headcount.stats.product import CountedDays, ProductPlan, Source
from headcount.wire import query
from make_installs import DAY, MADE, NOW, TODAY

COUNTED = CountedDays(MADE, TODAY)
IS_TEAM = ["is", "install:plan", ["team"]]
IS_LATVIA = ["is", "install:country_name", ["Latvia"]]
IS_LINUX = ["is", "install:os", ["linux"]]


def decide(
    *dimensions: str,
    filters: Any = (),
    metrics: Any = ("installs",),
    date_range: Any = "12mo",
    counted: CountedDays = COUNTED,
    **more: Any,
) -> ProductPlan:
    asked = {"site_id": "product:shop", "metrics": list(metrics), "date_range": date_range, **more}
    parsed = query.parse(orjson.dumps({**asked, "dimensions": dimensions, "filters": filters}))
    period = dates.resolve(parsed.date_range, UTC_ZONE, NOW, MADE)
    return product.decide(parsed, period, counted)


def refusal(*dimensions: str, **asked: Any) -> tuple[str, str]:
    with pytest.raises(errors.BadInput) as caught:
        decide(*dimensions, **asked)
    return caught.value.field, caught.value.message


def codes(planned: ProductPlan) -> dict[str, str]:
    return {name: code for name, (code, _) in planned.warnings.items()}


@pytest.mark.parametrize(
    ("dimensions", "filters", "by"),
    [
        ([], [], ""),
        (["time:day"], [], ""),
        (["install:version"], [], "version"),
        (["time:week", "install:state"], [], "state"),
        (["install:country", "install:country_name"], [], "country"),
        (["install:plan"], [IS_TEAM, ["not", ["contains", "install:plan", ["e"]]]], "plan"),
        (["time:month"], [IS_LINUX], "os"),
        (["install:country"], [IS_LATVIA], "country"),
    ],
)
def test_one_dimension_is_answered_from_its_counts(
    dimensions: list[str], filters: list[Any], by: str
) -> None:
    planned = decide(*dimensions, filters=filters)
    assert (planned.source, planned.by) == (Source.COUNTS, by)


@pytest.mark.parametrize(
    ("dimensions", "filters"),
    [
        (["install:version", "install:plan"], []),
        (["time:day", "install:version", "install:plan", "install:country"], []),
        (["install:version"], [IS_TEAM, IS_LATVIA]),
        ([], [["or", [IS_TEAM, IS_LATVIA]]]),
    ],
)
def test_version_plan_and_country_are_answered_from_cells(dimensions: list[str], filters: list[Any]) -> None:
    planned = decide(*dimensions, filters=filters)
    assert planned.source is Source.CELLS
    assert codes(planned) == {"installs": "small_cells_folded"}


@pytest.mark.parametrize(
    ("dimensions", "filters", "field"),
    [
        (["install:version", "install:os"], [], "dimensions"),
        (["install:os", "install:status"], [IS_TEAM], "dimensions"),
        (["install:os"], [IS_TEAM], "filters"),
        (["install:version", "install:plan"], [IS_LINUX], "filters"),
        ([], [IS_LINUX, IS_TEAM], "filters"),
    ],
)
def test_other_combinations_are_refused_and_told_what_can_be_combined(
    dimensions: list[str], filters: list[Any], field: str
) -> None:
    found, message = refusal(*dimensions, filters=filters)
    assert found == field
    assert "only install:version, install:plan and install:country can be combined" in message


def test_cells_know_installs_alone() -> None:
    field, message = refusal("install:version", filters=[IS_TEAM], metrics=["installs", "new_installs"])
    assert field == "metrics"
    assert message.startswith("by two or three of install:version, install:plan and install:country")


def test_heartbeats_have_no_state() -> None:
    assert refusal("install:state", metrics=["heartbeats"])[0] == "metrics"
    assert decide("install:state", metrics=["installs", "lost_installs"]).by == "state"


def test_hours_within_a_day_are_refused() -> None:
    whole = ["2026-11-20T02:00:00+02:00", "2026-11-22T01:59:59+02:00"]
    period = decide(date_range=whole).period
    assert (period.first, period.last) == (date(2026, 11, 20), date(2026, 11, 21))
    field, message = refusal(date_range=["2026-11-20T00:00:00+02:00", "2026-11-21T23:59:59+02:00"])
    assert field == "date_range"
    assert "a day's first and last second" in message


@pytest.mark.parametrize(
    ("date_range", "time"),
    [("day", "day"), ("30d", "day"), ("91d", "week"), (["2020-01-01", "2026-11-22"], "month")],
)
def test_time_is_made_definite_and_never_an_hour(date_range: Any, time: str) -> None:
    planned = decide("time", date_range=date_range, order_by=[["time", "desc"]])
    assert [one.key for one in planned.dimensions] == [f"time:{time}"]
    assert planned.order_by == ((f"time:{time}", True),)


CLOSING = [
    # (dimension, range, counted until, the days that answer, by the beginning of their bucket)
    ([], ["2026-11-16", "2026-11-18"], TODAY, {16: 18}),
    ([], ["2026-11-20", "2026-12-31"], TODAY, {20: 22}),
    ([], ["2026-11-16", "2026-11-22"], date(2026, 11, 17), {16: 17}),
    ([], ["2026-11-16", "2026-11-22"], date(2026, 11, 15), {}),
    ([], ["2026-11-16", "2026-11-22"], None, {}),
    (["time:day"], ["2026-11-16", "2026-11-18"], date(2026, 11, 17), {16: 16, 17: 17}),
    (["time:week"], ["2026-11-13", "2026-11-22"], TODAY, {13: 15, 16: 22}),
    (["time:week"], ["2026-11-13", "2026-11-22"], date(2026, 11, 14), {13: 14}),
    (["time:month"], ["2026-11-13", "2026-11-22"], date(2026, 11, 14), {1: 14}),
    (["time:month"], ["2026-11-13", "2026-11-22"], date(2026, 11, 12), {}),
]


@pytest.mark.parametrize(("dimensions", "date_range", "until", "days"), CLOSING)
def test_the_last_counted_day_of_a_bucket_answers(
    dimensions: list[str], date_range: list[str], until: date | None, days: dict[int, int]
) -> None:
    planned = decide(*dimensions, date_range=date_range, counted=CountedDays(MADE, until))
    found = {begin.day: end.day for begin, end in planned.closing_days.items()}
    assert found == days


def test_days_before_the_product_was_made_answer_nothing() -> None:
    assert decide(date_range=["2026-08-01", "2026-08-31"]).closing_days == {}
    by_month = decide("time:month", date_range=["2026-08-01", "2026-09-02"])
    assert by_month.closing_days == {MADE: date(2026, 9, 2)}


def test_what_was_not_counted_is_said() -> None:
    until_yesterday = CountedDays(MADE, TODAY - DAY)
    flow = ["installs", "heartbeats", "new_installs"]
    assert codes(decide(metrics=flow)) == {}
    assert codes(decide(metrics=flow, counted=until_yesterday)) == {
        "installs": "not_counted",
        "new_installs": "not_counted",
    }
    never = decide(counted=CountedDays(MADE, None)).warnings["installs"]
    assert never[1] == "Installs have not been counted yet."
    assert codes(decide(date_range=["2026-08-01", "2026-08-31"])) == {"installs": "not_counted"}


def test_what_lists_more_than_the_total_says_so() -> None:
    for name in ("environment", "state"):
        assert codes(decide(f"install:{name}")) == {"installs": "more_than_the_total"}
    assert codes(decide("install:status", metrics=["heartbeats", "lost_installs"])) == {
        "heartbeats": "checks_of_unknown_keys"
    }
    assert codes(decide("install:os")) == {}


def test_the_facts_name_the_day_whose_installs_are_given() -> None:
    assert decide().facts == {"counted_days": ["2026-09-01", "2026-11-22"], "installs_on": "2026-11-22"}
    assert decide("time:day", date_range="7d").facts == {"counted_days": ["2026-09-01", "2026-11-22"]}
    assert decide(metrics=["heartbeats"]).facts == {"counted_days": ["2026-09-01", "2026-11-22"]}
