"""License files for installs that never reach Headcount: a request comes in, a signed file goes out.

The install holds a seat for as long as its file lets it run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headcount import errors, licensed
from headcount.clock import Clock
from headcount.licensed import DAY, PRODUCTION, Plan, Product, Status, Use
from headcount.licensing import judge, jws, versions
from headcount.licensing.judge import Seat, Verdict
from headcount.licensing.transitions import Act
from headcount.services.licenses import Licenses
from headcount.services.products import Products
from headcount.store.issued import License
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import license as wire

if TYPE_CHECKING:
    from headcount.store.postgres import Connection


class Offline:
    """Writes license files. Every method raises DatabaseDown without Postgres."""

    def __init__(
        self, database: Database, products: Products, licenses: Licenses, secret: Secret, clock: Clock
    ) -> None:
        self._database = database
        self._products = products
        self._licenses = licenses
        self._secret = secret
        self._clock = clock

    async def write(self, asked: wire.Request) -> dict[str, str]:
        """The license file for a request file. Raises BadInput, NotFound, and Conflict if no seat is free."""
        key = wire.digest("key_digest", asked.key_digest)
        instance = wire.digest("instance_digest", asked.instance_digest)
        version = versions.version(asked.version or "")
        fields.between("days", asked.days, 1, wire.MAX_DAYS)
        now = self._clock.now()
        async with self._database.transaction() as connection:
            found = await self._licenses.by_digest(connection, key)
            if found is None:
                raise errors.NotFound("key_digest", "there is no license of this key")
            if asked.product != found.product:
                raise errors.BadInput("product", "is not the one that the license is for")
            license = await self._licenses.lock(connection, found.id, Act.WRITE_FILE)
            product = await self._products.within(connection, found.product)
            plan = product.plan(license.plan_id)
            assert plan is not None  # noqa: S101 - a license refers to its plan
            verdict = _judge(license, plan, asked.days, now)
            used = await self._take_seat(connection, license, instance, version, now)
            until = datetime.fromtimestamp(verdict.grace_until, UTC)
            await self._database.change(
                connection, "hold_offline", license.product_id, license.id, instance, until, version
            )
        payload = _payload(license, plan, verdict, used, now) | {
            "key_digest": key.hex(),
            "instance_digest": instance.hex(),
        }
        return {"file": self._signer(product).sign(payload), "keys": product.key_set}

    async def _take_seat(
        self, connection: Connection, license: License, instance: bytes, version: str, now: datetime
    ) -> int:
        """A seat for the install, unless it holds one; how many are taken then. The license is locked."""
        key = license.product_id, license.id
        (found,) = await self._database.fetch(connection, "seat_of", *key, instance)
        if found["seat"]:
            return license.used
        if found["seat"] is not None:
            taken = await self._database.fetch(connection, "take_seat", *key, now)
            if taken:
                await self._database.change(connection, "give_seat", *key, instance, now, PRODUCTION)
        else:
            words = (version, "", PRODUCTION, "", "", Status.ACTIVE)
            taken = await self._database.fetch(connection, "claim_seat", *key, instance, now, *words)
        if not taken:
            raise errors.Conflict("seats", f"are all taken ({license.seats_limit}): release one, or set more")
        return int(taken[0]["used"])

    def _signer(self, product: Product) -> jws.Signer:
        key = product.key(Use.FILE)
        return jws.Signer(self._secret.open(f"product key {key.kid}", key.private), jws.FILE, key.kid)


def _judge(license: License, plan: Plan, days: int, now: datetime) -> Verdict:
    """What the file says: like the answer to a check, with a lease of so many days. Raises Conflict."""
    checked = licensed.License(
        id=license.id,
        product=license.product_id,
        digest=license.digest,
        plan=license.plan_id,
        standing=license.standing,
        seats=license.seats,
        expires_at=None if license.expires_at is None else int(license.expires_at.timestamp()),
        used=license.used,
    )
    leased = msgspec.structs.replace(plan, lease=days * DAY)
    verdict = judge.judge(checked, leased, Seat.HELD, int(now.timestamp()))
    if verdict.status not in judge.GOOD:
        raise errors.Conflict(
            "status", f"a license that is {verdict.status} cannot be put into a license file"
        )
    return verdict


def _payload(license: License, plan: Plan, verdict: Verdict, used: int, now: datetime) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "conclusive": verdict.conclusive,
        "product": license.product,
        "plan": plan.name,
        "entitlements": plan.entitlements,
        "seats": {"used": used, "limit": license.seats_limit},
        "server_time": int(now.timestamp()),
        "valid_until": verdict.valid_until,
        "grace_until": verdict.grace_until,
        "expires_at": None if license.expires_at is None else int(license.expires_at.timestamp()),
        "sequence": int(now.timestamp() * 1_000_000),
    }
