"""Answers license checks. A known install needs the local copy alone; a new one claims its seat in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from headcount import errors
from headcount.clock import Clock
from headcount.licensed import Heartbeat, Install, License, Plan, Product, SigningKey, Status, Use
from headcount.licensing import judge, jws, keys, tokens, versions
from headcount.licensing.judge import Seat, Verdict
from headcount.model import NO_SITE
from headcount.privacy import door
from headcount.services.collector import Collector
from headcount.store.figures import Figures
from headcount.store.installs import Installs
from headcount.store.license_copy import LicenseCopy
from headcount.store.secret import Secret
from headcount.store.settings import SettingsFile
from headcount.wire.check import Question

T = TypeVar("T")

PATIENCE = 1.5
"""Seconds that Postgres may take: a client waits for two."""
REFUSED_INTERVAL = 3600
PROVISIONAL_INTERVAL = 300
"""Seconds until the next check where the plan's interval does not hold."""
NOBODY = b""
"""In place of an install, where the key is not known: nothing is kept of it."""


class Grant(NamedTuple):
    """A license of the product that was asked about, with its plan."""

    license: License
    plan: Plan

    @property
    def limit(self) -> int | None:
        return judge.limit(self.license, self.plan)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question with what was found for it."""

    question: Question
    product: Product
    grant: Grant | None
    refused: Status
    """What is said where there is no grant: the key is unknown, or of another product."""
    digest: bytes
    instance: bytes
    install: Install
    where: door.Whereabouts
    position: tokens.Position
    now: datetime
    time: int
    """The same in Unix seconds."""

    def __repr__(self) -> str:
        return "Asked(…)"


class Checks:
    """The service behind `/api/license/check`."""

    def __init__(
        self,
        settings: SettingsFile,
        copy: LicenseCopy,
        installs: Installs,
        collector: Collector,
        lookups: door.Lookups,
        secret: Secret,
        clock: Clock,
        figures: Figures,
    ) -> None:
        self._settings = settings
        self._copy = copy
        self._installs = installs
        self._collector = collector
        self._lookups = lookups
        self._clock = clock
        self._figures = figures
        self._open = secret.open
        self._token_secret = secret.derive("install token")
        self._signers: dict[str, jws.Signer] = {}

    async def check(self, question: Question, client: door.Client) -> dict[str, str]:
        """The signed answer, and the key set if it was asked for; the heartbeat is on the disk then.

        Raises NotFound for a product that is not known, ServiceBusy where nothing can be said, and BadConfig where
        nothing can be signed.
        """
        asked = await self._ask(question, client)
        signer = self._signer(asked.product)  # first: what cannot be signed takes no seat
        verdict, used = await self._judge(asked)
        await self._collector.keep([self._heartbeat(asked, verdict.status)])
        self._figures.checks[verdict.status] += 1
        answer = {"answer": signer.sign(self._payload(asked, verdict, used))}
        return {**answer, "keys": asked.product.key_set} if question.keys else answer

    async def dry_run(self, question: Question, client: door.Client) -> Heartbeat:
        """What a check like this would store; nothing is stored, and no seat is taken."""
        asked = await self._ask(question, client)
        return self._heartbeat(asked, await self._foreseen(asked))

    async def _foreseen(self, asked: Asked) -> Status:
        """The status that a check would be answered, without taking a seat."""
        if asked.grant is None:
            return asked.refused
        license, plan = asked.grant
        status = judge.standing(license, plan, asked.time)
        if status not in judge.GOOD or not judge.needs_seat(plan, asked.install.environment):
            return status
        found = await _in_time(self._installs.seat_of, license.product, license.id, asked.instance)
        free = asked.grant.limit is None or found.used < asked.grant.limit
        return status if found.seat or free else Status.OVER_SEATS

    def key_set(self, product: str) -> str:
        """The signed key set of a product. Raises NotFound."""
        return self._product(product).key_set

    def public_keys(self) -> list[SigningKey]:
        """The keys that sign answers, of all products."""
        return [key for product in self._settings.products for key in product.keys if key.use is Use.CHECK]

    async def find(self, key: str, product: str | None = None) -> License:
        """The license of a key, of this product if one is named. Raises NotFound and ServiceBusy."""
        license = await self._license(keys.digest(key))
        wanted = self._product(product).id if product is not None else None
        if license is None or wanted not in (None, license.product):
            raise errors.NotFound("key", "there is no such license")
        return license

    async def _ask(self, question: Question, client: door.Client) -> Asked:
        product = self._product(question.product)
        now = self._clock.now()
        digest = keys.digest(question.key)
        instance = keys.instance_digest(question.key, question.instance)
        license = await self._license(digest)
        ours = license is not None and license.product == product.id
        grant = Grant(license, self._plan_of(product, license)) if license is not None and ours else None
        known = grant.plan.environments if grant is not None else ()
        return Asked(
            question=question,
            product=product,
            grant=grant,
            refused=Status.UNKNOWN if license is None else Status.WRONG_PRODUCT,
            digest=digest,
            instance=instance,
            install=versions.install(
                question.version, question.environment, question.os, question.arch, known
            ),
            where=self._where(client, grant.license.id if grant else NO_SITE, now.date()),
            position=tokens.read(self._token_secret, instance, question.token),
            now=now,
            time=int(now.timestamp()),
        )

    def _where(self, client: door.Client, license: int, day: date) -> door.Whereabouts:
        try:
            return door.whereabouts(client, license, day, self._lookups)
        except OSError:  # no day key: networks are not counted, and nobody is refused for that
            return door.Whereabouts("", 0)

    def _product(self, name: str) -> Product:
        if not self._settings.loaded and not self._settings.refresh():
            raise errors.ServiceBusy("Headcount is starting and does not know its products yet")
        product = self._settings.product(name)
        if product is None:
            raise errors.NotFound("product", "there is no such product here")
        return product

    async def _license(self, digest: bytes) -> License | None:
        found = self._copy.license(digest)
        return found if found is not None else await _in_time(self._installs.find, digest)

    def _plan_of(self, product: Product, license: License) -> Plan:
        plan = product.plan(license.plan)
        if plan is None:  # it was made a moment ago
            self._settings.refresh()
            plan = self._product(product.name).plan(license.plan)
        if plan is None:
            raise errors.ServiceBusy("the plan of this license is not known here yet")
        return plan

    async def _judge(self, asked: Asked) -> tuple[Verdict, int]:
        """The verdict, and how many seats are taken."""
        if asked.grant is None:
            return judge.refusal(asked.refused, asked.time), 0
        seat, used = await self._seat(asked, asked.grant)
        return judge.judge(*asked.grant, seat, asked.time), used

    async def _seat(self, asked: Asked, grant: Grant) -> tuple[Seat, int]:
        license, plan = grant
        if not judge.needs_seat(plan, asked.install.environment):
            return Seat.HELD, license.used
        if self._copy.holds_seat(license.id, asked.instance):
            return Seat.HELD, license.used
        if judge.standing(license, plan, asked.time) not in judge.GOOD:
            return Seat.FULL, license.used  # which nobody looks at
        try:
            held, used = await _in_time(
                self._installs.claim, license, asked.instance, asked.install, asked.where.country, asked.now
            )
        except errors.DatabaseDown:
            return Seat.UNSURE, license.used
        return (Seat.HELD if held else Seat.FULL), used

    def _heartbeat(self, asked: Asked, status: Status) -> Heartbeat:
        """What is kept of the question. Of an unknown key nothing but that it was asked."""
        known, install = asked.grant is not None, asked.install
        position = asked.position if known else tokens.NONE
        return Heartbeat(
            product=asked.product.id,
            license=asked.grant.license.id if asked.grant is not None else NO_SITE,
            instance=asked.instance if known else NOBODY,
            at=int(asked.now.timestamp() * 1000),
            day=asked.now.date(),
            version=install.version if known else "",
            country=asked.where.country if known else "",
            environment=install.environment if known else "",
            os=install.os if known else "",
            arch=install.arch if known else "",
            status=status,
            chain=position.chain,
            generation=position.generation,
            random=position.random,
            network=asked.where.network if known else 0,
        )

    def _payload(self, asked: Asked, verdict: Verdict, used: int) -> dict[str, Any]:
        grant = asked.grant
        payload: dict[str, Any] = {
            "status": verdict.status,
            "conclusive": verdict.conclusive,
            "key_digest": asked.digest.hex(),
            "product": asked.product.name,
            "instance_digest": asked.instance.hex(),
            "nonce": asked.question.nonce,
            "plan": grant.plan.name if grant else None,
            "entitlements": grant.plan.entitlements if grant else {},
            "seats": {"used": used, "limit": grant.limit if grant else 0},
            "server_time": asked.time,
            "check_after": asked.time + _interval(grant, verdict),
            "valid_until": verdict.valid_until,
            "grace_until": verdict.grace_until,
            "expires_at": grant.license.expires_at if grant else None,
            "sequence": int(asked.now.timestamp() * 1_000_000),
            "token": tokens.after(self._token_secret, asked.instance, asked.position, asked.time),
        }
        if grant is not None and verdict.status in judge.GOOD:
            payload |= _update(asked, grant)
        return payload

    def _signer(self, product: Product) -> jws.Signer:
        """The key in use, opened once."""
        key = product.key(Use.CHECK)
        signer = self._signers.get(key.kid)
        if signer is None:
            private = self._open(f"product key {key.kid}", key.private)
            signer = self._signers[key.kid] = jws.Signer(private, jws.CHECK, key.kid)
        return signer


def _update(asked: Asked, grant: Grant) -> dict[str, Any]:
    """The newer release, if there is one."""
    channel = asked.question.channel
    release = versions.newest(asked.product.releases, asked.install.version, grant.plan.name, channel)
    if release is None:
        return {}
    told = ("version", "url", "notes", "security", "minimum")
    return {"update": {name: getattr(release, name) for name in told}}


def _interval(grant: Grant | None, verdict: Verdict) -> int:
    """Seconds until the next check: a provisional answer is asked again soon."""
    if grant is None or verdict.status not in judge.GOOD:
        # Who was refused may have paid since.
        most = REFUSED_INTERVAL
    else:
        most = grant.plan.check_interval if verdict.conclusive else PROVISIONAL_INTERVAL
    return min(most, grant.plan.check_interval) if grant is not None else most


async def _in_time(work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """What Postgres says, or DatabaseDown when it takes too long to say it."""
    task = asyncio.ensure_future(work(*arguments))
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    if not done:
        # Not awaited: a Postgres that hangs does not hear that we give up either.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        task.cancel()
        raise errors.DatabaseDown
    return task.result()
