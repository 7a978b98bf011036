"""Plausible's Stats API v2, as `POST /api/v2/query` takes it: of a site, and likewise of a product.

Every fault is a BadInput that names the field, and says the limit or the words that are allowed.
"""

from __future__ import annotations

from datetime import date, datetime

from headcount import errors
from headcount.stats.question import MAX_ROWS, RANGES, DateRange, Dimension, Level, Query
from headcount.stats.vocabulary import SITE, Vocabulary, vocabulary
from headcount.wire import filters, json, words

MAX_BODY = 64 << 10
MAX_SITE_ID = 255
MAX_DIMENSIONS = 4
MAX_OFFSET = 1_000_000
FIRST_YEAR = 2000

FIELDS = ("site_id", "metrics", "date_range", "dimensions", "filters", "order_by", "include", "pagination")
INCLUDES = ("imports", "time_labels", "total_rows")


def parse(body: bytes) -> Query:
    """The question that a body asks. Raises BadInput or TooLarge."""
    asked = json.decode(body, limit=MAX_BODY)
    if not isinstance(asked, dict):
        raise errors.BadInput("body", "must be a JSON object")
    _clean(asked)
    for name in asked:
        if name not in FIELDS:
            raise errors.BadInput(words.short(name), f"there is no such field; there are {', '.join(FIELDS)}")
    subject = site_id(asked.get("site_id"))
    known = vocabulary(subject)
    metrics = _metrics(asked.get("metrics"), known)
    dimensions = _dimensions(asked.get("dimensions", []), known)
    limit, offset = _pagination(asked.get("pagination", {}))
    return Query(
        site_id=subject,
        metrics=metrics,
        date_range=date_range(asked.get("date_range"), known),
        dimensions=dimensions,
        filters=filters.parse(asked.get("filters", []), known),
        asked_filters=tuple(asked.get("filters", [])),
        order_by=_order_by(asked.get("order_by", []), [*metrics, *(d.key for d in dimensions)]),
        include=_include(asked.get("include", {}), dimensions),
        limit=limit,
        offset=offset,
    )


def site_id(value: object) -> str:
    """The domain of the site that is asked about, or `product:NAME`."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_SITE_ID:
        raise errors.BadInput(
            "site_id", f'must be the domain of a site, or "product:NAME", 1 to {MAX_SITE_ID} characters'
        )
    return json.clean("site_id", value)


def date_range(value: object, known: Vocabulary = SITE) -> DateRange:
    """A word, two dates, or two date-times with offsets."""
    forms = (
        f'{words.listed(known.ranges)}, or ["2026-11-01", "2026-11-22"], or two date-times with their offsets'
    )
    if isinstance(value, str) and value in known.ranges:
        return value
    if isinstance(value, str) and value in RANGES:
        raise errors.BadInput("date_range", f"{known.why_not(value)}; it must be {forms}")
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


def _metrics(value: object, known: Vocabulary) -> tuple[str, ...]:
    asked = words.items("metrics", value, least=1, most=len(known.metrics), distinct=True)
    return tuple(words.metric(name, known) for name in asked)


def _dimensions(value: object, known: Vocabulary) -> tuple[Dimension, ...]:
    keys = words.items("dimensions", value, most=MAX_DIMENSIONS, distinct=True)
    found = tuple(words.dimension("dimensions", key, known) for key in keys)
    if sum(one.level is Level.TIME for one in found) > 1:
        raise errors.BadInput("dimensions", "holds at most one time dimension")
    return found


def _order_by(value: object, keys: list[str]) -> tuple[tuple[str, bool], ...]:
    order = []
    for pair in words.items("order_by", value, most=len(keys)):
        if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in ("asc", "desc"):
            raise errors.BadInput("order_by", f'each must be a pair such as ["{keys[0]}", "desc"]')
        if pair[0] not in keys:
            raise errors.BadInput(
                "order_by", f"{words.quoted(pair[0])} is not asked for; there are {', '.join(keys)}"
            )
        order.append((pair[0], pair[1] == "desc"))
    return tuple(order)


def _include(value: object, dimensions: tuple[Dimension, ...]) -> frozenset[str]:
    if not isinstance(value, dict) or not all(
        name in INCLUDES and isinstance(wanted, bool) for name, wanted in value.items()
    ):
        raise errors.BadInput("include", f"holds only {words.listed(INCLUDES)}, each true or false")
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
