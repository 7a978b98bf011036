"""Products as they lie in Postgres: rows become nouns here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

import asyncpg
import msgspec

from headcount.licensed import Plan, Product, Release, SigningKey, Use
from headcount.store.postgres import Database

T = TypeVar("T")


class Sold(msgspec.Struct, frozen=True, kw_only=True):
    """A product as the vendor sees it."""

    product: Product
    customer_fields: bool
    """Whether a name and an e-mail address are kept with its licenses."""
    created_at: datetime


async def sold(database: Database) -> list[Sold]:
    """All products by name."""
    # One snapshot: a key set that does not know the key in use would make clients refuse answers.
    async with database.snapshot() as connection:
        products = await database.fetch(connection, "list_products")
        keys = _by_product(await database.fetch(connection, "list_product_keys"), key)
        plans = _by_product(await database.fetch(connection, "list_plans"), plan)
        releases = _by_product(await database.fetch(connection, "list_releases"), release)
    return [
        Sold(
            product=Product(
                id=row["id"],
                name=row["name"],
                root=row["root_public"],
                key_set=row["key_set"],
                keys=keys[row["id"]],
                plans=plans[row["id"]],
                releases=releases[row["id"]],
            ),
            customer_fields=row["customer_fields"],
            created_at=row["created_at"],
        )
        for row in products
    ]


def _by_product(
    rows: Iterable[asyncpg.Record], read: Callable[[asyncpg.Record], T]
) -> dict[int, tuple[T, ...]]:
    found: dict[int, tuple[T, ...]] = defaultdict(tuple)
    for row in rows:
        found[row["product_id"]] += (read(row),)
    return found


def key(row: asyncpg.Record) -> SigningKey:
    until = row["not_after"]
    return SigningKey(
        kid=row["kid"],
        use=Use(row["use"]),
        public=row["public"],
        private=row["private"],
        not_before=int(row["not_before"].timestamp()),
        not_after=None if until is None else int(until.timestamp()),
    )


def plan(row: asyncpg.Record) -> Plan:
    return msgspec.convert({name: row[name] for name in Plan.__struct_fields__}, Plan)


def release(row: asyncpg.Record) -> Release:
    return msgspec.convert({name: row[name] for name in Release.__struct_fields__}, Release)
