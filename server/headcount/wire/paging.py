"""Pages of a list: `limit` and `after`, and the `next` that an answer gives."""

from __future__ import annotations

from headcount import errors

LIMIT, MAX_LIMIT = 100, 1000


def limit(text: str | None) -> int:
    """How many entries a page has. Raises BadInput."""
    if text is None:
        return LIMIT
    found = number(text)
    if found is None or not 1 <= found <= MAX_LIMIT:
        raise errors.BadInput("limit", f"must be from 1 to {MAX_LIMIT}")
    return found


def number(text: str) -> int | None:
    """A positive number that fits into 63 bits; None: it is none. Ids are text, as JavaScript cuts long numbers."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    found = int(text)
    return found if 0 < found < 1 << 63 else None


def no_place() -> errors.BadInput:
    """The error for an `after` that no answer gave."""
    return errors.BadInput("after", "must be what an answer gave as next")
