"""What the plans of all questions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headcount.stats.dates import Period
from headcount.stats.question import Dimension, Level, Query


@dataclass(frozen=True, slots=True)
class Planned:
    """How a question will be answered."""

    query: Query
    source: StrEnum
    """What the answer is counted from, as it says itself."""
    period: Period
    dimensions: tuple[Dimension, ...]
    """As asked, with `time` made definite."""
    order_by: tuple[tuple[str, bool], ...]
    """(metric or dimension, whether descending), never empty."""

    @property
    def time(self) -> Dimension | None:
        return next((one for one in self.dimensions if one.level is Level.TIME), None)

    @property
    def raw(self) -> bool:
        """Whether raw rows are read."""
        return False

    @property
    def warnings(self) -> dict[str, tuple[str, str]]:
        """Metric: (code, sentence) of what could not be known."""
        return {}


def definite(query: Query, time: Dimension) -> tuple[Dimension, ...]:
    """The dimensions that are asked for, with this one in place of `time`."""
    return tuple(time if one.key == "time" else one for one in query.dimensions)


def order(query: Query, dimensions: tuple[Dimension, ...]) -> tuple[tuple[str, bool], ...]:
    """The order that is asked for, in the words of the definite dimensions; or the usual one."""
    keys = dict(zip((one.key for one in query.dimensions), (one.key for one in dimensions), strict=True))
    if query.order_by:
        return tuple((keys.get(key, key), descending) for key, descending in query.order_by)
    times = tuple((one.key, False) for one in dimensions if one.level is Level.TIME)
    return (*times, (query.metrics[0], True))
