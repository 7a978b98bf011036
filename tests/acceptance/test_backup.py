"""A backup and a restore beside a real server under load, and on a machine that has nothing else."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from acceptance import ledger
from acceptance.ledger import Ledger, Load
from acceptance.server import Server, until
from headcount.licensing import jws

pytestmark = pytest.mark.timeout(120)


async def test_a_restore_under_load_loses_nothing_and_counts_nothing_twice(place: Path) -> None:
    file = str(place / "backup.zip")
    async with Server(place, **ledger.SETTINGS) as server:
        await server.start()
        sent = Ledger()
        async with Load(server, sent) as load:
            await load.acknowledges(50)
            made = json.loads(await server.command("backup", file, "--with-raw", "--json"))
            await load.acknowledges(50)
            await server.command("restore", file, "--replace")
            await load.acknowledges(50)
        await ledger.drained(server)
        await ledger.verdict(server, sent)
        assert 0 < made["tables"]["hit"] < len(sent.of(ledger.Outcome.ACKNOWLEDGED))
        assert set(sent.statuses) == {202}
        assert "are sent again" in server.said()
        await server.stop()


async def test_installs_go_on_with_a_server_that_was_made_of_a_backup(
    place: Path, another_place: Path
) -> None:
    file = str(place / "backup.zip")
    async with Server(place) as server:
        await server.start()
        root = jws.decode(await server.product("acme", seats=1))
        key = await server.license("acme")
        assert (await answer(server, root, key, "install-1"))["status"] == "active"
        await until(lambda: ledger.left_in_the_outbox(server) == 0)
        await server.command("backup", file, "--with-secret")
        await server.stop()
    async with Server(another_place) as server:
        await server.command("restore", file)
        await server.start()
        assert (await answer(server, root, key, "install-1"))["status"] == "active"
        assert (await answer(server, root, key, "install-2"))["status"] == "over_seats"
        await server.stop()


async def answer(server: Server, root: bytes, key: str, instance: str) -> dict[str, Any]:
    """What an install is told, signed by a key that the root key vouches for; once the server knows its products."""
    asked = {"key": key, "product": "acme", "instance": instance, "version": "1.0", "keys": True}
    found: dict[str, Any] = {}

    async def is_answered() -> bool:
        body = asked | {"nonce": secrets.token_urlsafe(16)}
        async with server.http.post(f"{server.origin}/api/license/check", json=body) as response:
            found.update(await response.json())
            return response.status == 200

    await until(is_answered)
    key_set = jws.read(found["keys"], jws.KEYS, jws.ROOT, root)
    assert key_set is not None
    read = [jws.read(found["answer"], jws.CHECK, one["kid"], jws.decode(one["x"])) for one in key_set["keys"]]
    (told,) = [one for one in read if one is not None]
    return told
