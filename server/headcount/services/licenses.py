"""Licenses as the vendor handles them. A key is shown once; only its digest is kept.

Whoever locks rows takes the license's first and its installs' after that, as checks do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET

from headcount import errors
from headcount.clock import Clock
from headcount.licensing import keys, transitions
from headcount.licensing.transitions import Act
from headcount.services.products import Products
from headcount.services.sites import new_id
from headcount.store import issued
from headcount.store.issued import License
from headcount.store.postgres import LONG, Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import license as wire

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

CUSTOMER_KEPT = timedelta(days=365)
"""How long the name and the e-mail address of a customer outlive the license."""
INSTALL_KEPT = timedelta(days=400)
"""How long an install without a seat is kept after its last heartbeat, and a day of signs of sharing."""
A_DAY = timedelta(days=1)
STAYS = {
    "daily counts of the product": "they say how many installs there were, and not of which license",
    "answers under an Idempotency-Key": "encrypted, for a day at most, so that a repeated request does nothing twice",
    "copies on the nodes": "they forget within seconds, or within minutes of being able to reach Postgres again",
    "what is on its way": "a node keeps a flush for 15 minutes after it was applied, and sketches of the day's"
    " distinct installs and networks until five minutes after the day has ended (UTC); neither is read again",
    "the random id of the license and digests of its installs": "for a day, so that all copies forget them",
    "backups of Postgres": "those are in your hands",
}
"""What an erasure leaves, and why."""
STAYS_FOR_THE_HOLDER = {
    "the license itself": "plan, seats, end and the vendor's reference: without it the key would open nothing",
    **{what: why for what, why in STAYS.items() if not what.startswith(("answers", "backups"))},
    "backups of Postgres": "those are in the vendor's hands",
    "what is checked from the next minute on": "a heartbeat is kept of each check, as before",
}
"""What an erasure by whoever holds the key leaves, and why."""


class Erased(NamedTuple):
    """What was deleted with a license."""

    installs: int
    heartbeats: int
    sharing: int


class Licenses:
    """Issues and changes licenses. Every method raises DatabaseDown without Postgres, NotFound for what is not there.

    `only`: the id of the one product whose licenses may be seen and changed; None: all.
    """

    def __init__(self, database: Database, clock: Clock, secret: Secret, only: int | None = None) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._only = only
        self._products = Products(database, clock, secret, only)

    async def issue(self, product: str, plan: str, given: wire.Fields) -> tuple[str, License]:
        """A new license: its key, which is never shown again, and what is kept. Raises BadInput."""
        given = wire.customer(given)
        seats, now = wire.seats(given.seats), self._clock.now()
        expires_at = wire.end(given, now)
        plain, id = keys.new(), new_id()
        async with self._database.transaction() as connection:
            row = await self._products.row_of(connection, product)
            _check_customer(given, row["name"], row["customer_fields"])
            await self._database.change(
                connection,
                "add_license",
                row["id"],
                id,
                keys.digest(plain),
                await self._products.plan_of(connection, row["id"], plan),
                seats,
                expires_at,
                given.customer_ref or "",
                given.customer_name or "",
                given.customer_email or "",
                now,
            )
            return keys.shown(plain), await self.read(connection, id)

    async def get(self, id: int) -> License:
        """The license of this id."""
        async with self._database.connection() as connection:
            return await self.read(connection, id)

    async def find(self, key: str) -> License:
        """The license of this key, as somebody typed it. Raises BadInput for what is no key."""
        async with self._database.connection() as connection:
            found = await self.by_digest(connection, keys.digest(keys.parse(key)))
        if found is None:
            raise errors.NotFound("key", "there is no license of this key")
        return found

    async def page(self, filters: wire.Filters, limit: int = 100, after: int = 0) -> list[License]:
        """Licenses by id, from the one after `after` on. Raises BadInput."""
        wanted = {
            name: fields.text(name, value, wire.MAX_REF) for name, value in fields.given(filters).items()
        }
        rows = await self._database.rows(
            "list_licenses",
            after,
            limit,
            self._only,
            wanted.get("product"),
            wanted.get("plan"),
            wanted.get("customer_ref"),
            wire.status(wanted["status"]) if "status" in wanted else None,
            self._clock.now(),
        )
        return [issued.read(row) for row in rows]

    async def act(self, id: int, act: Act) -> License:
        """Suspend, reinstate or revoke it. Raises Conflict where its standing does not allow that."""
        froms = transitions.before(act)
        async with self._database.transaction() as connection:
            license = await self.read(connection, id)
            now, target = self._clock.now(), transitions.after(froms[0], act)
            key = license.product_id, license.id
            if not await self._database.change(connection, "set_standing", *key, target, now, froms):
                transitions.after((await self.read(connection, id)).standing, act)
                raise errors.Conflict("status", "has changed at this moment: look again")
            return await self.read(connection, id)

    async def renew(self, id: int, term: wire.Term) -> License:
        """Let it end later, or never. Raises BadInput and Conflict."""
        if term.expires_at is UNSET and term.lasts is UNSET:
            raise errors.BadInput("for", "or expires_at is required")
        now = self._clock.now()
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, Act.RENEW)
            if license.expires_at is None and term.lasts is not UNSET:
                raise errors.Conflict("for", "has no end to count from: the license never ends")
            expires_at = wire.end(term, now, license.expires_at)
            if expires_at is not None and expires_at <= now:
                raise errors.BadInput(
                    "expires_at", "must be later than now; to end a license at once, revoke it"
                )
            return await self._keep(connection, msgspec.structs.replace(license, expires_at=expires_at))

    async def set(self, id: int, given: wire.Change) -> License:
        """Change plan, seats or customer. Installs that hold a seat keep it. Raises BadInput and Conflict."""
        given = wire.customer(given)
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, Act.SET)
            _check_customer(given, license.product, license.customer_fields)
            changes = fields.given(given)
            if given.seats is not UNSET:
                changes["seats"] = wire.seats(given.seats)
            if "plan" in changes:
                plan = changes.pop("plan")
                changes["plan_id"] = await self._products.plan_of(connection, license.product_id, plan)
            return await self._keep(connection, msgspec.structs.replace(license, **changes))

    async def transfer(self, id: int, given: wire.Customer) -> License:
        """Give it to another customer. The installs of the one before are forgotten, and so is what is not given."""
        if not given.customer_ref:
            raise errors.BadInput("customer_ref", "is required: whose license it is from now on")
        given = wire.customer(given)
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, Act.TRANSFER, whole=True)
            _check_customer(given, license.product, license.customer_fields)
            await self._forget_installs(connection, license)
            await self._database.change(connection, "empty_seats", license.product_id, id, self._clock.now())
            new = msgspec.structs.replace(
                license,
                customer_ref=given.customer_ref or "",
                customer_name=given.customer_name or "",
                customer_email=given.customer_email or "",
            )
            return await self._keep(connection, new)

    async def release(self, id: int, instance: bytes | None) -> int:
        """Free the seat of an install (None: of all); how many were freed. One that still runs takes it again."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, whole=True)
            key = license.product_id, license.id
            if instance is None:
                freed = await self._database.change(connection, "drop_seats", *key, now)
            else:
                (found,) = await self._database.fetch(connection, "seat_of", *key, instance)
                if found["seat"] is None:
                    raise errors.NotFound("instance", "the license has no such install")
                freed = await self._database.change(connection, "drop_seat", *key, instance, now)
            if freed:
                await self._database.change(connection, "give_back_seats", *key, freed, now)
        return freed

    async def erase(self, id: int) -> Erased:
        """Delete a license and all that is kept of it; only what STAYS names is left."""
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, whole=True)
            key = license.product_id, license.id
            counts = await self._forget_installs(connection, license)
            await self._database.change(connection, "erase_license", *key, self._clock.now())
        return counts

    async def erase_installs(self, id: int) -> Erased:
        """Delete what is kept of the installs of a license; the license itself stays good, with all seats free."""
        async with self._database.transaction() as connection:
            license = await self.lock(connection, id, whole=True)
            counts = await self._forget_installs(connection, license)
            await self._database.change(connection, "empty_seats", license.product_id, id, self._clock.now())
        return counts

    async def forget_customers(self, now: datetime) -> None:
        """Empty the names and e-mail addresses with licenses that ended, or were revoked, a year ago."""
        await self._database.execute("forget_old_customers", now - CUSTOMER_KEPT)

    async def forget_installs(self, now: datetime) -> None:
        """Delete installs that have gone long ago, and what is kept for a day or some only."""
        async with self._database.transaction() as connection:
            change = self._database.change
            await change(connection, "forget_old_installs", now - INSTALL_KEPT, now, seconds=LONG)
            await change(connection, "forget_old_sharing", (now - INSTALL_KEPT).date(), seconds=LONG)
            await change(connection, "blur_seat_changes", now - A_DAY, seconds=LONG)
            await change(connection, "forget_old_erasures", now - A_DAY)
            await change(connection, "forget_old_answers", now - A_DAY)

    async def read(self, connection: Connection, id: int) -> License:
        """The license as it is now."""
        known = 0 < id < 1 << 63
        found = await self._database.fetch(connection, "get_license", id, self._only) if known else []
        if not found:
            raise _no_license()
        return issued.read(found[0])

    async def by_digest(self, connection: Connection, digest: bytes) -> License | None:
        """The license of the key with this digest."""
        found = await self._database.fetch(connection, "license_of_digest", digest, self._only)
        return issued.read(found[0]) if found else None

    async def lock(
        self, connection: Connection, id: int, act: Act | None = None, *, whole: bool = False
    ) -> License:
        """The license, which nobody else changes until the transaction ends. Raises Conflict by the table.

        `whole`: its installs neither. Several of them are changed then, and a flush may be about to do so too.
        """
        license = await self.read(connection, id)
        # The product before the license, as in everything that changes customer fields.
        await self._products.row_of(connection, license.product)
        query = "lock_license_whole" if whole else "lock_license"
        await self._database.fetch(connection, query, license.product_id, id)
        license = await self.read(connection, id)
        if act is not None:
            transitions.after(license.standing, act)
        return license

    async def _keep(self, connection: Connection, license: License) -> License:
        await self._database.change(
            connection,
            "set_license",
            license.product_id,
            license.id,
            license.plan_id,
            license.seats,
            license.expires_at,
            license.customer_ref,
            license.customer_name,
            license.customer_email,
            self._clock.now(),
        )
        return await self.read(connection, license.id)

    async def _forget_installs(self, connection: Connection, license: License) -> Erased:
        key = license.product_id, license.id
        change = self._database.change
        # What takes long comes first: local copies ask for what changed in the last minutes.
        heartbeats = await change(connection, "forget_heartbeats_of", *key, seconds=LONG)
        sharing = await change(connection, "forget_sharing_of", *key)
        installs = await change(connection, "forget_installs_of", *key, self._clock.now())
        return Erased(installs, heartbeats, sharing)


def _check_customer(given: wire.Customer, product: str, kept: bool) -> None:
    """Refuse what the product does not keep."""
    for name in ("customer_name", "customer_email"):
        if getattr(given, name) and not kept:
            raise errors.BadInput(
                name, f"is not kept: switch it on with headcount product set {product} --customer-fields"
            )


def _no_license() -> errors.NotFound:
    return errors.NotFound("license", "there is no such license")
