"""Plausible's Events API, as `POST /api/event` takes it: long and short names, one object or an array.

Every fault is a BadInput that names the field and its limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from headcount import errors
from headcount.wire import json

MAX_BODY = 32 << 10
MAX_BATCH_BODY = 1 << 20
MAX_BATCH = 500
MAX_DOMAINS = 10
MAX_NAME = 120
MAX_PROPS = 30
MAX_PROP_NAME = 300
MAX_PROP_VALUE = 2000
MAX_REFERRER = 2000
MAX_AGENT = 2000
MAX_ENGAGED = 30 * 24 * 3600 * 1000
MAX_WIDTH = 100_000
SCROLL_UNKNOWN = 255
CURRENCY = re.compile("[A-Za-z]{3}")

LONG = {
    "n": "name",
    "u": "url",
    "d": "domain",
    "r": "referrer",
    "p": "props",
    "m": "props",
    "meta": "props",
    "$": "revenue",
    "i": "interactive",
    "h": "hashMode",
    "w": "screen_width",
}
"""Short names and the long ones they stand for. `w` is ours: the screen's width in CSS pixels."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was sent, checked but not yet reduced."""

    name: str
    url: str
    domains: tuple[str, ...] = ()
    """As given; empty: the host of the URL decides."""
    referrer: str = ""
    props: dict[str, str] = {}
    interactive: bool = True
    hash_mode: bool = False
    scroll: int | None = None
    """Percent, in an engagement event."""
    screen_width: int | None = None
    ip: str | None = None
    """The visitor's address, believed only from a token of scope events:write."""
    user_agent: str | None = None

    def __repr__(self) -> str:
        return "Event(…)"  # it may carry an address

    __str__ = __repr__


def parse(body: bytes) -> list[Event] | Event:
    """The events of a body; a list if it was an array. Raises BadInput or TooLarge."""
    decoded = json.decode(body, limit=MAX_BATCH_BODY)
    if not isinstance(decoded, list):
        if len(body) > MAX_BODY:
            raise errors.TooLarge("body", f"one event has at most {MAX_BODY} bytes; this has {len(body)}")
        return from_fields(decoded)
    if not 1 <= len(decoded) <= MAX_BATCH:
        raise errors.BadInput("body", f"an array has 1 to {MAX_BATCH} events; this has {len(decoded)}")
    events = []
    for index, item in enumerate(decoded):
        try:
            events.append(from_fields(item))
        except errors.BadInput as error:
            raise error.at(index) from None
    return events


def from_fields(given: object) -> Event:
    """The event that a JSON object (or a query string) describes."""
    if not isinstance(given, Mapping):
        raise errors.BadInput("body", "an event is a JSON object")
    fields: dict[str, Any] = {}
    for key, value in given.items():
        if value is not None:
            fields.setdefault(LONG.get(key) or key, value)
    name = _name(fields.get("name"))
    _check_revenue(fields.get("revenue"))
    return Event(
        name=name,
        url=_text(fields, "url", required=True),
        domains=_domains(_text(fields, "domain")),
        referrer=_text(fields, "referrer").encode()[:MAX_REFERRER].decode(errors="ignore"),
        props=_props(fields.get("props")),
        interactive=_truth(fields, "interactive", default=True),
        hash_mode=_truth(fields, "hashMode", default=False),
        scroll=_scroll(name, fields),
        screen_width=_number(fields, "screen_width", 0, MAX_WIDTH),
        ip=_text(fields, "ip") or None,
        user_agent=_text(fields, "user_agent")[:MAX_AGENT] if "user_agent" in fields else None,
    )


def _name(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise errors.BadInput("name", "is required: text")
    if len(value) > MAX_NAME:
        raise errors.BadInput("name", f"has at most {MAX_NAME} characters")
    return json.clean("name", value.strip())


def _text(fields: Mapping[str, Any], name: str, required: bool = False) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise errors.BadInput(name, "must be text")
    if not value:
        if required:
            raise errors.BadInput(name, "is required")
        return ""
    return json.clean(name, value)


def _domains(value: str) -> tuple[str, ...]:
    if "," not in value:
        return (value.strip().lower(),) if value.strip() else ()
    domains = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    if len(domains) > MAX_DOMAINS:
        raise errors.BadInput("domain", f"names at most {MAX_DOMAINS} sites")
    return domains


def _props(value: object) -> dict[str, str]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = json.decode(json.clean("props", value).encode(), limit=MAX_BODY, field="props")
    if not isinstance(value, Mapping):
        raise errors.BadInput("props", "must be an object")
    if len(value) > MAX_PROPS:
        raise errors.BadInput("props", f"has at most {MAX_PROPS} properties")
    return {_prop_name(name): _prop_value(item) for name, item in value.items() if item not in (None, "")}


def _prop_name(name: str) -> str:
    if len(json.clean("props", name).encode()) > MAX_PROP_NAME:
        raise errors.BadInput("props", f"a property's name has at most {MAX_PROP_NAME} bytes")
    return name


def _prop_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        value = repr(value)
    if not isinstance(value, str):
        raise errors.BadInput("props", "a property is text, a number or true or false")
    if len(json.clean("props", value).encode()) > MAX_PROP_VALUE:
        raise errors.BadInput("props", f"a property has at most {MAX_PROP_VALUE} bytes")
    return value


def _truth(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if value in (True, 1, "1", "true"):
        return True
    if value in (False, 0, "0", "false"):
        return False
    raise errors.BadInput(name, "must be true or false")


def _check_revenue(value: object) -> None:
    """Amounts are checked and not kept yet: no figure is made of them."""
    if value is None:
        return
    if isinstance(value, str):
        value = json.decode(json.clean("revenue", value).encode(), limit=MAX_BODY, field="revenue")
    if not isinstance(value, Mapping) or not {"currency", "amount"} <= value.keys():
        raise errors.BadInput("revenue", "must be an object with currency and amount")
    currency, amount = value["currency"], value["amount"]
    if not isinstance(currency, str) or CURRENCY.fullmatch(currency) is None:
        raise errors.BadInput("revenue", "currency has three letters (ISO 4217)")
    try:
        finite = not isinstance(amount, bool) and Decimal(str(amount)).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise errors.BadInput("revenue", "amount must be a number")


def _scroll(name: str, fields: Mapping[str, Any]) -> int | None:
    scroll = _number(fields, "sd", 0, None)
    engaged = _number(fields, "e", 0, MAX_ENGAGED)
    if name != "engagement":
        return None
    if scroll is None and engaged is None:
        raise errors.BadInput("sd", "an engagement event needs sd or e")
    return None if scroll is None or scroll == SCROLL_UNKNOWN else min(scroll, 100)


def _number(fields: Mapping[str, Any], name: str, low: int, high: int | None) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < low
        or (high is not None and value > high)
    ):
        limit = f"a whole number from {low}" + (f" to {high}" if high is not None else "")
        raise errors.BadInput(name, f"must be {limit}")
    return value
