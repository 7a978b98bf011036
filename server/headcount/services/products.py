"""Products with their keys, plans and releases: what a vendor sells, and what signs the answers.

Private keys lie encrypted in Postgres; the root key is opened only to sign a key set.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from headcount import errors
from headcount.clock import Clock
from headcount.licensed import Plan, Product, Release, SigningKey, Use
from headcount.licensing import jws, keyset
from headcount.services.sites import new_id
from headcount.store import products as rows
from headcount.store.postgres import Database
from headcount.store.products import Sold
from headcount.store.secret import Secret
from headcount.wire import check, fields
from headcount.wire import plan as plan_fields
from headcount.wire import release as release_fields
from headcount.wire.product import OVERLAP_DAYS

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

RENEWED = timedelta(days=1)
"""How old a key set may become until it is signed anew."""


class Products:
    """Adds and changes products, plans and releases. Every method raises DatabaseDown without Postgres.

    `only`: the id of the one product that may be seen and changed; None: all. Another one raises NotAllowed.
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
        return [sold for sold in await rows.sold(self._database) if self._only in (None, sold.product.id)]

    async def find(self, name: str) -> Sold:
        """The product of this name. Raises NotFound."""
        async with self._database.connection() as connection:
            row = await self.row_of(connection, name)
        for sold in await self.sold():
            if sold.product.id == row["id"]:
                return sold
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
        key_set = keyset.sign(root_private, name, keys, now)
        sealed = self._secret.seal(_root_purpose(id), root_private)
        async with self._database.transaction() as connection:
            if not await self._database.change(
                connection, "add_product", id, name, root, sealed, key_set, now, customer_fields
            ):
                raise errors.Conflict("name", f"the product {name} exists already")
            await self._keep_keys(connection, id, keys)
            if first is not None:
                await self._add_plan(connection, id, first)
        plans = () if first is None else (first,)
        return jws.encode(root), Product(id=id, name=name, root=root, key_set=key_set, keys=keys, plans=plans)

    async def set(self, name: str, *, customer_fields: bool) -> int:
        """Keep names and e-mail addresses of customers, or not; of how many licenses they were emptied."""
        async with self._database.transaction() as connection:
            row = await self._lock(connection, name)
            await self._database.change(connection, "set_customer_fields", row["id"], customer_fields)
            if customer_fields:
                return 0
            return await self._database.change(connection, "forget_customers_of", row["id"])

    async def rotate_key(
        self, name: str, overlap_days: int = OVERLAP_DAYS, *, at_once: bool = False
    ) -> list[SigningKey]:
        """New keys, which are in use from now on. The old ones leave the key set after the overlap, or at once."""
        fields.between("overlap_days", overlap_days, 1, 365)
        async with self._database.transaction() as connection:
            row, now = await self._lock(connection, name), self._clock.now()
            if at_once:
                await self._database.change(connection, "drop_keys", row["id"], None)
            else:
                until = now.replace(microsecond=0) + timedelta(days=overlap_days)
                await self._database.change(connection, "retire_keys", row["id"], until)
            await self._keep_keys(connection, row["id"], self._new_keys(now))
            return await self._sign(connection, row, now)

    async def renew_key_sets(self) -> None:
        """Sign the key sets anew that are older than a day. Keys that are good no longer go."""
        old = await self._database.rows("old_key_sets", self._clock.now() - RENEWED)
        for found in old:
            async with self._database.transaction() as connection:
                row = await self._lock(connection, found["name"])
                await self._sign(connection, row, self._clock.now())

    async def plan(self, id: int) -> tuple[str, Plan]:
        """The plan of this id, and the name of its product. Raises NotFound."""
        for sold in await self.sold():
            if (found := sold.product.plan(id)) is not None:
                return sold.product.name, found
        raise errors.NotFound("plan", "there is no such plan")

    async def add_plan(self, product: str, given: plan_fields.Fields) -> Plan:
        """A new plan of a product. Raises BadInput, NotFound and Conflict."""
        plan = _new_plan(given)
        async with self._database.transaction() as connection:
            row = await self.row_of(connection, product)
            await self._add_plan(connection, row["id"], plan)
        return plan

    async def set_plan(self, product: str, name: str, given: plan_fields.Fields) -> Plan:
        """Change the fields of a plan that are given. Its licenses follow at once. Raises BadInput and NotFound."""
        if fields.given(given).get("name", name) != name:
            raise errors.BadInput("name", "of a plan cannot be changed: installs are counted by it")
        async with self._database.transaction() as connection:
            row = await self.row_of(connection, product)
            await self.plan_of(connection, row["id"], name)
            found = await self._database.fetch(connection, "lock_plan", row["id"], name)
            plan = plan_fields.merge(rows.plan(found[0]), given)
            await self._database.change(connection, "set_plan", row["id"], plan.id, *_settings(plan))
        return plan

    async def release(self, product: str, given: release_fields.Fields) -> Release:
        """A version that installs are told about, or other words on it. Raises BadInput and NotFound."""
        release = release_fields.release(given)
        async with self._database.transaction() as connection:
            id = (await self._lock(connection, product))["id"]
            for plan in release.plans:
                try:
                    await self.plan_of(connection, id, plan)
                except errors.NotFound as error:
                    raise errors.BadInput("plans", error.message) from None
            others = await self._database.fetch(
                connection, "count_releases", id, release.channel, release.version
            )
            if others[0]["count"] >= release_fields.MAX_RELEASES:
                raise errors.BadInput(
                    "version",
                    f"a product has at most {release_fields.MAX_RELEASES} releases: withdraw old ones",
                )
            await self._database.change(
                connection,
                "put_release",
                id,
                release.channel,
                release.version,
                release.url,
                release.notes,
                release.security,
                release.minimum,
                release.plans,
                self._clock.now(),
            )
        return release

    async def withdraw(self, product: str, channel: str, version: str) -> None:
        """Tell installs about a version no longer. Raises NotFound."""
        plain = release_fields.version("version", version)
        async with self._database.transaction() as connection:
            row = await self.row_of(connection, product)
            if not await self._database.change(
                connection, "withdraw_release", row["id"], release_fields.channel(channel), plain
            ):
                raise errors.NotFound("version", f"the channel {channel} has no release {plain}")

    async def within(self, connection: Connection, name: str) -> Product:
        """The product of this name as it is in this transaction. Raises NotFound."""
        same = Products(self._database.within(connection), self._clock, self._secret, self._only)
        return (await same.find(name)).product

    async def row_of(self, connection: Connection, name: str) -> asyncpg.Record:
        """Id and switches of the product of this name, which hold until the transaction ends. Raises NotFound."""
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
            raise errors.NotFound("plan", f"the product has no plan {fields.quoted(name)}")
        return int(found[0]["id"])

    async def _lock(self, connection: Connection, name: str) -> asyncpg.Record:
        """The product, which nobody else changes until the transaction ends."""
        # First: a share lock that becomes a stronger one is a deadlock of two.
        found = (
            await self._database.fetch(connection, "lock_product", name)
            if check.PRODUCT.fullmatch(name)
            else []
        )
        await self.row_of(connection, name)
        return found[0]

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

    async def _keep_keys(self, connection: Connection, product: int, keys: Iterable[SigningKey]) -> None:
        for key in keys:
            from_now = datetime.fromtimestamp(key.not_before, UTC)
            await self._database.change(
                connection, "add_product_key", product, key.kid, key.use, key.public, key.private, from_now
            )

    async def _sign(self, connection: Connection, row: asyncpg.Record, now: datetime) -> list[SigningKey]:
        """Let the root key certify the keys as they are now."""
        await self._database.change(connection, "drop_keys", row["id"], now)
        keys = [rows.key(key) for key in await self._database.fetch(connection, "product_keys", row["id"])]
        root = self._secret.open(_root_purpose(row["id"]), row["root_private"])
        key_set = keyset.sign(root, row["name"], keys, now, row["key_set"])
        await self._database.change(connection, "keep_key_set", row["id"], key_set, now)
        return keys

    async def _add_plan(self, connection: Connection, product: int, plan: Plan) -> None:
        if not await self._database.change(
            connection, "add_plan", product, plan.id, plan.name, *_settings(plan)
        ):
            raise errors.Conflict("name", f"the plan {plan.name} exists already")


def _new_plan(given: plan_fields.Fields) -> Plan:
    return plan_fields.merge(Plan(id=new_id(), name=plan_fields.name("name", given.name)), given)


def _settings(plan: Plan) -> tuple[object, ...]:
    """What can be changed of a plan, in the order of the queries."""
    return (
        plan.seats,
        plan.entitlements,
        plan.check_interval,
        plan.lease,
        plan.grace,
        plan.environments,
    )


def _root_purpose(product: int) -> str:
    return f"root key {product}"


def _no_product(name: str) -> errors.NotFound:
    return errors.NotFound("product", f"there is no product {fields.quoted(name)}")
