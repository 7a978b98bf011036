"""One statement a question: from fixed fragments and numbered arguments, never from text of a user.

Event-level filters of one question hold on the same hit, visit-level ones on its visit. A visit counts
once in each group that it touches, so hits are first drawn together by (group, visit).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headcount.stats import conditions
from headcount.stats.conditions import Arguments, Listed
from headcount.stats.plan import WHOLE, Plan, Source
from headcount.stats.question import Dimension, Level, matches

_SUMS = ("visitors", "visits", "pageviews", "events", "bounces", "duration", "scroll", "scroll_visits")
_ORDER = {
    "visitors": "visitors",
    "visits": "visits",
    "pageviews": "pageviews",
    "events": "events",
    "views_per_visit": "pageviews::float8 / nullif(visits, 0)",
    "bounce_rate": "bounces::float8 / nullif(visits, 0)",
    "visit_duration": "duration::float8 / nullif(visits, 0)",
    "scroll_depth": "scroll::float8 / nullif(scroll_visits, 0)",
}
_VISITS = """count(*) as visitors, count(*) as visits, coalesce(sum({0}pageviews), 0)::bigint as pageviews,
    coalesce(sum({0}events), 0)::bigint as events, count(*) filter (where {0}bounce) as bounces,
    coalesce(sum({0}duration), 0)::bigint as duration"""


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What a plan needs besides itself to become SQL."""

    site: int
    listed: Listed
    names: Mapping[str, str]
    """The shown name of each stored code of a named dimension."""


def rows(plan: Plan, given: Given) -> Statement:
    """The page of rows that was asked for: dimensions as d0, d1 …, then the sums, in the plan's order."""
    arguments = Arguments()
    grouped = _grouped(plan, given, arguments)
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
    text = f"""with {grouped}, shown as (
    select {", ".join([*shown, *_SUMS])} from grouped{joins}
)
select * from shown {_order(plan)}
limit {limit} offset {offset}"""  # noqa: S608 - our own fragments
    return Statement(text, tuple(arguments.values))


def total(plan: Plan, given: Given) -> Statement:
    """How many rows there are on all pages."""
    arguments = Arguments()
    text = f"with {_grouped(plan, given, arguments)} select count(*) as total from grouped"  # noqa: S608 - see rows
    return Statement(text, tuple(arguments.values))


def _grouped(plan: Plan, given: Given, arguments: Arguments) -> str:
    if plan.source is Source.COUNTERS:
        return _from_counters(plan, given, arguments)
    if plan.source is Source.HOURS:
        return _from_hours(plan, given, arguments)
    used = [*plan.dimensions, *(match.dimension for match in matches(plan.query.filters))]
    by_hit = any(one.level is Level.EVENT or one.key == "time:hour" for one in used)
    by_hit = by_hit or plan.period.window is not None or "scroll_depth" in plan.query.metrics
    return _from_hits(plan, given, arguments) if by_hit else _from_visits(plan, given, arguments)


def _from_counters(plan: Plan, given: Given, arguments: Arguments) -> str:
    site = arguments.add(given.site, "bigint")
    dimension = arguments.add(plan.counted.counted if plan.counted else WHOLE, "text")
    columns = conditions.counter_columns
    where = [f"site_id = {site} and dimension = {dimension}", _days("day", plan, arguments)]
    where += [conditions.holds(one, columns, arguments, given.listed) for one in plan.query.filters]
    select = [
        _group(one, number, "day", columns, plan, arguments) for number, one in enumerate(plan.dimensions)
    ]
    select += [f"coalesce(sum({name}), 0)::bigint as {name}" for name in _SUMS]
    return _cte("grouped", select, "counter", where, _by(plan, having="sum(visits) > 0"))


def _from_hours(plan: Plan, given: Given, arguments: Arguments) -> str:
    where = [f"site_id = {arguments.add(given.site, 'bigint')}", _days("day", plan, arguments)]
    where += _window("hour", plan, arguments)
    select = ["hour as d0", *(f"coalesce(sum({name}), 0)::bigint as {name}" for name in _SUMS[:6])]
    return _cte("grouped", [*select, _NO_SCROLL], "hour", where, _by(plan, having="sum(visits) > 0"))


def _from_visits(plan: Plan, given: Given, arguments: Arguments) -> str:
    columns = conditions.raw_columns(arguments)
    where = [f"v.site_id = {arguments.add(given.site, 'bigint')}", _days("v.day", plan, arguments)]
    where += [conditions.holds(one, columns, arguments, given.listed) for one in plan.query.filters]
    select = [
        _group(one, number, "v.day", columns, plan, arguments) for number, one in enumerate(plan.dimensions)
    ]
    return _cte("grouped", [*select, _VISITS.format("v."), _NO_SCROLL], "visit as v", where, _by(plan))


def _from_hits(plan: Plan, given: Given, arguments: Arguments) -> str:
    columns = conditions.raw_columns(arguments)
    site = arguments.add(given.site, "bigint")
    # Both tables get the bounds, so that partitions are left out of both.
    where = [f"h.site_id = {site}", f"v.site_id = {site}"]
    where += [_days("h.day", plan, arguments), _days("v.day", plan, arguments)]
    where += _window("h.minute", plan, arguments)
    if "scroll_depth" not in plan.query.metrics:
        where.append("h.name <> 'engagement'")
    for one in plan.dimensions:
        if one.prop is not None:  # what has no such property is in no group, as in the counters
            where.append(f"h.props ? {arguments.add(one.prop, 'text')}")
    where += [conditions.holds(one, columns, arguments, given.listed) for one in plan.query.filters]
    select = [
        _group(one, number, "h.day", columns, plan, arguments) for number, one in enumerate(plan.dimensions)
    ]
    select += [
        "h.day, h.visit, v.bounce, v.duration, max(h.scroll) as scroll",
        "count(*) filter (where h.name = 'pageview') as pageviews",
        "count(*) filter (where h.name <> 'engagement') as events",
    ]
    groups = [
        *(str(number + 1) for number in range(len(plan.dimensions))),
        "h.day, h.visit, v.bounce, v.duration",
    ]
    by = f"group by {', '.join(groups)} having count(*) filter (where h.name <> 'engagement') > 0"
    source = "hit as h join visit as v on v.site_id = h.site_id and v.day = h.day and v.visit = h.visit"
    touched = _cte("touched", select, source, where, by)
    select = [f"d{number}" for number in range(len(plan.dimensions))]
    scroll = "coalesce(sum(scroll), 0)::bigint as scroll, count(scroll) as scroll_visits"
    return f"{touched}, {_cte('grouped', [*select, _VISITS.format(''), scroll], 'touched', [], _by(plan))}"


_NO_SCROLL = "0::bigint as scroll, 0::bigint as scroll_visits"


def _cte(name: str, select: list[str], source: str, where: list[str], by: str) -> str:
    condition = f" where {' and '.join(where)}" if where else ""
    return f"{name} as (\n    select {', '.join(select)}\n    from {source}{condition} {by}\n)"  # noqa: S608 - see rows


def _group(
    dimension: Dimension, number: int, day: str, columns: conditions.Columns, plan: Plan, arguments: Arguments
) -> str:
    """What this dimension groups by; the time of the bucket's beginning for a time dimension."""
    if dimension.level is not Level.TIME:
        expression = columns(dimension)
    elif dimension.key == "time:hour":
        expression = "h.hour"
    elif dimension.key == "time:week":
        first = arguments.add(plan.period.first, "date")
        expression = f"greatest(date_trunc('week', {day}::timestamp)::date, {first})"
    elif dimension.key == "time:month":
        expression = f"date_trunc('month', {day}::timestamp)::date"
    else:
        expression = day
    return f"{expression} as d{number}"


def _by(plan: Plan, having: str = "") -> str:
    """Grouped by all dimensions; without any there is always one row, if only of zeros."""
    if not plan.dimensions:
        return ""
    groups = ", ".join(str(number + 1) for number in range(len(plan.dimensions)))
    return f"group by {groups}" + (f" having {having}" if having else "")


def _days(column: str, plan: Plan, arguments: Arguments) -> str:
    first, last = (arguments.add(day, "date") for day in (plan.period.first, plan.period.last))
    return f"{column} between {first} and {last}"


def _window(column: str, plan: Plan, arguments: Arguments) -> list[str]:
    if plan.period.window is None:
        return []
    start, end = (arguments.add(moment, "timestamptz") for moment in plan.period.window)
    return [f"{column} >= {start} and {column} < {end}"]


def _order(plan: Plan) -> str:
    keys = [one.key for one in plan.dimensions]
    ties = [(key, False) for key in keys if key not in dict(plan.order_by)]
    parts = []
    for key, descending in (*plan.order_by, *ties):
        expression = _ORDER.get(key, "")
        if key in keys:
            number = keys.index(key)
            expression = (
                f"d{number}" if plan.dimensions[number].level is Level.TIME else f'd{number} collate "C"'
            )
        parts.append(f"{expression} {'desc' if descending else 'asc'} nulls last")
    return f"order by {', '.join(parts)}"
