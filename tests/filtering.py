"""Random filters, and what they mean: slow and obvious on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from headcount.stats.question import All, Dimension, Filter, Match, Not, Operator

operators = st.sampled_from(["is", "is_not", "contains", "contains_not", "matches", "matches_not"])


def simple(dimensions: list[str], values: list[str]) -> st.SearchStrategy[list[Any]]:
    """A filter on one of the dimensions by some of the values."""
    few = st.lists(st.sampled_from(values), min_size=1, max_size=2)
    plain = st.tuples(operators, st.sampled_from(dimensions), few).map(list)
    return plain | st.tuples(plain, st.booleans()).map(lambda of: [*of[0], {"case_sensitive": of[1]}])


def trees(dimensions: list[str], values: list[str]) -> st.SearchStrategy[list[Any]]:
    """Such filters, also with "and", "or" and "not"."""

    def nest(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
        several = st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=2)).map(list)
        return several | inner.map(lambda one: ["not", one])

    return st.recursive(simple(dimensions, values), nest, max_leaves=3)


def holds(filter: Filter, shown: Callable[[Dimension], str]) -> bool:
    """Whether the filter holds, given what is shown for each dimension."""
    if isinstance(filter, Match):
        return fits(filter, shown(filter.dimension))
    if isinstance(filter, Not):
        return not holds(filter.filter, shown)
    each = [holds(part, shown) for part in filter.filters]
    return all(each) if isinstance(filter, All) else any(each)


def fits(match: Match, value: str) -> bool:
    """Whether a value fits. The patterns of these tests have nothing special in them."""
    is_one = match.operator is Operator.IS
    wanted = [match.dimension.unset if is_one and not one else one for one in match.values]
    if not match.case_sensitive:
        wanted, value = [one.lower() for one in wanted], value.lower()
    return value in wanted if is_one else any(one in value for one in wanted)
