"""The filters of a question: a tree of conditions, bounded in depth and number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headcount import errors
from headcount.stats import pattern
from headcount.stats.question import All, Filter, Level, Match, Not, Operator, Some
from headcount.stats.vocabulary import Vocabulary
from headcount.wire import words

MAX_FILTERS = 50
MAX_DEPTH = 5
MAX_VALUES = 200
MAX_VALUE = 2000
MAX_NUMBER = (1 << 63) - 1

OPERATORS = {
    f"{operator}{suffix}": (operator, bool(suffix)) for operator in Operator for suffix in ("", "_not")
}


def parse(value: object, vocabulary: Vocabulary) -> tuple[Filter, ...]:
    """The filters that must all hold. Raises BadInput."""
    parser = _Parser(vocabulary)
    return tuple(parser.filter(item, 1) for item in words.items("filters", value, most=MAX_FILTERS))


class _Parser:
    """Reads one question's filters, and counts what they hold together."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._filters = 0
        self._patterns = 0

    def filter(self, item: object, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise errors.BadInput("filters", f"is nested at most {MAX_DEPTH} deep")
        if not isinstance(item, list) or len(item) < 2 or not isinstance(item[0], str):
            raise errors.BadInput("filters", f"each must be a list such as {self._vocabulary.filter}")
        word = item[0]
        if word == "not" and len(item) == 2:
            return Not(self.filter(item[1], depth + 1))
        if word in ("and", "or") and len(item) == 2:
            parts = words.items("filters", item[1], least=1, most=MAX_FILTERS)
            nested = tuple(self.filter(part, depth + 1) for part in parts)
            return All(nested) if word == "and" else Some(nested)
        if word in OPERATORS and len(item) in (3, 4):
            operator, negated = OPERATORS[word]
            match = self._match(operator, item)
            return Not(match) if negated else match
        known = self._vocabulary.why_not(word)
        operators = words.listed([*OPERATORS, "and", "or", "not"])
        raise errors.BadInput(
            "filters",
            f"{known or f'{words.quoted(word)} is no operator with {len(item)} parts'}; there are {operators}",
        )

    def _match(self, operator: Operator, item: Sequence[Any]) -> Match:
        by = words.dimension("filters", item[1], self._vocabulary)
        if by.level is Level.TIME:
            raise errors.BadInput("filters", "time is no filter: set date_range")
        values = tuple(_value(value) for value in words.items("filters", item[2], least=1, most=MAX_VALUES))
        match = Match(operator, by, values, _case_sensitive(item[3]) if len(item) == 4 else True)
        self._count(match)
        if operator is Operator.MATCHES:
            pattern.compiled(match)  # what RE2 refuses is refused here, before anything is asked
        return match

    def _count(self, match: Match) -> None:
        self._filters += 1
        self._patterns += len(match.values) if match.operator is Operator.MATCHES else 0
        if self._filters > MAX_FILTERS:
            raise errors.BadInput("filters", f"has at most {MAX_FILTERS} filters, nested ones included")
        if self._patterns > pattern.MAX_PATTERNS:
            raise errors.BadInput("filters", f"has at most {pattern.MAX_PATTERNS} patterns")


def _value(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, int) and abs(value) > MAX_NUMBER:  # the answer repeats it, in 64 bits
        raise errors.BadInput("filters", f"numbers are at most {MAX_NUMBER}, as texts they may be longer")
    if not isinstance(text, str) or len(text) > MAX_VALUE:
        raise errors.BadInput("filters", f"values are texts of at most {MAX_VALUE} characters")
    return text


def _case_sensitive(modifiers: object) -> bool:
    sensitive = (
        modifiers.get("case_sensitive") if isinstance(modifiers, dict) and len(modifiers) == 1 else None
    )
    if not isinstance(sensitive, bool):
        raise errors.BadInput("filters", 'the fourth part of a filter can only be {"case_sensitive": false}')
    return sensitive
