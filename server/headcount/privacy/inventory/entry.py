"""What an entry of the inventory says, and the words for how long things are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

SITE = "until the site, or what it belongs to, is deleted"
GOOD = "for good, until the site is deleted or reset"
RAW = "30 days at most, less by setting, today included"
LICENSED = "as long as the product is sold here"
LICENSE = "until the license is erased"
CUSTOMER = "until the license is erased, or over for a year, or the vendor switches the field off"
INSTALL = "until it or its license is erased, at the latest 400 days after its last heartbeat or the end of its file"
PRODUCT_GOOD = "for good"
NODE = "as long as the node exists"
DRAINED = "seconds: until Postgres has what was counted of it; longer while it is down; 7 days if damaged"
DAY = "until five minutes after the site's local day has ended"
VISIT = "until the visit ends, at the latest as its day"
OUTBOX = "until Postgres has it, and 15 minutes longer"


class Place(Enum):
    """Where a field lives."""

    POSTGRES = "Postgres"
    SPOOL = "Spool (data directory)"
    STATE = "State file (data directory)"
    LOCAL = "Local copies (data directory)"
    RAM = "RAM disk"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored field."""

    place: Place
    record: str
    """Table, record or file."""
    field: str
    purpose: str
    retention: str

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "place": self.place.value}


def fields(place: Place, record: str, retention: str, /, **purposes: str) -> list[Entry]:
    return [Entry(place, record, field, purpose, retention) for field, purpose in purposes.items()]
