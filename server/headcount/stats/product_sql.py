"""Questions about a product as SQL."""

from __future__ import annotations

from functools import partial

from headcount.stats import conditions, statement
from headcount.stats.conditions import Arguments, Columns
from headcount.stats.product import ProductPlan, Source
from headcount.stats.question import Dimension
from headcount.stats.statement import Given, Statement


def rows(plan: ProductPlan, given: Given) -> Statement:
    """The page of rows that was asked for."""
    metrics = plan.query.metrics
    ordering = {name: name for name in metrics}
    return statement.page(plan, given, partial(_grouped, plan, given), metrics, ordering)


def total(plan: ProductPlan, given: Given) -> Statement:
    """How many rows there are on all pages."""
    return statement.total(partial(_grouped, plan, given))


def _grouped(plan: ProductPlan, given: Given, arguments: Arguments) -> str:
    """All groups in which something was counted; without dimensions always one row."""
    metrics = plan.query.metrics
    columns: Columns = _cell_columns
    table = "install_cell"
    where = [f"product_id = {arguments.add(given.subject, 'bigint')}"]
    if plan.source is Source.COUNTS:
        columns, table = conditions.counter_columns, "install_count"
        where.append(f"dimension = {arguments.add(plan.by, 'text')}")
    # Installs alone need no other days: that is one of 365 for a year.
    where.append(
        _closes(plan, arguments) if metrics == ("installs",) else statement.days("day", plan, arguments)
    )
    where += statement.filters(columns, plan, given, arguments)
    select = statement.groups("day", columns, plan, arguments)
    sums = {name: f"coalesce(sum({name}), 0)::bigint" for name in metrics}
    if "installs" in metrics:
        sums["installs"] = _of_last_days(plan, columns, arguments)
    select += [f"{expression} as {name}" for name, expression in sums.items()]
    if not plan.dimensions:
        return statement.cte("grouped", select, table, where, "")
    summed = statement.cte("summed", select, table, where, statement.by(plan))
    some = " or ".join(f"{name} <> 0" for name in metrics)
    return f"{summed}, {statement.cte('grouped', ['*'], 'summed', [f'({some})'], '')}"


def _closes(plan: ProductPlan, arguments: Arguments) -> str:
    return f"day = any({arguments.add(list(plan.closing_days.values()), 'date[]')})"


def _of_last_days(plan: ProductPlan, columns: Columns, arguments: Arguments) -> str:
    """The installs of the last counted day of each bucket; null where no day of it has been counted."""
    if not plan.closing_days:
        return "max(null::bigint)"  # an aggregate: without dimensions there is one row
    installs = f"coalesce(sum(installs) filter (where {_closes(plan, arguments)}), 0)::bigint"
    if plan.time is None:
        return installs
    begins = arguments.add(list(plan.closing_days), "date[]")
    bucket = statement.group(plan.time, "day", columns, plan, arguments)
    return f"case when bool_or({bucket} = any({begins})) then {installs} end"


def _cell_columns(dimension: Dimension) -> str:
    return dimension.counted
