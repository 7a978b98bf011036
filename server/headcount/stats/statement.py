"""What the statements of all questions have in common.

One statement a question: from fixed fragments and numbered arguments, never from text of a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headcount.stats import conditions
from headcount.stats.conditions import Arguments, Columns, Listed
from headcount.stats.planned import Planned
from headcount.stats.question import Dimension, Level


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What a plan needs besides itself to become SQL."""

    subject: int
    """The site or product."""
    listed: Listed
    names: Mapping[str, str]
    """The shown name of each stored code of a named dimension."""


Grouped = Callable[[Arguments], str]
"""Writes the CTE `grouped`: all rows of an answer, with the dimensions as d0, d1 …, and the columns."""


def page(
    plan: Planned, given: Given, grouped: Grouped, columns: Sequence[str], ordering: Mapping[str, str]
) -> Statement:
    """The page of rows that was asked for: dimensions as they are shown, then the columns, in the plan's order.

    `ordering`: the expression that each metric is ordered by.
    """
    arguments = Arguments()
    ctes = grouped(arguments)
    shown, joins = [], ""
    for number, one in enumerate(plan.dimensions):
        column = f"d{number}"
        if one.named:
            codes = arguments.add(list(given.names), "text[]")
            names = arguments.add(list(given.names.values()), "text[]")
            joins += (
                f" left join unnest({codes}, {names}) as n{number} (code, name) on n{number}.code = {column}"
            )
            column = f"coalesce(n{number}.name, {column})"
        if one.level is not Level.TIME:
            column = f"{conditions.shown(one, column, arguments)} as d{number}"
        shown.append(column)
    limit, offset = (arguments.add(number, "bigint") for number in (plan.query.limit, plan.query.offset))
    text = f"""with {ctes}, shown as (
    select {", ".join([*shown, *columns])} from grouped{joins}
)
select * from shown {_order(plan, ordering)}
limit {limit} offset {offset}"""  # noqa: S608 - our own fragments
    return Statement(text, tuple(arguments.values))


def total(grouped: Grouped) -> Statement:
    """How many rows there are on all pages."""
    arguments = Arguments()
    text = f"with {grouped(arguments)} select count(*) as total from grouped"  # noqa: S608 - see page
    return Statement(text, tuple(arguments.values))


def cte(name: str, select: Sequence[str], source: str, where: Sequence[str], by: str) -> str:
    condition = f" where {' and '.join(where)}" if where else ""
    return f"{name} as (\n    select {', '.join(select)}\n    from {source}{condition} {by}\n)"  # noqa: S608 - see page


def filters(columns: Columns, plan: Planned, given: Given, arguments: Arguments) -> list[str]:
    """The conditions that must all hold."""
    return [conditions.holds(one, columns, arguments, given.listed) for one in plan.query.filters]


def groups(day: str, columns: Columns, plan: Planned, arguments: Arguments) -> list[str]:
    """What is grouped by, as d0, d1 …"""
    return [
        f"{group(one, day, columns, plan, arguments)} as d{number}"
        for number, one in enumerate(plan.dimensions)
    ]


def group(dimension: Dimension, day: str, columns: Columns, plan: Planned, arguments: Arguments) -> str:
    """What this dimension groups by; the time of the bucket's beginning for a time dimension."""
    if dimension.level is not Level.TIME:
        return columns(dimension)
    if dimension.key == "time:hour":
        return "h.hour"
    if dimension.key == "time:week":
        first = arguments.add(plan.period.first, "date")
        return f"greatest(date_trunc('week', {day}::timestamp)::date, {first})"
    if dimension.key == "time:month":
        return f"date_trunc('month', {day}::timestamp)::date"
    return day


def by(plan: Planned, having: str = "") -> str:
    """Grouped by all dimensions; without any there is always one row, if only of zeros."""
    if not plan.dimensions:
        return ""
    groups = ", ".join(str(number + 1) for number in range(len(plan.dimensions)))
    return f"group by {groups}" + (f" having {having}" if having else "")


def days(column: str, plan: Planned, arguments: Arguments) -> str:
    first, last = (arguments.add(day, "date") for day in (plan.period.first, plan.period.last))
    return f"{column} between {first} and {last}"


def _order(plan: Planned, ordering: Mapping[str, str]) -> str:
    keys = [one.key for one in plan.dimensions]
    ties = [(key, False) for key in keys if key not in dict(plan.order_by)]
    parts = []
    for key, descending in (*plan.order_by, *ties):
        of = [ordering[key]] if key in ordering else _sorted(plan, keys.index(key))
        parts += [f"{expression} {'desc' if descending else 'asc'} nulls last" for expression in of]
    return f"order by {', '.join(parts)}"


def _sorted(plan: Planned, number: int) -> list[str]:
    """What a dimension is ordered by: times as they are, versions by their numbers, other texts by bytes."""
    dimension, column = plan.dimensions[number], f"d{number}"
    if dimension.level is Level.TIME:
        return [column]
    text = f'{column} collate "C"'
    if dimension.key == "install:version":
        numbers = f"string_to_array(substring({column} from '^[0-9]+(?:[.][0-9]+)*'), '.')::bigint[]"
        return [numbers, f"strpos({column}, '-') = 0", text]  # a pre-release comes before its release
    return [text]
