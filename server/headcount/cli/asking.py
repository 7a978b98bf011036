"""The questions that the commands with figures ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from rich.console import Console

from headcount.cli.drawing import Bars
from headcount.stats.question import DIMENSIONS, DateRange, Dimension, Filter, Query
from headcount.stats.shape import Answer
from headcount.stats.vocabulary import SITE, Vocabulary
from headcount.wire import query as wire

TOP = 10
"""Rows of a table."""

Ask = Callable[[Query], Awaitable[Answer]]
"""Answers questions about one site or product."""


def date_range(period: str, known: Vocabulary = SITE) -> DateRange:
    """The range of the option --period. Raises BadInput for one that does not exist."""
    return wire.date_range(period.split(",") if "," in period else period, known)


async def by_time(ask: Ask, subject: str, days: DateRange, metric: str) -> Bars:
    """A metric by hours, days, weeks or months, as suits the range; those without a count too."""
    labels = frozenset({"time_labels"})
    answer = await ask(Query(subject, (metric,), days, (DIMENSIONS["time"],), include=labels))
    counts = {row["dimensions"][0]: row["metrics"][0] for row in answer.results}
    return [(label, counts.get(label) or 0) for label in answer.meta["time_labels"]]


async def top(
    ask: Ask, subject: str, days: DateRange, by: Dimension, metric: str, filters: tuple[Filter, ...] = ()
) -> Bars:
    """The values of a dimension with the highest counts."""
    answer = await ask(Query(subject, (metric,), days, (by,), filters, limit=TOP))
    return [(row["dimensions"][0], row["metrics"][0]) for row in answer.results]


def warnings(answer: Answer) -> list[str]:
    """What could not be known, in sentences; each once, whatever metrics it is said of."""
    return list(
        dict.fromkeys(warning["warning"] for warning in answer.meta.get("metric_warnings", {}).values())
    )


def write_json(console: Console, value: dict[str, Any]) -> None:
    console.file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
