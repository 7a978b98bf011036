"""What can be asked: metrics, dimensions, filters. Which words there are stands in `vocabulary.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from headcount.model import EVENT_DIMENSIONS, VISIT_DIMENSIONS

RANGES = ("day", "24h", "7d", "28d", "30d", "91d", "month", "6mo", "12mo", "year", "all")
TIMES = ("time", "time:hour", "time:day", "time:week", "time:month")
PROPS = "event:props:"
PRODUCT = "product:"
"""What the `site_id` of a question about a product begins with."""
MAX_ROWS = 10_000
"""Rows of one answer, and time buckets of one range."""


class Level(StrEnum):
    """What carries the value of a dimension."""

    TIME = "time"
    VISIT = "visit"
    EVENT = "event"
    INSTALL = "install"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something to group or filter by."""

    key: str
    """As asked: `visit:source`."""
    level: Level
    counted: str
    """Its name among the counters: `source`, `props:plan`; of a time dimension: `day`."""
    unset: str = "(not set)"
    """Shown, and understood in filters, where a value is not known; stored is the empty text."""

    @property
    def named(self) -> bool:
        """Whether a name is shown in place of the stored code."""
        return self.key in ("visit:country_name", "install:country_name")

    @property
    def prop(self) -> str | None:
        """The name of the event property, if it is one."""
        return self.counted.removeprefix("props:") if self.key.startswith(PROPS) else None

    @property
    def has_unset_counter(self) -> bool:
        """Whether the empty text has a counter; events that lack a property are in none."""
        return self.prop is None


_UNSET = {"source": "Direct / None", "referrer": "Direct / None"}

DIMENSIONS: dict[str, Dimension] = {
    **{key: Dimension(key, Level.TIME, key.partition(":")[2]) for key in TIMES},
    **{f"event:{name}": Dimension(f"event:{name}", Level.EVENT, name) for name in EVENT_DIMENSIONS},
    **{
        f"visit:{name}": Dimension(f"visit:{name}", Level.VISIT, name, _UNSET.get(name, "(not set)"))
        for name in (*VISIT_DIMENSIONS, "entry_page", "exit_page")
    },
    "visit:country_name": Dimension("visit:country_name", Level.VISIT, "country"),
}
"""Those of sites, all but the properties, which are `event:props:NAME`."""

PAGE = DIMENSIONS["event:page"]


def property_dimension(name: str) -> Dimension:
    """The dimension of an event property."""
    return Dimension(PROPS + name, Level.EVENT, f"props:{name}", "(none)")


class Operator(StrEnum):
    """How a value is compared; each also exists negated, as `…_not`."""

    IS = "is"
    CONTAINS = "contains"
    MATCHES = "matches"


@dataclass(frozen=True, slots=True)
class Match:
    """The dimension fits at least one of the values."""

    operator: Operator
    dimension: Dimension
    values: tuple[str, ...]
    case_sensitive: bool = True

    @property
    def by_listing(self) -> bool:
        """Whether the values that fit are found by going through all that exist, rather than by SQL.

        Patterns, because Postgres has no engine of linear time; case, because what `lower` does there depends
        on how the database was made; names, because codes are stored.
        """
        return self.operator is Operator.MATCHES or not self.case_sensitive or self.dimension.named


@dataclass(frozen=True, slots=True)
class Not:
    filter: Filter


@dataclass(frozen=True, slots=True)
class All:
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of them holds."""

    filters: tuple[Filter, ...]


Filter = Match | Not | All | Some


def matches(filters: tuple[Filter, ...]) -> Iterator[Match]:
    """Every simple filter in the tree."""
    for filter in filters:
        if isinstance(filter, Match):
            yield filter
        elif isinstance(filter, Not):
            yield from matches((filter.filter,))
        else:
            yield from matches(filter.filters)


Shown = Callable[[Dimension, str], str]
"""(dimension, stored value) to what is shown for it."""


def shown(names: Callable[[str], str]) -> Shown:
    """How stored values are shown; `names` gives the name of a country code."""

    def show(dimension: Dimension, value: str) -> str:
        if not value:
            return dimension.unset
        return names(value) if dimension.named else value

    return show


DateRange = str | tuple[date, date] | tuple[datetime, datetime]
"""A word of RANGES, two days, or two moments with their offsets; both ends belong to it."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question, checked as far as that can be done without the site and the time."""

    site_id: str
    metrics: tuple[str, ...]
    date_range: DateRange
    dimensions: tuple[Dimension, ...] = ()
    filters: tuple[Filter, ...] = ()
    """All of them must hold."""
    asked_filters: tuple[Any, ...] = ()
    """The same as they were sent, to be echoed."""
    order_by: tuple[tuple[str, bool], ...] = ()
    """(metric or dimension, whether descending); empty: the default."""
    include: frozenset[str] = frozenset()
    limit: int = MAX_ROWS
    offset: int = 0

    @property
    def product(self) -> str | None:
        """The name of the product that is asked about; None: it is a site."""
        return self.site_id.removeprefix(PRODUCT) if self.site_id.startswith(PRODUCT) else None
