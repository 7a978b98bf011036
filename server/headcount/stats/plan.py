"""Decides from what a question is answered, and what the answer can know.

Daily counters and hourly totals reach back for ever, but hold one dimension at a time. Raw rows answer
everything within their window, and know visits instead of visitors: two visits are never linked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from headcount import errors
from headcount.stats import dates, planned
from headcount.stats.dates import Period
from headcount.stats.planned import Planned
from headcount.stats.question import (
    DIMENSIONS,
    PAGE,
    All,
    Dimension,
    Filter,
    Level,
    Match,
    Operator,
    Query,
    matches,
)

MONTH = timedelta(days=31)
WHOLE = ""
"""The counters of the site as a whole."""
SUM_OF_DAYS = (
    "sum_of_daily_visitors",
    "Visitors are the sum of the daily visitors: somebody who came on two days counts twice, because nothing "
    "ties one day's visitors to another's.",
)
VISITS = (
    "visits_not_visitors",
    "These are visits, not visitors: this question is answered from raw rows, in which two visits are never "
    "linked, not even those of one person on one day.",
)


class Source(StrEnum):
    """What an answer was counted from, as it says itself."""

    COUNTERS = "daily counters"
    HOURS = "hourly totals"
    RAW = "raw rows"


@dataclass(frozen=True, slots=True)
class Plan(Planned):
    """How a question about a site will be answered."""

    source: Source
    counted: Dimension | None = None
    """The one whose counters are read; None: those of the site as a whole. Only for COUNTERS."""

    @property
    def raw(self) -> bool:
        return self.source is Source.RAW

    @property
    def by_month(self) -> bool:
        """Whether sums of whole months serve as well as those of their days."""
        finer = self.time is not None and self.time.key != "time:month"
        return self.counted is not None and not finer and self.period.last - self.period.first > MONTH

    @property
    def warnings(self) -> dict[str, tuple[str, str]]:
        if "visitors" not in self.query.metrics:
            return {}
        if self.source is Source.RAW:
            return {"visitors": VISITS}
        within_a_day = self.time is not None and self.time.key in ("time:hour", "time:day")
        if within_a_day or self.period.first == self.period.last:
            return {}
        return {"visitors": SUM_OF_DAYS}


def decide(query: Query, period: Period, now: datetime, oldest_raw: date) -> Plan:
    """How to answer. Raises BadInput for what cannot be known, or reaches past the raw rows."""
    dimensions = planned.definite(query, DIMENSIONS[dates.interval(period)])
    if query.date_range == "24h" and DIMENSIONS["time:hour"] in dimensions:
        period = dates.widened(period)
    plan = Plan(query, Source.RAW, period, dimensions, planned.order(query, dimensions))
    if plan.time is not None:
        dates.check_buckets(period, plan.time.key)
    if "scroll_depth" in query.metrics:
        _check_scroll(plan)
    if _from_hours(plan, now):
        return replace(plan, source=Source.HOURS)
    counted = _counted(plan)
    if counted is not None:
        return replace(plan, source=Source.COUNTERS, counted=counted[0])
    if period.first < oldest_raw:
        raise errors.BadInput("date_range", _too_far(plan, oldest_raw))
    return plan


def _from_hours(plan: Plan, now: datetime) -> bool:
    if plan.query.filters or [one.key for one in plan.dimensions] != ["time:hour"]:
        return False
    return dates.whole_hours(plan.period, now)


def _counted(plan: Plan) -> tuple[Dimension | None] | None:
    """The one dimension whose daily counters hold the answer, if they do."""
    if plan.period.window is not None or DIMENSIONS["time:hour"] in plan.dimensions:
        return None
    grouped = [one for one in plan.dimensions if one.level is not Level.TIME]
    filters = plan.query.filters
    if len({one.counted for one in grouped}) > 1:
        return None
    if not filters:
        return (grouped[0] if grouped else None,)
    if grouped:
        by = grouped[0]
        return (by,) if all(_decided_by(match, by) for match in matches(filters)) else None
    only = _conjuncts(filters)
    if len(only) == 1 and isinstance(only[0], Match) and _one_counter(only[0]):
        return (only[0].dimension,)
    return None


def _decided_by(match: Match, by: Dimension) -> bool:
    return match.dimension.counted == by.counted


def _one_counter(match: Match) -> bool:
    """Whether the filter picks exactly one counter a day."""
    if match.operator is not Operator.IS or len(match.values) != 1 or not match.case_sensitive:
        return False
    unset = match.values[0] in ("", match.dimension.unset)
    return match.dimension.has_unset_counter or not unset


def _conjuncts(filters: tuple[Filter, ...]) -> list[Filter]:
    """The filters that must all hold, with nested lists of that kind opened."""
    found: list[Filter] = []
    for filter in filters:
        found += _conjuncts(filter.filters) if isinstance(filter, All) else [filter]
    return found


def _check_scroll(plan: Plan) -> None:
    one_page = any(
        isinstance(filter, Match) and filter.dimension == PAGE and _one_counter(filter)
        for filter in _conjuncts(plan.query.filters)
    )
    if PAGE not in plan.dimensions and not one_page:
        raise errors.BadInput(
            "metrics",
            'scroll_depth needs the dimension event:page, or a filter ["is", "event:page", [one page]]',
        )
    used = (*plan.dimensions, *(match.dimension for match in matches(plan.query.filters)))
    if any(one.key == "event:name" or one.prop is not None for one in used):
        raise errors.BadInput(
            "metrics", "scroll_depth cannot be split by event:name or event:props: scrolling is no such event"
        )


def _too_far(plan: Plan, oldest: date) -> str:
    if plan.query.filters:
        what = "these filters"
    elif plan.period.window is not None:
        what = "hours within a day"
    elif plan.time is not None and plan.time.key == "time:hour":
        what = "dimensions beside time:hour"
    else:
        what = "two or more dimensions at once"
    return (
        f"{what} reach back to {oldest}, because raw rows are kept no longer; this begins on "
        f"{plan.period.first}. For all time there are: one dimension, filtered by itself or not, and one "
        '"is" filter with one value without another dimension, each also by time:day, time:week or time:month'
    )
