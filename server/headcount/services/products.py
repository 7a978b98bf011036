"""Products with their keys, plans and releases: what a vendor sells, and what signs the answers.

Private keys lie encrypted in Postgres; the root key is opened only to sign a key set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from headcount import errors
from headcount.clock import Clock
from headcount.licensed import Plan, Product, Release, SigningKey, Use
from headcount.licensing import jws, keyset
from headcount.services.sites import new_id
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import check
from headcount.wire import plan as plan_fields

if TYPE_CHECKING:
    from headcount.store.postgres import Connection


class Sold(msgspec.Struct, frozen=True, kw_only=True):
    """A product as the vendor sees it."""

    product: Product
    customer_fields: bool
    """Whether a name and an e-mail address are kept with its licenses."""
    created_at: datetime


class Products:
    """Adds and changes products and plans. Every method raises DatabaseDown without Postgres.

    `only`: the id of the one product that may be seen and changed; None: all.
    """

    def __init__(self, database: Database, clock: Clock, secret: Secret, only: int | None = None) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._only = only

    async def all(self) -> list[Product]:
        """The products by name, as the local copy holds them."""
        return [sold.product for sold in await self.sold()]

    async def sold(self) -> list[Sold]:
        """The products by name, as the vendor sees them."""
        # One snapshot: a key set that does not know the key in use would make clients refuse answers.
        async with self._database.snapshot() as connection:
            products = await self._database.fetch(connection, "list_products")
            keys = await self._database.fetch(connection, "list_product_keys")
            plans = await self._database.fetch(connection, "list_plans")
            releases = await self._database.fetch(connection, "list_releases")
        keys_of, plans_of, releases_of = _by_product(keys), _by_product(plans), _by_product(releases)
        return [
            Sold(
                product=Product(
                    id=row["id"],
                    name=row["name"],
                    root=row["root_public"],
                    key_set=row["key_set"],
                    keys=tuple(map(_key, keys_of[row["id"]])),
                    plans=tuple(map(_plan, plans_of[row["id"]])),
                    releases=tuple(map(_release, releases_of[row["id"]])),
                ),
                customer_fields=row["customer_fields"],
                created_at=row["created_at"],
            )
            for row in products
            if self._only in (None, row["id"])
        ]

    async def find(self, name: str) -> Sold:
        """The product of this name. Raises NotFound, and NotAllowed for another than the one that is allowed."""
        for sold in await self.sold():
            if sold.product.name == name:
                return sold
        async with self._database.connection() as connection:
            await self.row_of(connection, name)
        raise _no_product(name)

    async def add(
        self, name: str, *, customer_fields: bool = False, plan: plan_fields.Fields | None = None
    ) -> tuple[str, Product]:
        """A new product with its keys, and with a first plan if one is given. Raises BadInput and Conflict.

        The text is its public root key in base64url, to be built into clients.
        """
        plan_fields.name("name", name)
        if self._only is not None:
            raise errors.NotAllowed(
                "authorization", "the token is for one product; a new one needs one for all"
            )
        first = None if plan is None else _new_plan(plan)
        now, id = self._clock.now(), new_id()
        keys = self._new_keys(now)
        root_private, root = jws.new_key()
        product = Product(
            id=id, name=name, root=root, key_set=keyset.sign(root_private, name, keys, now), keys=keys,
            plans=() if first is None else (first,),
        )  # fmt: skip
        sealed = self._secret.seal(_root_purpose(id), root_private)
        async with self._database.transaction() as connection:
            if not await self._database.change(
                connection, "add_product", id, name, root, sealed, product.key_set, now, customer_fields
            ):
                raise errors.Conflict("name", f"the product {name} exists already")
            await self._keep_keys(connection, id, keys, now)
            if first is not None:
                await self._keep_plan(connection, id, first)
        return jws.encode(root), product

    async def add_plan(self, product: str, fields: plan_fields.Fields) -> Plan:
        """A new plan of a product. Raises BadInput, NotFound and Conflict."""
        plan = _new_plan(fields)
        async with self._database.transaction() as connection:
            row = await self.row_of(connection, product)
            await self._keep_plan(connection, row["id"], plan)
        return plan

    async def row_of(self, connection: Connection, name: str) -> asyncpg.Record:
        """Id and switches of the product of this name. Raises NotFound, and NotAllowed as `find` does."""
        known = check.PRODUCT.fullmatch(name)
        found = await self._database.fetch(connection, "find_product", name) if known else []
        if not found:
            raise _no_product(name)
        if self._only not in (None, found[0]["id"]):
            raise errors.NotAllowed("product", "the token is for another product")
        return found[0]

    async def plan_of(self, connection: Connection, product: int, name: str) -> int:
        """The id of a product's plan. Raises NotFound."""
        known = check.PRODUCT.fullmatch(name)
        found = await self._database.fetch(connection, "find_plan", product, name) if known else []
        if not found:
            raise errors.NotFound("plan", f"the product has no plan {name[:63]}")
        return int(found[0]["id"])

    def _new_keys(self, now: datetime) -> tuple[SigningKey, ...]:
        """One key for each use."""
        made = [(use, *jws.new_key()) for use in Use]
        return tuple(
            SigningKey(
                kid=jws.kid_of(public),
                use=use,
                public=public,
                private=self._secret.seal(f"product key {jws.kid_of(public)}", private),
                not_before=int(now.timestamp()),
                not_after=None,
            )
            for use, private, public in made
        )

    async def _keep_keys(
        self, connection: Connection, product: int, keys: Iterable[SigningKey], now: datetime
    ) -> None:
        from_now = now.replace(microsecond=0)
        for key in keys:
            await self._database.change(
                connection, "add_product_key", product, key.kid, key.use, key.public, key.private, from_now
            )

    async def _keep_plan(self, connection: Connection, product: int, plan: Plan) -> None:
        if not await self._database.change(
            connection,
            "add_plan",
            product,
            plan.id,
            plan.name,
            plan.seats,
            plan.entitlements,
            plan.check_interval,
            plan.lease,
            plan.grace,
            plan.environments,
        ):
            raise errors.Conflict("name", f"the plan {plan.name} exists already")


def _new_plan(fields: plan_fields.Fields) -> Plan:
    return plan_fields.merge(Plan(id=new_id(), name=plan_fields.name("name", fields.name)), fields)


def _root_purpose(product: int) -> str:
    return f"root key {product}"


def _no_product(name: str) -> errors.NotFound:
    return errors.NotFound("product", f"there is no product {name[:63]}")


def _by_product(rows: Iterable[asyncpg.Record]) -> dict[int, list[asyncpg.Record]]:
    found: dict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        found[row["product_id"]].append(row)
    return found


def _key(row: asyncpg.Record) -> SigningKey:
    until = row["not_after"]
    return SigningKey(
        kid=row["kid"],
        use=Use(row["use"]),
        public=row["public"],
        private=row["private"],
        not_before=int(row["not_before"].timestamp()),
        not_after=None if until is None else int(until.timestamp()),
    )


def _plan(row: asyncpg.Record) -> Plan:
    return msgspec.convert({name: row[name] for name in Plan.__struct_fields__}, Plan)


def _release(row: asyncpg.Record) -> Release:
    return msgspec.convert({name: row[name] for name in Release.__struct_fields__}, Release)
