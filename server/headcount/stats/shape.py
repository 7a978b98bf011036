"""Answers in the shape of Plausible's Stats API v2, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from headcount.stats import dates
from headcount.stats.planned import Planned
from headcount.stats.question import Dimension

Row = Mapping[str, Any]
Number = int | float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, as it is written out."""

    results: list[dict[str, Any]]
    """For each row `metrics` and `dimensions`, in the order of the question."""
    meta: dict[str, Any]
    query: dict[str, Any]
    """The question as it was understood."""

    def as_dict(self) -> dict[str, Any]:
        return {"results": self.results, "meta": self.meta, "query": self.query}


def answer(plan: Planned, rows: Sequence[Row], total: int | None, facts: Mapping[str, Any]) -> Answer:
    """The answer to the planned question.

    `total`: how many rows there are, if that was asked. `facts`: what else `meta` has to say.
    """
    results: list[dict[str, Any]] = [
        {
            "metrics": [metric(name, row) for name in plan.query.metrics],
            "dimensions": [
                _label(one, row[f"d{number}"], plan) for number, one in enumerate(plan.dimensions)
            ],
        }
        for row in rows
    ]
    return Answer(results, _meta(plan, total, facts), _echo(plan))


def metric(name: str, row: Row) -> Number:
    """The metric of a row of sums: rates in percent with one decimal, durations in whole seconds."""
    if name == "views_per_visit":
        return _ratio(row["pageviews"], row["visits"], 2)
    if name == "bounce_rate":
        return _ratio(100 * row["bounces"], row["visits"], 1)
    if name == "visit_duration":
        return round(row["duration"] / row["visits"]) if row["visits"] else 0
    if name == "scroll_depth":
        return round(row["scroll"] / row["scroll_visits"]) if row["scroll_visits"] else None
    count: int | None = row[name]
    return count


def to_csv(answer: Answer) -> str:
    """A header row, then the rows: dimensions, then metrics."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_cell(name) for name in (*answer.query["dimensions"], *answer.query["metrics"]))
    for row in answer.results:
        writer.writerow(_cell(value) for value in (*row["dimensions"], *row["metrics"]))
    return text.getvalue()


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: visitors write paths and campaign names."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def _ratio(part: int, whole: int, digits: int) -> float:
    return round(part / whole, digits) if whole else 0


def _label(dimension: Dimension, value: Any, plan: Planned) -> str:
    if isinstance(value, datetime):
        return dates.hour_label(plan.period.zone, value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _meta(plan: Planned, total: int | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {"imports_included": False, "counted_from": str(plan.source), **facts}
    if "imports" in plan.query.include:
        meta["imports_skip_reason"] = "no_imported_data"
    if plan.warnings:
        meta["metric_warnings"] = {
            name: {"code": code, "warning": warning} for name, (code, warning) in plan.warnings.items()
        }
    if "time_labels" in plan.query.include and plan.time is not None:
        meta["time_labels"] = dates.labels(plan.period, plan.time.key)
    if total is not None:
        meta["total_rows"] = total
    return meta


def _echo(plan: Planned) -> dict[str, Any]:
    query = plan.query
    return {
        "site_id": query.site_id,
        "metrics": list(query.metrics),
        "date_range": plan.period.echo(),
        "dimensions": [one.key for one in plan.dimensions],
        "filters": list(query.asked_filters),
        "order_by": [[key, "desc" if descending else "asc"] for key, descending in plan.order_by],
        "include": {name: True for name in sorted(query.include)},
        "pagination": {"limit": query.limit, "offset": query.offset},
    }
