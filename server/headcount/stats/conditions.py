"""Filters as SQL: fixed fragments and numbered arguments, never text of a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headcount.stats.question import All, Dimension, Filter, Level, Match, Not, Operator

Listed = Mapping[Match, Sequence[str]]
"""For each filter that is decided by listing: the stored values that fit."""


class Arguments:
    """The arguments of one statement, in the order in which it numbers them."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object, type: str) -> str:
        """What stands for this value in the statement."""
        self.values.append(value)
        return f"${len(self.values)}::{type}"


Columns = Callable[[Dimension], str]
"""The expression that gives the stored value of a dimension: text, never null, empty if not known."""


def raw_columns(arguments: Arguments) -> Columns:
    """Values in the raw rows `visit as v` and `hit as h`."""

    def column(dimension: Dimension) -> str:
        if dimension.prop is not None:
            return f"coalesce(h.props ->> {arguments.add(dimension.prop, 'text')}, '')"
        return f"{'v' if dimension.level is Level.VISIT else 'h'}.{dimension.counted}"

    return column


def counter_columns(dimension: Dimension) -> str:
    """Values in the counters of the one dimension that is read."""
    return "value"


def shown(dimension: Dimension, column: str, arguments: Arguments) -> str:
    """The stored value with the word for "not known" in place of the empty text."""
    return f"case when {column} = '' then {arguments.add(dimension.unset, 'text')} else {column} end"


def holds(filter: Filter, columns: Columns, arguments: Arguments, listed: Listed) -> str:
    """The condition under which the filter holds, in brackets where it needs them."""
    if isinstance(filter, Match):
        return _match(filter, columns, arguments, listed)
    if isinstance(filter, Not):
        return f"not ({holds(filter.filter, columns, arguments, listed)})"
    word = " and " if isinstance(filter, All) else " or "
    return "(" + word.join(holds(part, columns, arguments, listed) for part in filter.filters) + ")"


def _match(match: Match, columns: Columns, arguments: Arguments, listed: Listed) -> str:
    column = columns(match.dimension)
    if match.by_listing:
        # A list may be long: as a subquery it is hashed, whatever plan is chosen.
        return f"{column} in (select unnest({arguments.add(list(listed[match]), 'text[]')}))"
    if match.operator is Operator.IS:
        return f"{column} = any({arguments.add(stored(match), 'text[]')})"
    text = shown(match.dimension, column, arguments)
    parts = [f"strpos({text}, {arguments.add(value, 'text')}) > 0" for value in match.values]
    return f"({' or '.join(parts)})"


def stored(match: Match) -> list[str]:
    """The stored values that the shown ones of an `is` filter stand for."""
    values = dict.fromkeys(match.values)
    return [*values, ""] if match.dimension.unset in values and "" not in values else list(values)
