"""Regular expressions from strangers: RE2 only, which takes time in proportion to the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import re2

from headcount import errors
from headcount.stats.question import Match, Operator, Shown

MAX_PATTERNS = 20
"""In all filters of a question together."""
MAX_MEMORY = 1 << 17
"""Bytes of one compiled pattern. It bounds the steps a character takes; `^/user/\\d+$` needs a hundredth."""

Test = Callable[[str], bool]


def compiled(match: Match) -> Test:
    """Whether a text fits one of the match's values. Raises BadInput for what RE2 does not understand."""
    if match.operator is Operator.MATCHES:
        tests = [_expression(value, match.case_sensitive) for value in match.values]
        return lambda text: any(test(text) for test in tests)
    fold = _same if match.case_sensitive else str.lower
    wanted = tuple(fold(value) for value in match.values)
    if match.operator is Operator.CONTAINS:
        return lambda text: any(part in fold(text) for part in wanted)
    unset = fold(match.dimension.unset)
    return lambda text: fold(text) in wanted or (fold(text) == unset and "" in wanted)


def fitting(match: Match, stored: Iterable[str], shown: Shown) -> list[str]:
    """Those of the stored values that fit, judged by what is shown for them."""
    test = compiled(match)
    return [value for value in stored if test(shown(match.dimension, value))]


def _same(text: str) -> str:
    return text


def _expression(pattern: str, case_sensitive: bool) -> Test:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    options.case_sensitive = case_sensitive
    try:
        expression = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "it cannot be compiled"
        raise errors.BadInput("filters", f"a pattern is not RE2: {reason}") from None
    return lambda text: expression.search(text) is not None
