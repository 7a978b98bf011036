"""Reads what is kept of installs, for the vendor and for whoever asks what is kept about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec

from headcount import errors
from headcount.licensed import Instance
from headcount.services.licenses import Licenses
from headcount.services.products import Products
from headcount.store.postgres import Database

EXPORTED = {
    "instances": "instances_of",
    "heartbeats": "heartbeats_of",
    "sharing": "sharing_of",
}


class Place(NamedTuple):
    """Where a page of a list begins: after this install."""

    license: int = 0
    instance: bytes = b""


START = Place()


class Instances:
    """Installs of licenses that these services may see. Every method raises DatabaseDown without Postgres."""

    def __init__(self, database: Database, products: Products, licenses: Licenses) -> None:
        self._database = database
        self._products = products
        self._licenses = licenses

    async def page(
        self, product: str | None, license: int | None, limit: int = 100, after: Place = START
    ) -> list[Instance]:
        """Installs of a license or a product, from the one after `after` on. Raises BadInput and NotFound."""
        if license is not None:
            product_id = (await self._licenses.get(license)).product_id
        elif product is not None:
            product_id = (await self._products.find(product)).product.id
        else:
            raise errors.BadInput("license", "or product is required: whose installs to list")
        rows = await self._database.rows("list_instances", product_id, license, *after, limit)
        return [msgspec.convert(dict(row), Instance) for row in rows]

    async def export(self, license: int) -> dict[str, Any]:
        """Every row that is kept of a license, as JSON can hold it. Raises NotFound.

        Of heartbeats the newest 10,000, and how many there are.
        """
        async with self._database.snapshot() as connection:
            key = (await self._licenses.read(connection, license)).product_id, license
            (row,) = await self._database.fetch(connection, "license_row", *key)
            found: dict[str, Any] = {"license": _plain(row)}
            for what, query in EXPORTED.items():
                found[what] = [_plain(one) for one in await self._database.fetch(connection, query, *key)]
        found["heartbeats_total"] = found["heartbeats"][0]["total"] if found["heartbeats"] else 0
        for heartbeat in found["heartbeats"]:
            del heartbeat["total"]
        return found


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {name: _json(name, value) for name, value in row.items()}


def _json(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date):
        return msgspec.to_builtins(value)
    # JavaScript cuts long numbers.
    return str(value) if name == "random" or name.endswith("id") else value
