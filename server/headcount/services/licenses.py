"""Licenses as the vendor handles them. A key is shown once; only its digest is kept.

Whoever locks rows takes the license's first and its instances' after that, as checks do.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec
from msgspec import UNSET

from headcount import errors
from headcount.clock import Clock
from headcount.licensed import Standing
from headcount.licensing import keys
from headcount.services.products import Products
from headcount.services.sites import new_id
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import license as license_fields

if TYPE_CHECKING:
    from headcount.store.postgres import Connection


class License(msgspec.Struct, frozen=True, kw_only=True):
    """A license as the vendor sees it."""

    id: int
    product_id: int
    product: str
    plan: str
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
    """Whether the product keeps the two fields after the next."""
    customer_ref: str
    customer_name: str
    customer_email: str
    created_at: datetime

    def __repr__(self) -> str:
        return f"License({self.id})"


class Licenses:
    """Issues and changes licenses. Every method raises DatabaseDown without Postgres.

    `only`: the id of the one product whose licenses may be seen and changed; None: all.
    """

    def __init__(self, database: Database, clock: Clock, secret: Secret, only: int | None = None) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._only = only
        self._products = Products(database, clock, secret, only)

    async def issue(self, product: str, plan: str, fields: license_fields.Fields) -> tuple[str, License]:
        """A new license: its key, which is never shown again, and what is kept. Raises BadInput and NotFound."""
        fields = license_fields.check(fields)
        plain, id, now = keys.new(), new_id(), self._clock.now()
        async with self._database.transaction() as connection:
            product_id, plan_id = await self._plan_of(connection, product, plan, fields)
            await self._database.change(
                connection,
                "add_license",
                product_id,
                id,
                keys.digest(plain),
                plan_id,
                fields.seats if fields.seats is not UNSET else None,
                license_fields.moment("expires_at", fields.expires_at) if fields.expires_at else None,
                fields.customer_ref or "",
                fields.customer_name or "",
                fields.customer_email or "",
                now,
            )
            return keys.shown(plain), await self._get(connection, id)

    async def get(self, id: int) -> License:
        """The license of this id. Raises NotFound."""
        async with self._database.connection() as connection:
            return await self._get(connection, id)

    async def _get(self, connection: Connection, id: int) -> License:
        found = await self._database.fetch(connection, "get_license", id, self._only)
        if not found:
            raise _no_license()
        return _license(found[0])

    async def _plan_of(
        self, connection: Connection, product: str, plan: str, fields: license_fields.Fields
    ) -> tuple[int, int]:
        """The product and plan of these names, if a license of them may have these fields."""
        row = await self._products.row_of(connection, product)
        for name in ("customer_name", "customer_email"):
            if getattr(fields, name) and not row["customer_fields"]:
                raise errors.BadInput(
                    name, f"is not kept: switch it on with headcount product set {product} --customer-fields"
                )
        return row["id"], await self._products.plan_of(connection, row["id"], plan)


def _no_license() -> errors.NotFound:
    return errors.NotFound("license", "there is no such license")


def _license(row: asyncpg.Record) -> License:
    return msgspec.convert({name: row[name] for name in License.__struct_fields__}, License)
