"""Plausible's Stats API v2, as `POST /api/v2/query` takes it.

Every fault is a BadInput that names the field, and says the limit or the words that are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from headcount import errors
from headcount.stats import pattern
from headcount.stats.question import (
    DIMENSIONS,
    MAX_ROWS,
    METRICS,
    PROPS,
    RANGES,
    All,
    DateRange,
    Dimension,
    Filter,
    Level,
    Match,
    Not,
    Operator,
    Query,
    Some,
    property_dimension,
)
from headcount.wire import json

MAX_BODY = 64 << 10
MAX_DIMENSIONS = 4
MAX_FILTERS = 50
MAX_FILTER_DEPTH = 5
MAX_VALUES = 200
MAX_VALUE = 2000
MAX_PROP_NAME = 300
MAX_OFFSET = 1_000_000
FIRST_YEAR = 2000

_FIELDS = ("site_id", "metrics", "date_range", "dimensions", "filters", "order_by", "include", "pagination")
_INCLUDES = ("imports", "time_labels", "total_rows")
_OPERATORS = {
    f"{operator}{suffix}": (operator, bool(suffix)) for operator in Operator for suffix in ("", "_not")
}
_ABSENT = {
    "event:goal": "goals",
    "segment": "segments",
    "visit:region": "regions",
    "visit:region_name": "regions",
    "visit:city": "cities",
    "visit:city_name": "cities",
    "visit:entry_page_hostname": "hostnames of entry pages",
    "visit:exit_page_hostname": "hostnames of exit pages",
    "has_done": "behavioural filters",
    "has_not_done": "behavioural filters",
}
"""What Plausible has and Headcount has not."""


def parse(body: bytes) -> Query:
    """The question that a body asks. Raises BadInput or TooLarge."""
    asked = json.decode(body, limit=MAX_BODY)
    if not isinstance(asked, dict):
        raise errors.BadInput("body", "must be a JSON object")
    _clean(asked)
    for name in asked:
        if name not in _FIELDS:
            raise errors.BadInput(_short(name), f"there is no such field; there are {', '.join(_FIELDS)}")
    filters = _filters(asked.get("filters", []))
    metrics = _metrics(asked.get("metrics"))
    dimensions = _dimensions(asked.get("dimensions", []))
    limit, offset = _pagination(asked.get("pagination", {}))
    return Query(
        site_id=site_id(asked.get("site_id")),
        metrics=metrics,
        date_range=date_range(asked.get("date_range")),
        dimensions=dimensions,
        filters=filters,
        asked_filters=tuple(asked.get("filters", [])),
        order_by=_order_by(asked.get("order_by", []), [*metrics, *(d.key for d in dimensions)]),
        include=_include(asked.get("include", {}), dimensions),
        limit=limit,
        offset=offset,
    )


def site_id(value: object) -> str:
    """The domain of the site that is asked about."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise errors.BadInput("site_id", "must be the domain of a site, 1 to 255 characters")
    return json.clean("site_id", value)


def date_range(value: object) -> DateRange:
    """A word, two dates, or two date-times with offsets."""
    forms = f'{_words(RANGES)}, or ["2026-11-01", "2026-11-22"], or two date-times with their offsets'
    if isinstance(value, str) and value in RANGES:
        return value
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, str) for end in value):
        raise errors.BadInput("date_range", f"must be {forms}")
    try:
        first, last = (_moment(end) for end in value)
    except ValueError:
        raise errors.BadInput("date_range", f"holds what is no ISO 8601 date; it must be {forms}") from None
    if isinstance(first, datetime) and isinstance(last, datetime):
        if first.tzinfo is None or last.tzinfo is None:
            raise errors.BadInput(
                "date_range", "date-times need an offset, such as 2026-11-22T14:00:00+02:00"
            )
        pair: tuple[date, date] | tuple[datetime, datetime] = (first, last)
    elif isinstance(first, datetime) or isinstance(last, datetime):
        raise errors.BadInput("date_range", "must be two dates or two date-times, not one of each")
    else:
        pair = (first, last)
    if not FIRST_YEAR <= first.year <= last.year <= 9998:
        raise errors.BadInput("date_range", f"must lie between the years {FIRST_YEAR} and 9998, in order")
    if pair[0] > pair[1]:
        raise errors.BadInput("date_range", "must begin before it ends")
    return pair


def dimension(field: str, key: object) -> Dimension:
    """The dimension of this name."""
    if isinstance(key, str):
        if key in DIMENSIONS:
            return DIMENSIONS[key]
        if key.startswith(PROPS):
            name = key.removeprefix(PROPS)
            if not 1 <= len(name) <= MAX_PROP_NAME:
                raise errors.BadInput(field, f"the name of a property has 1 to {MAX_PROP_NAME} characters")
            return property_dimension(name)
    _refuse_absent(field, key)
    there = [*DIMENSIONS, PROPS + "NAME"]
    raise errors.BadInput(field, f"{_quoted(key)} is no dimension; there are {', '.join(there)}")


def _moment(text: str) -> date | datetime:
    return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)


def _clean(value: object) -> None:
    """Refuse text that no database can hold, wherever it stands; the depth is bounded already."""
    if isinstance(value, str):
        json.clean("body", value)
    elif isinstance(value, list):
        for item in value:
            _clean(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            json.clean("body", name)
            _clean(item)


def _metrics(value: object) -> tuple[str, ...]:
    for name in _list("metrics", value, least=1, most=len(METRICS), distinct=True):
        if name not in METRICS:
            raise errors.BadInput("metrics", f"{_quoted(name)} is no metric; there are {', '.join(METRICS)}")
    return tuple(_list("metrics", value))


def _dimensions(value: object) -> tuple[Dimension, ...]:
    keys = _list("dimensions", value, most=MAX_DIMENSIONS, distinct=True)
    found = tuple(dimension("dimensions", key) for key in keys)
    if sum(one.level is Level.TIME for one in found) > 1:
        raise errors.BadInput("dimensions", "holds at most one time dimension")
    return found


def _filters(value: object) -> tuple[Filter, ...]:
    count = _Count()
    return tuple(_filter(item, 1, count) for item in _list("filters", value, most=MAX_FILTERS))


class _Count:
    """What all filters of a question hold together."""

    def __init__(self) -> None:
        self.filters = 0
        self.patterns = 0

    def add(self, match: Match) -> None:
        self.filters += 1
        self.patterns += len(match.values) if match.operator is Operator.MATCHES else 0
        if self.filters > MAX_FILTERS:
            raise errors.BadInput("filters", f"has at most {MAX_FILTERS} filters, nested ones included")
        if self.patterns > pattern.MAX_PATTERNS:
            raise errors.BadInput("filters", f"has at most {pattern.MAX_PATTERNS} patterns")


def _filter(item: object, depth: int, count: _Count) -> Filter:
    if depth > MAX_FILTER_DEPTH:
        raise errors.BadInput("filters", f"is nested at most {MAX_FILTER_DEPTH} deep")
    if not isinstance(item, list) or len(item) < 2 or not isinstance(item[0], str):
        raise errors.BadInput("filters", 'each must be a list such as ["is", "visit:source", ["Google"]]')
    word = item[0]
    if word == "not" and len(item) == 2:
        return Not(_filter(item[1], depth + 1, count))
    if word in ("and", "or") and len(item) == 2:
        parts = _list("filters", item[1], least=1, most=MAX_FILTERS)
        nested = tuple(_filter(part, depth + 1, count) for part in parts)
        return All(nested) if word == "and" else Some(nested)
    if word in _OPERATORS and len(item) in (3, 4):
        operator, negated = _OPERATORS[word]
        match = _match(operator, item)
        count.add(match)
        if operator is Operator.MATCHES:
            pattern.compiled(match)  # what RE2 refuses is refused here, before anything is asked
        return Not(match) if negated else match
    _refuse_absent("filters", word)
    operators = _words([*_OPERATORS, "and", "or", "not"])
    raise errors.BadInput(
        "filters", f"{_quoted(word)} is no operator with {len(item)} parts; there are {operators}"
    )


def _match(operator: Operator, item: Sequence[Any]) -> Match:
    by = dimension("filters", item[1])
    if by.level is Level.TIME:
        raise errors.BadInput("filters", "time is no filter: set date_range")
    values = tuple(_value(value) for value in _list("filters", item[2], least=1, most=MAX_VALUES))
    return Match(operator, by, values, _case_sensitive(item[3]) if len(item) == 4 else True)


def _value(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
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


def _order_by(value: object, keys: list[str]) -> tuple[tuple[str, bool], ...]:
    order = []
    for pair in _list("order_by", value, most=len(keys)):
        if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in ("asc", "desc"):
            raise errors.BadInput("order_by", 'each must be a pair such as ["visitors", "desc"]')
        if pair[0] not in keys:
            raise errors.BadInput(
                "order_by", f"{_quoted(pair[0])} is not asked for; there are {', '.join(keys)}"
            )
        order.append((pair[0], pair[1] == "desc"))
    return tuple(order)


def _include(value: object, dimensions: tuple[Dimension, ...]) -> frozenset[str]:
    if not isinstance(value, dict) or not all(
        name in _INCLUDES and isinstance(wanted, bool) for name, wanted in value.items()
    ):
        raise errors.BadInput("include", f"holds only {_words(_INCLUDES)}, each true or false")
    if value.get("time_labels") and not any(one.level is Level.TIME for one in dimensions):
        raise errors.BadInput("include", "time_labels needs a time dimension")
    return frozenset(name for name, wanted in value.items() if wanted)


def _pagination(value: object) -> tuple[int, int]:
    if not isinstance(value, dict) or not value.keys() <= {"limit", "offset"}:
        raise errors.BadInput("pagination", "holds only limit and offset")
    limit, offset = value.get("limit", MAX_ROWS), value.get("offset", 0)
    if type(limit) is not int or not 1 <= limit <= MAX_ROWS:
        raise errors.BadInput("pagination", f"limit must be a whole number from 1 to {MAX_ROWS}")
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise errors.BadInput("pagination", f"offset must be a whole number from 0 to {MAX_OFFSET}")
    return limit, offset


def _list(
    field: str, value: object, least: int = 0, most: int | None = None, distinct: bool = False
) -> list[Any]:
    if not isinstance(value, list):
        raise errors.BadInput(field, "must be a list")
    if len(value) < least or (most is not None and len(value) > most):
        raise errors.BadInput(field, f"a list here has {least} to {most} items; this has {len(value)}")
    if distinct and any(item in value[:index] for index, item in enumerate(value)):
        raise errors.BadInput(field, "names something twice")
    return value


def _refuse_absent(field: str, word: object) -> None:
    if isinstance(word, str) and word in _ABSENT:
        raise errors.BadInput(field, f"Headcount does not have {_ABSENT[word]} ({word})")


def _words(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


def _quoted(value: object) -> str:
    return f'"{_short(value)}"' if isinstance(value, str) else "this"
