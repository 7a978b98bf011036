"""Schemas of the bodies that are checked by hand, made of the limits, words and patterns of their parsers."""

from __future__ import annotations

from headcount.licensing import keys
from headcount.stats.question import MAX_ROWS, PRODUCT, PROPS
from headcount.stats.vocabulary import MAX_PROP_NAME, PRODUCT_WORDS, SITE, Vocabulary
from headcount.wire import check, filters, query
from headcount.wire import event as events
from headcount.wire.schema import STORABLE, Schema, array, fits, maybe, record, reference, text, whole, word

_NOT_BLANK = r"^[^\u0000]*[^\u0000\s\u001c-\u001f\u0085][^\u0000]*$"
_TRUTH: Schema = {"enum": [True, False, 1, 0, "1", "0", "true", "false", None]}
_JSON: Schema = {"type": "string", "contentMediaType": "application/json", "pattern": STORABLE}
_SCALAR = [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]


def event() -> Schema:
    """One event or an array of them, by long or by short names."""
    named = _event_fields()
    left = {long: of for long, of in named.items() if long not in events.LONG.values()}
    short = {name: named[long] for name, long in events.LONG.items()} | left
    one = {
        "anyOf": [
            record(named, ("name", "url"), closed=False) | {"title": "Event"},
            record(short, ("n", "u"), closed=False) | {"title": "Event, by short names"},
        ]
    }
    return {"anyOf": [*one["anyOf"], array(one, 1, events.MAX_BATCH) | {"title": "Events"}]}


def _event_fields() -> dict[str, Schema]:
    return {
        "name": {
            "anyOf": [text(1, events.MAX_NAME, _NOT_BLANK), {"type": "integer"}],
            "description": "pageview, engagement, or a name of your own.",
        },
        "url": text(1) | {"description": "The page's address."},
        "domain": maybe(text())
        | {"description": f"The site, or up to {events.MAX_DOMAINS} with commas; else the host of the URL."},
        "referrer": maybe(text()),
        "props": {
            "anyOf": [
                {
                    "type": "object",
                    "propertyNames": text(0, events.MAX_PROP_NAME),
                    "additionalProperties": {"anyOf": [text(0, events.MAX_PROP_VALUE), *_SCALAR]},
                    "maxProperties": events.MAX_PROPS,
                },
                _JSON,
                {"type": "null"},
            ]
        },
        "revenue": {
            "anyOf": [
                record(
                    {
                        "currency": {"type": "string", "pattern": fits(events.CURRENCY)},
                        "amount": {"type": ["number", "string"]},
                    },
                    ("currency", "amount"),
                    closed=False,
                ),
                _JSON,
                {"type": "null"},
            ],
            "description": "Checked, and not kept.",
        },
        "interactive": _TRUTH,
        "hashMode": _TRUTH,
        "screen_width": _number(events.MAX_WIDTH),
        "sd": _number(None) | {"description": "Percent of the page seen, in an engagement event."},
        "e": _number(events.MAX_ENGAGED) | {"description": "Milliseconds, in an engagement event."},
        "ip": maybe(text()) | {"description": "The visitor's, believed from a token of scope events:write."},
        "user_agent": maybe(text()) | {"description": "As ip."},
    }


def _number(high: int | None) -> Schema:
    return {"anyOf": [whole(0, high), {"type": "string", "pattern": r"^[0-9]{1,15}$"}, {"type": "null"}]}


def question(*, nonce: bool = True) -> Schema:
    """A license check."""
    needed = ("key", "product", "instance", "version", *(("nonce",) if nonce else ()))
    return record(
        {
            "key": _key(),
            "product": product(),
            "instance": _instance(),
            "version": text(0, check.MAX_WORD),
            **({"nonce": {"type": "string", "pattern": fits(check.NONCE)}} if nonce else {}),
            **{name: maybe(text(0, check.MAX_OPTIONAL)) for name in check.OPTIONAL},
            "keys": {"type": "boolean", "description": "Whether the signed key set is wanted too."},
        },
        needed,
        closed=False,
    )


def holder(*, install: bool = False) -> Schema:
    """Who holds a key, and of which install. `install`: one has to be named."""
    named = {
        "instance": _instance(),
        "instance_digest": {"type": "string", "pattern": fits(check.DIGEST)},
    }
    found = record({"key": _key(), "product": product(), **named}, ("key",), closed=False)
    both = {"not": {"required": list(named)}}
    return found | both | ({"anyOf": [{"required": [name]} for name in named]} if install else {})


def _key() -> Schema:
    # Only what is surely wrong is said: its check characters are beyond a pattern.
    return text(1, keys.MAX_LENGTH) | {"description": "HC- and six groups of five characters."}


def product() -> Schema:
    """The name of a product."""
    return {"type": "string", "pattern": fits(check.PRODUCT)}


def _instance() -> Schema:
    return text(check.MIN_INSTANCE, check.MAX_INSTANCE)


def questions() -> dict[str, Schema]:
    """`Query`, a question about a site or one about a product, each in its own words, and their filters."""
    site, product = _dimension(SITE), _dimension(PRODUCT_WORDS)
    return {
        "Query": {"anyOf": [reference("SiteQuery"), reference("ProductQuery")]},
        "SiteQuery": _asked(SITE, site, rf"^(?!{PRODUCT})[^\u0000]*$", "SiteFilter"),
        "ProductQuery": _asked(PRODUCT_WORDS, product, rf"^{PRODUCT}[^\u0000]*$", "ProductFilter"),
        "SiteFilter": _filter(site, "SiteFilter"),
        "ProductFilter": _filter(product, "ProductFilter"),
    }


def site_id() -> Schema:
    """The site or product that is asked about."""
    return text(1, query.MAX_SITE_ID)


def _dimension(words: Vocabulary) -> Schema:
    known = word(words.dimensions)
    if not words.has_props:
        return known
    longest = len(PROPS) + MAX_PROP_NAME
    return {"anyOf": [known, text(len(PROPS) + 1, longest, rf"^{PROPS}[^\u0000]*$")]}


def _asked(words: Vocabulary, dimension: Schema, site_id: str, filter: str) -> Schema:
    order = _tuple(text(), word(("asc", "desc")))
    known: dict[str, Schema] = {
        "site_id": text(1, query.MAX_SITE_ID, site_id),
        "metrics": array(word(words.metrics), 1, len(words.metrics), uniqueItems=True),
        "date_range": {"anyOf": [word(words.ranges), array(text(), 2, 2)]},
        "dimensions": array(dimension, 0, query.MAX_DIMENSIONS, uniqueItems=True),
        "filters": array(reference(filter), 0, filters.MAX_FILTERS),
        "order_by": array(order, 0, len(words.metrics) + query.MAX_DIMENSIONS),
        "include": record({name: {"type": "boolean"} for name in query.INCLUDES}),
        "pagination": record({"limit": whole(1, MAX_ROWS), "offset": whole(0, query.MAX_OFFSET)}),
    }
    return record({name: known[name] for name in query.FIELDS}, ("site_id", "metrics", "date_range"))


def _filter(dimension: Schema, itself: str) -> Schema:
    values = array(
        {"anyOf": [text(0, filters.MAX_VALUE), whole(-filters.MAX_NUMBER, filters.MAX_NUMBER)]},
        1,
        filters.MAX_VALUES,
    )
    modifiers = record({"case_sensitive": {"type": "boolean"}}, ("case_sensitive",))
    return {
        "description": f"Nested at most {filters.MAX_DEPTH} deep.",
        "anyOf": [
            _tuple(word(filters.OPERATORS), dimension, values, modifiers, least=3),
            _tuple(word(("not",)), reference(itself)),
            _tuple(word(("and", "or")), array(reference(itself), 1, filters.MAX_FILTERS)),
        ],
    }


def _tuple(*parts: Schema, least: int | None = None) -> Schema:
    return {"type": "array", "prefixItems": list(parts), "items": False, "minItems": least or len(parts)}
