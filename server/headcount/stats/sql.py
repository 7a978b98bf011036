"""Questions about a site as SQL.

Event-level filters of one question hold on the same hit, visit-level ones on its visit. A visit counts
once in each group that it touches, so hits are first drawn together by (group, visit).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from headcount.stats import conditions, statement
from headcount.stats.conditions import Arguments
from headcount.stats.plan import WHOLE, Plan, Source
from headcount.stats.question import Level, matches
from headcount.stats.statement import Given, Statement

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


def rows(plan: Plan, given: Given) -> Statement:
    """The page of rows that was asked for."""
    return statement.page(plan, given, partial(_grouped, plan, given), _SUMS, _ORDER)


def total(plan: Plan, given: Given) -> Statement:
    """How many rows there are on all pages."""
    return statement.total(partial(_grouped, plan, given))


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
    site = arguments.add(given.subject, "bigint")
    dimension = arguments.add(plan.counted.counted if plan.counted else WHOLE, "text")
    columns = conditions.counter_columns
    of_dimension = f"site_id = {site} and dimension = {dimension}"
    filters = statement.filters(columns, plan, given, arguments)
    if plan.by_month:
        source, where = "counted", []
        before = f"{_months_and_days(plan, arguments, site, of_dimension, filters)}, "
    else:
        source, where, before = (
            "counter",
            [of_dimension, statement.days("day", plan, arguments), *filters],
            "",
        )
    select = statement.groups("day", columns, plan, arguments)
    select += [f"coalesce(sum({name}), 0)::bigint as {name}" for name in _SUMS]
    grouped = statement.cte("grouped", select, source, where, statement.by(plan, having="sum(visits) > 0"))
    return before + grouped


def _months_and_days(
    plan: Plan, arguments: Arguments, site: str, of_dimension: str, filters: Sequence[str]
) -> str:
    """The CTE `counted`: whole months from their sums, where these hold, and all other days from the counters.

    `offset 0` keeps each month and day one look into the index: all in one, the planner reads the whole dimension.
    """
    first, last = (arguments.add(day, "date") for day in (plan.period.first, plan.period.last))
    sums, where = ", ".join(_SUMS), " and ".join([of_dimension, *filters])
    return f"""summed as materialized (
    select month from month where site_id = {site} and dimension = '' and month >= {first}
        and month + interval '1 month' <= {last} + interval '1 day'
), days as (
    select day::date as day from generate_series({first}::timestamp, {last}, interval '1 day') as day
    where date_trunc('month', day)::date not in (select month from summed)
), counted as (
    select month as day, part.* from summed cross join lateral (
        select value, {sums} from month where {where} and month = summed.month offset 0
    ) as part
    union all
    select days.day, part.* from days cross join lateral (
        select value, {sums} from counter where {where} and day = days.day offset 0
    ) as part
)"""  # noqa: S608 - our own fragments


def _from_hours(plan: Plan, given: Given, arguments: Arguments) -> str:
    where = [f"site_id = {arguments.add(given.subject, 'bigint')}", statement.days("day", plan, arguments)]
    where += _window("hour", plan, arguments)
    select = ["hour as d0", *(f"coalesce(sum({name}), 0)::bigint as {name}" for name in _SUMS[:6])]
    return statement.cte(
        "grouped", [*select, _NO_SCROLL], "hour", where, statement.by(plan, having="sum(visits) > 0")
    )


def _from_visits(plan: Plan, given: Given, arguments: Arguments) -> str:
    columns = conditions.raw_columns(arguments)
    where = [
        f"v.site_id = {arguments.add(given.subject, 'bigint')}",
        statement.days("v.day", plan, arguments),
    ]
    where += statement.filters(columns, plan, given, arguments)
    select = statement.groups("v.day", columns, plan, arguments)
    return statement.cte(
        "grouped", [*select, _VISITS.format("v."), _NO_SCROLL], "visit as v", where, statement.by(plan)
    )


def _from_hits(plan: Plan, given: Given, arguments: Arguments) -> str:
    columns = conditions.raw_columns(arguments)
    site = arguments.add(given.subject, "bigint")
    # Both tables get the bounds, so that partitions are left out of both.
    where = [f"h.site_id = {site}", f"v.site_id = {site}"]
    where += [statement.days("h.day", plan, arguments), statement.days("v.day", plan, arguments)]
    where += _window("h.minute", plan, arguments)
    if "scroll_depth" not in plan.query.metrics:
        where.append("h.name <> 'engagement'")
    for one in plan.dimensions:
        if one.prop is not None:  # what has no such property is in no group, as in the counters
            where.append(f"h.props ? {arguments.add(one.prop, 'text')}")
    where += statement.filters(columns, plan, given, arguments)
    select = statement.groups("h.day", columns, plan, arguments)
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
    touched = statement.cte("touched", select, source, where, by)
    select = [f"d{number}" for number in range(len(plan.dimensions))]
    scroll = "coalesce(sum(scroll), 0)::bigint as scroll, count(scroll) as scroll_visits"
    select += [_VISITS.format(""), scroll]
    return f"{touched}, {statement.cte('grouped', select, 'touched', [], statement.by(plan))}"


_NO_SCROLL = "0::bigint as scroll, 0::bigint as scroll_visits"


def _window(column: str, plan: Plan, arguments: Arguments) -> list[str]:
    if plan.period.window is None:
        return []
    start, end = (arguments.add(moment, "timestamptz") for moment in plan.period.window)
    return [f"{column} >= {start} and {column} < {end}"]
