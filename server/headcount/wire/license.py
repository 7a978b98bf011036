"""Licenses as the API and the command line give them, checked field by field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors
from headcount.wire import fields
from headcount.wire.plan import MAX_SEATS

MAX_REF = 200
MAX_NAME = 200
MAX_EMAIL = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given of a license; what is left out stays as it is, or is empty."""

    product: str | UnsetType = UNSET
    plan: str | UnsetType = UNSET
    seats: int | UnsetType | None = UNSET
    expires_at: int | str | UnsetType | None = UNSET
    customer_ref: str | UnsetType = UNSET
    customer_name: str | UnsetType = UNSET
    customer_email: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Fields(…)"


def check(given: Fields) -> Fields:
    """The fields in their plain form. Raises BadInput that names the field and its limit, never its value."""
    if isinstance(given.seats, int) and not 0 <= given.seats <= MAX_SEATS:
        raise errors.BadInput("seats", f"must be from 0 to {MAX_SEATS}, or null for as many as the plan has")
    changes = {
        field: fields.text(field, value, most)
        for field, most in (
            ("customer_ref", MAX_REF),
            ("customer_name", MAX_NAME),
            ("customer_email", MAX_EMAIL),
        )
        if (value := getattr(given, field)) is not UNSET
    }
    if changes.get("customer_email") and not _EMAIL.fullmatch(changes["customer_email"]):
        raise errors.BadInput("customer_email", "must be an e-mail address, or empty")
    return msgspec.structs.replace(given, **changes)


def moment(field: str, value: int | str) -> datetime:
    """The moment that is meant: Unix seconds, a moment with its offset (RFC 3339), or the end of a day of UTC."""
    try:
        found = _moment(value)
    except (ValueError, OverflowError, OSError):
        raise errors.BadInput(
            field, "must be a date such as 2030-12-31, a moment such as 2030-12-31T12:00:00Z, or Unix seconds"
        ) from None
    if not EARLIEST <= found <= LATEST:
        raise errors.BadInput(field, f"must be from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}")
    return found


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
