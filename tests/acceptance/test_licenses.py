"""License checks on real processes: several workers, and a Postgres that goes away and comes back."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from acceptance.server import Server, until
from headcount.licensing import jws, keys
from headcount.store import embedded

pytestmark = pytest.mark.timeout(120)

PRODUCT = "acme"


@pytest.fixture
async def server(place: Path, outside: embedded.Embedded) -> AsyncIterator[Server]:
    async with Server(place, database_url=outside.start(), workers="2", rate_limit="0") as found:
        await found.start()
        yield found


class Product:
    """A product whose installs check, each time on a new connection, so that each worker has its turn."""

    def __init__(self, server: Server, root: bytes, key: str) -> None:
        self.server = server
        self.root = root
        self.key = key
        self.answered = 0
        """Checks with a signed answer: so many heartbeats have to arrive."""

    async def ask(self, instance: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
        nonce = secrets.token_urlsafe(16)
        asked = {
            "key": key or self.key,
            "product": PRODUCT,
            "instance": instance,
            "version": "1.0",
            "nonce": nonce,
            "keys": True,
        }
        async with self.server.http.post(
            f"{self.server.origin}/api/license/check", json=asked, headers={"Connection": "close"}
        ) as response:
            body = await response.json()
        if response.status != 200:
            return response.status, body
        self.answered += 1
        key_set = jws.read(body["keys"], jws.KEYS, jws.ROOT, self.root)
        assert key_set is not None
        found = [jws.read(body["answer"], jws.CHECK, k["kid"], jws.decode(k["x"])) for k in key_set["keys"]]
        (answer,) = [one for one in found if one is not None]
        assert answer["nonce"] == nonce
        return 200, answer

    async def statuses(self, instance: str, times: int = 12) -> set[str]:
        """What the workers say, all of them."""
        return {(await self.ask(instance))[1]["status"] for _ in range(times)}


@pytest.fixture
async def product(server: Server) -> Product:
    root = await server.product(PRODUCT, seats=5, check_interval="60s", lease="1h", grace="2h")
    return Product(server, jws.decode(root), await server.license(PRODUCT))


async def test_a_revocation_reaches_all_workers_and_cannot_be_undone(product: Product) -> None:
    assert await product.statuses("install-1") == {"active"}
    await product.server.command("license", "suspend", product.key)
    await until(lambda: says(product, "suspended"))
    await product.server.command("license", "reinstate", product.key)
    await until(lambda: says(product, "active"))
    await product.server.command("license", "revoke", product.key, "--yes")
    await until(lambda: says(product, "revoked"))


async def says(product: Product, status: str) -> bool:
    return await product.statuses("install-1") == {status}


async def test_an_outage_of_postgres_locks_nobody_out(
    product: Product, outside: embedded.Embedded, server: Server
) -> None:
    assert await product.statuses("install-1") == {"active"}
    await until(lambda: is_copied(server))
    outside.release()

    await server.kill_child("web")  # another starts while Postgres is down
    await until(lambda: len(server.children("web")) == 2)
    for _ in range(12):
        known, new = await product.ask("install-1"), await product.ask("install-2")
        assert (known[0], known[1]["status"], known[1]["conclusive"]) == (200, "active", True)
        assert (new[0], new[1]["status"], new[1]["conclusive"]) == (200, "active", False)
        assert new[1]["grace_until"] == new[1]["server_time"] + 2 * 3600

    status, _ = await product.ask("install-1", keys.shown(keys.new()))
    assert status == 503

    dsn = outside.start()
    await server.kill_child("rollup")  # perhaps in the middle of what waits
    await until(lambda: conclusive(product, "install-2"))
    await until(lambda: heartbeats_are(dsn, product.answered))
    await server.stop()
    assert await numbers(dsn) == (product.answered, 2, 2)


async def numbers(dsn: str) -> tuple[int, ...]:
    """Heartbeats, seats taken and installs in Postgres."""
    connection = await asyncpg.connect(dsn)
    try:
        return tuple(
            [
                await connection.fetchval(f"select {what}")
                for what in ("count(*) from heartbeat", "used from license", "count(*) from instance")
            ]
        )
    finally:
        await connection.close()


async def heartbeats_are(dsn: str, count: int) -> bool:
    return (await numbers(dsn))[0] == count


async def conclusive(product: Product, instance: str) -> bool:
    answers = [await product.ask(instance) for _ in range(12)]
    return all(status == 200 and answer["conclusive"] for status, answer in answers)


def is_copied(server: Server) -> bool:
    """Whether the node's copy holds a seat."""
    with sqlite3.connect(server.data_dir / "licenses.db") as db:
        (held,) = db.execute("select count(*) from seat").fetchone()
    db.close()
    return bool(held)
