"""Licenses as the API and the command line give them, checked field by field. No error repeats a value."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors
from headcount.licensed import DAY, Status
from headcount.wire import fields
from headcount.wire.plan import MAX_SEATS, Name, Seats
from headcount.wire.schema import fits, says, text

MAX_REF = 200
MAX_NAME = 200
MAX_EMAIL = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""
MAX_FOR = 100 * 365 * DAY
MAX_DAYS = 3650
"""Of a license file."""
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
STATUSES = (Status.ACTIVE, Status.GRACE, Status.EXPIRED, Status.SUSPENDED, Status.REVOKED)
"""What a license itself can be."""
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_LONGEST = {"customer_ref": MAX_REF, "customer_name": MAX_NAME, "customer_email": MAX_EMAIL}

Ref = Annotated[str, says(**text(0, MAX_REF))]
CustomerName = Annotated[str, says(**text(0, MAX_NAME))]
Email = Annotated[str, says(**text(0, MAX_EMAIL, rf"^\s*(?:{_EMAIL.pattern})?\s*$"))]
Digest = Annotated[str, says(pattern=fits(_DIGEST))]
Lasts = Annotated[int, says(minimum=1, maximum=MAX_FOR)]
"""Seconds."""
Moment = int | Annotated[str, says(description="A day of UTC, or a moment with its offset (RFC 3339)")]

C = TypeVar("C", bound="Customer")


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose license it is: what may be given, left out or empty."""

    customer_ref: Ref | UnsetType = UNSET
    customer_name: CustomerName | UnsetType = UNSET
    customer_email: Email | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Change(Customer, frozen=True, kw_only=True):
    """What may be changed of a license; what is left out stays as it is."""

    plan: Name | UnsetType = UNSET
    seats: Seats | UnsetType | None = UNSET


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """When a license ends: one of the two."""

    expires_at: Moment | UnsetType | None = UNSET
    """None: never."""
    lasts: Lasts | UnsetType = msgspec.field(default=UNSET, name="for")
    """Seconds."""


class Fields(Change, frozen=True, kw_only=True):
    """What may be given of a new license."""

    product: Name | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    lasts: Lasts | UnsetType = msgspec.field(default=UNSET, name="for")


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which licenses are listed; what is left out: whichever."""

    product: str | UnsetType = UNSET
    plan: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    customer_ref: str | UnsetType = UNSET


def customer(given: C) -> C:
    """The same with plain texts. Raises BadInput that names the field and its limit."""
    changes: dict[str, Any] = {
        field: fields.text(field, value, most)
        for field, most in _LONGEST.items()
        if (value := getattr(given, field)) is not UNSET
    }
    if changes.get("customer_email") and not _EMAIL.fullmatch(changes["customer_email"]):
        raise errors.BadInput("customer_email", "must be an e-mail address, or empty")
    return msgspec.structs.replace(given, **changes)


def seats(given: int | UnsetType | None) -> int | None:
    """Seats of the license's own. Raises BadInput."""
    if not given:
        return None if given is UNSET else given
    if not 0 <= given <= MAX_SEATS:
        raise errors.BadInput("seats", f"must be from 0 to {MAX_SEATS}, or null for as many as the plan has")
    return given


def end(term: Term | Fields, now: datetime, before: datetime | None = None) -> datetime | None:
    """When a license ends; None: never. `for` counts from the later of now and the end before. Raises BadInput."""
    if term.lasts is UNSET:
        return None if term.expires_at in (UNSET, None) else moment("expires_at", term.expires_at)
    if term.expires_at is not UNSET:
        raise errors.BadInput("for", "and expires_at cannot be given together")
    fields.between("for", term.lasts, 1, MAX_FOR, "seconds")
    found = max(now, before or now) + timedelta(seconds=term.lasts)
    return _in_range("for", found.replace(microsecond=0))


def moment(field: str, value: int | str) -> datetime:
    """The moment that is meant: Unix seconds, a moment with its offset (RFC 3339), or the end of a day of UTC."""
    try:
        found = _moment(value)
    except (ValueError, OverflowError, OSError):
        raise errors.BadInput(
            field, "must be a date such as 2030-12-31, a moment such as 2030-12-31T12:00:00Z, or Unix seconds"
        ) from None
    return _in_range(field, found)


def status(text: str) -> str:
    """The name of a status. Raises BadInput."""
    if text not in STATUSES:
        raise errors.BadInput("status", f"must be one of {', '.join(STATUSES)}")
    return text


def _moment(value: int | str) -> datetime:
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    if len(value) == 10:
        day = date.fromisoformat(value)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("it has no offset")
    return found.astimezone(UTC).replace(microsecond=0)


def _in_range(field: str, found: datetime) -> datetime:
    if not EARLIEST <= found <= LATEST:
        raise errors.BadInput(field, f"must be from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}")
    return found


class Nothing(msgspec.Struct, frozen=True):
    """A body that says nothing."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A license named by its key."""

    key: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Key(…)"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Whose seat is freed: that of one install, or those of all."""

    instance: Digest | UnsetType = UNSET
    all: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an install without a network asks for in its request file, and for how long the vendor grants it."""

    product: Name | UnsetType = UNSET
    key_digest: Digest | UnsetType = UNSET
    instance_digest: Digest | UnsetType = UNSET
    version: str | UnsetType = UNSET
    days: Annotated[int, says(minimum=1, maximum=MAX_DAYS)] = 365


def digest(field: str, text: str | UnsetType) -> bytes:
    """A SHA-256 in hex. Raises BadInput."""
    if text is UNSET or not _DIGEST.fullmatch(text):
        raise errors.BadInput(field, "must be 64 hex digits")
    return bytes.fromhex(text)


def key(given: Key) -> str:
    """The key as it was typed. Raises BadInput if there is none."""
    if given.key is UNSET:
        raise errors.BadInput("key", "is required")
    return given.key


def released(given: Release) -> bytes | None:
    """The digest of one install; None: all. Raises BadInput unless one of the two is said."""
    if given.all == (given.instance is not UNSET):
        raise errors.BadInput("instance", "or all is required, and not both: whose seat to free")
    return None if given.all else digest("instance", given.instance)
