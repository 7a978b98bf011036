"""Licenses as they lie in Postgres and the vendor sees them: rows become nouns here."""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec

from headcount.licensed import Standing, Status
from headcount.licensing import judge


class License(msgspec.Struct, frozen=True, kw_only=True):
    """A license as the vendor sees it."""

    id: int
    product_id: int
    product: str
    plan_id: int
    plan: str
    digest: bytes
    standing: Standing
    seats: int | None
    """In place of the plan's; None: as the plan."""
    seats_limit: int | None
    """Of the license or the plan; None: no limit."""
    used: int
    """Seats that are taken."""
    expires_at: datetime | None
    grace: int
    """Seconds past the end that software goes on."""
    customer_fields: bool
    """Whether the product keeps the name and the e-mail address of a customer."""
    customer_ref: str
    customer_name: str
    customer_email: str
    created_at: datetime

    def __repr__(self) -> str:
        return f"License({self.id})"

    def status(self, now: datetime) -> Status:
        """What it is worth now."""
        ends = None if self.expires_at is None else int(self.expires_at.timestamp())
        return judge.status(self.standing, ends, self.grace, int(now.timestamp()))


def read(row: asyncpg.Record) -> License:
    """The license of a row of the view `issued`."""
    return msgspec.convert({name: row[name] for name in License.__struct_fields__}, License)
