"""Decides from what a question about a product is answered, and what the answer can know.

Installs are counted at the end of each day of UTC, and of today so far. They never add up: a range answers with
its last day, a week or month with the last of its days. What came, went or checked is summed over the days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from headcount import errors
from headcount.stats import dates, planned
from headcount.stats.dates import Period
from headcount.stats.planned import Planned
from headcount.stats.question import Level, Query, matches
from headcount.stats.vocabulary import INSTALL_DIMENSIONS, INSTALL_METRICS

IN_CELLS = ("version", "plan", "country")
"""What installs are counted by at once."""
LIST_MORE = ("environment", "status", "state")
"""By these, installs are listed that are not among the installs of the product."""

FOLDED = (
    "small_cells_folded",
    "What fewer than five installs share is folded into (other): first the country, then the plan, then the version.",
)
MORE = (
    "more_than_the_total",
    "By environment, status and state, installs without a seat or fallen silent are listed too, so these do not "
    "add up to the total.",
)
ALL_CHECKS = (
    "checks_of_unknown_keys",
    "By status, checks with unknown keys and with those of other products are counted too, so these do not add up "
    "to the total.",
)

_ONE_AT_A_TIME = (
    "installs are counted by one of their dimensions at a time; only install:version, install:plan and "
    "install:country can be combined, for the metric installs"
)
_ONLY_INSTALLS = (
    "by two or three of install:version, install:plan and install:country there is only the metric installs; "
    "the others are counted by one dimension at a time"
)


class Source(StrEnum):
    """What an answer was counted from, as it says itself."""

    COUNTS = "daily counts of installs"
    CELLS = "daily cells of version, plan and country"


@dataclass(frozen=True, slots=True)
class CountedDays:
    """The days whose installs have been counted; as a text, what is to be said where a range has others."""

    first: date
    """When the product was made."""
    last: date | None
    """The last one so far; None: there is none."""

    def __str__(self) -> str:
        if self.last is None:
            return "Installs have not been counted yet."
        return f"Installs were counted from {self.first} to {self.last}: what the range has besides is not known."


@dataclass(frozen=True, slots=True)
class ProductPlan(Planned):
    """How a question about a product will be answered."""

    source: Source
    counted_days: CountedDays
    by: str = ""
    """The one dimension whose counts are read; empty: those of the product as a whole. Only for COUNTS."""

    @property
    def closing_days(self) -> dict[date, date]:
        """The beginning of each bucket, or of the range: the last of its days that was counted."""
        counted = self.counted_days
        if counted.last is None:
            return {}
        begins = dates.bucket(self.period, self.time.key) if self.time else lambda day: self.period.first
        first, last = max(self.period.first, counted.first), min(self.period.last, counted.last)
        return {begins(day): day for day in dates.days(first, last)}

    @property
    def facts(self) -> dict[str, Any]:
        """What `meta` says of the days that have been counted."""
        counted = self.counted_days
        facts: dict[str, Any] = {"counted_days": [counted.first.isoformat(), _iso(counted.last)]}
        if "installs" in self.query.metrics and self.time is None:
            facts["installs_on"] = _iso(self.closing_days.get(self.period.first))
        return facts

    @property
    def warnings(self) -> dict[str, tuple[str, str]]:
        found = {}
        if not self._covered:
            found = {
                name: ("not_counted", str(self.counted_days))
                for name in INSTALL_METRICS
                if name != "heartbeats"
            }
        if self.source is Source.CELLS:
            found["installs"] = FOLDED
        elif self.by in LIST_MORE:
            found["installs"] = MORE
        if self.by == "status":
            found["heartbeats"] = ALL_CHECKS
        return {name: found[name] for name in self.query.metrics if name in found}

    @property
    def _covered(self) -> bool:
        """Whether every day of the range was counted, since there is the product."""
        counted = self.counted_days
        return counted.last is not None and counted.first <= self.period.last <= counted.last


def decide(query: Query, period: Period, counted_days: CountedDays) -> ProductPlan:
    """How to answer. Raises BadInput for what is not counted."""
    if period.window is not None:
        raise errors.BadInput(
            "date_range",
            "installs are counted by the day of UTC: date-times must be a day's first and last second",
        )
    time = dates.interval(period).replace("time:hour", "time:day")
    dimensions = planned.definite(query, INSTALL_DIMENSIONS[time])
    order = planned.order(query, dimensions)
    by = _counted_by(query)
    source = Source.CELLS if len(by) > 1 else Source.COUNTS
    of_one = by[0] if len(by) == 1 else ""
    plan = ProductPlan(query, source, period, dimensions, order, counted_days, of_one)
    if plan.time is not None:
        dates.check_buckets(period, plan.time.key)
    return plan


def _counted_by(query: Query) -> list[str]:
    """The dimensions that are grouped or filtered by. Raises BadInput for those that are not counted together."""
    grouped = [one.counted for one in query.dimensions if one.level is Level.INSTALL]
    by = list(dict.fromkeys([*grouped, *(match.dimension.counted for match in matches(query.filters))]))
    if len(by) > 1 and not set(by) <= set(IN_CELLS):
        field = "filters" if set(grouped) <= set(IN_CELLS) or len(set(grouped)) == 1 else "dimensions"
        raise errors.BadInput(field, _ONE_AT_A_TIME)
    if len(by) > 1 and query.metrics != ("installs",):
        raise errors.BadInput("metrics", _ONLY_INSTALLS)
    if by == ["state"] and "heartbeats" in query.metrics:
        raise errors.BadInput("metrics", "heartbeats have no state; by state there are the other metrics")
    return by


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
