"""A vendor with a product, a web worker that answers checks, and a rollup that is driven step by step."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

import make
from a_node import Node
from headcount.jobs.licenses import LicenseJobs
from headcount.licensed import Product
from headcount.licensing import jws
from headcount.services.licenses import Licenses
from headcount.services.products import Products
from headcount.services.sites import Sites
from headcount.store import daykeys, secret
from headcount.store.installs import Installs
from headcount.store.license_copy import LicenseCopy
from headcount.web import keys
from headcount.wire import license as license_fields
from headcount.wire import plan as plan_fields

NAME = "acme"
PLAN: dict[str, Any] = {
    "name": "team",
    "seats": 5,
    "check_interval": 3600,
    "lease": 7 * 86400,
    "grace": 14 * 86400,
}


class Vendor:
    """Everything that a check meets, on one data directory."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.node = Node(folder, dsn)
        self.clock = self.node.clock
        self.database = self.node.database
        self.installs = Installs(self.database)
        self.secret = secret.load("", folder)
        self.products = Products(self.database, self.clock, self.secret)
        self.licenses = Licenses(self.database, self.clock, self.secret)
        self.sites = Sites(self.database, self.clock)
        self.copy = LicenseCopy(folder / "licenses.db")
        self.jobs = LicenseJobs(self.installs, self.node.heartbeats, self.copy, self.node.engine, self.clock)
        self.root = b""
        self.worker: make.Worker | None = None

    async def open(self) -> None:
        await self.jobs.tick()
        text, _ = await self.products.add(NAME, plan=plan_fields.Fields(**PLAN))
        self.root = jws.decode(text)
        await self.settle()

    async def issue(self, plan: str = "team", **fields: Any) -> str:
        """The key of a new license, which the worker knows."""
        key, _ = await self.licenses.issue(NAME, plan, license_fields.Fields(**fields))
        await self.settle()
        return key

    async def settle(self) -> None:
        """What a rollup does twice a second: products and licenses reach the node's copies."""
        found = await self.sites.settings()
        self.node.settings.write(msgspec.structs.replace(found, products=await self.products.all()))
        self.node.settings.refresh()
        await self.installs.copy_to(self.copy, self.clock.now())
        if self.worker is not None:
            self.worker.app[keys.SETTINGS].refresh()
            self.worker.app[keys.CHECKS]._copy.refresh()

    async def drain(self) -> None:
        """What was spooled reaches Postgres."""
        await self.jobs.tick()
        await self.node.all()
        await self.settle()

    async def pass_by(self, **duration: float) -> None:
        """Let time go by while the server runs: the clock of silence ticks."""
        span = timedelta(**duration)
        await self.jobs.tick()
        self.step(span)
        async with self.database.connection() as connection:
            await connection.execute(
                "update uptime set ticked_at = $1, milliseconds = milliseconds + $2",
                self.clock.now(),
                span.total_seconds() * 1000,
            )

    async def count(self) -> None:
        """Count the installs now, however lately that was done."""
        await self.node.all()
        self.jobs._count_after = self.jobs._count_by = 0.0
        await self.jobs.count()

    async def free_silent(self) -> None:
        """What the lease job does, once nothing waits to be counted."""
        await self.node.all()
        await self.jobs.free_silent()

    def step(self, span: timedelta) -> None:
        self.clock.time[0] += span

    @property
    def product(self) -> Product:
        found = self.node.settings.product(NAME)
        assert found is not None
        return found

    async def post(self, path: str, body: Any, headers: Mapping[str, str] = {}) -> tuple[int, Any]:
        assert self.worker is not None
        async with self.worker.client.post(f"/api/license/{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> tuple[int, Any]:
        assert self.worker is not None
        async with self.worker.client.get(path) as response:
            return response.status, await response.json()

    async def check(self, key: str, instance: str = "install-1", **more: Any) -> dict[str, Any]:
        """The verified payload of the answer."""
        asked = question(key, instance, **more)
        status, body = await self.post("check", asked)
        assert status == 200, body
        return self.verified(body, asked["nonce"])

    async def post_from(self, address: str, key: str, instance: str) -> None:
        """A check from this address, as a trusted proxy tells it."""
        status, _ = await self.post("check", question(key, instance), {"X-Forwarded-For": address})
        assert status == 200

    def verified(self, body: Mapping[str, str], nonce: str) -> dict[str, Any]:
        """The payload, checked as a client does that carries the root key."""
        key_set = jws.read(body.get("keys", self.product.key_set), jws.KEYS, jws.ROOT, self.root)
        assert key_set is not None
        for key in key_set["keys"]:
            payload = jws.read(body["answer"], jws.CHECK, key["kid"], jws.decode(key["x"]))
            if payload is not None:
                assert (key["use"], payload["nonce"]) == ("check", nonce)
                return payload
        raise AssertionError("no certified key has signed this answer")


def question(key: str, instance: str = "install-1", **more: Any) -> dict[str, Any]:
    nonce = secrets.token_urlsafe(16)
    return {"key": key, "product": NAME, "instance": instance, "version": "2.4.1", "nonce": nonce, **more}


@asynccontextmanager
async def a_worker(vendor: Vendor, dsn: str, given: Mapping[str, str] = {}) -> AsyncIterator[make.Worker]:
    """A web worker on the vendor's data directory, with the vendor's clock."""
    settings = {"database_url": dsn, "rate_limit": "0", **given}
    async with make.worker(vendor.folder, settings, sites=None, keep_keys=True) as worker:
        worker.app[keys.CHECKS]._clock = vendor.clock
        yield worker


@asynccontextmanager
async def postgres_down(vendor: Vendor) -> AsyncIterator[None]:
    """Meanwhile Postgres cannot be reached, by a worker that starts now."""
    before = vendor.worker
    async with a_worker(vendor, make.NO_POSTGRES) as vendor.worker:
        yield
    vendor.worker = before


@asynccontextmanager
async def a_vendor(folder: Path, dsn: str, given: Mapping[str, str] = {}) -> AsyncIterator[Vendor]:
    """A vendor whose worker has Postgres, and whose clock stands at noon."""
    folder.mkdir(exist_ok=True)
    vendor = Vendor(folder, dsn)
    try:
        await vendor.open()
        async with a_worker(vendor, dsn, given) as vendor.worker:
            yield vendor
    finally:
        vendor.copy.close()
        vendor.node.engine.close()
        await vendor.database.close()
        shutil.rmtree(daykeys.folder(folder))
