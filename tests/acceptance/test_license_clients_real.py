"""The four sample clients against the real server: a license from its first check to its last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.license_clients import missing, run_client
from acceptance.server import Server, until

pytestmark = pytest.mark.timeout(120)

LANGUAGES = ["python", "php", "node", "sh"]
PRODUCT = "acme"


@pytest.fixture
async def server(place: Path) -> AsyncIterator[Server]:
    async with Server(place, rate_limit="0") as found:
        await found.start()
        yield found


class Install:
    """One install of the product, in one language."""

    def __init__(self, language: str, server: Server, root: str, key: str, folder: Path) -> None:
        self._language = language
        self._given: dict[str, Any] = {"url": server.origin, "root_key": root, "product": PRODUCT, "key": key}
        self._folder = folder
        self._folder.mkdir()

    async def call(self, call: str = "check", **more: Any) -> dict[str, Any]:
        if missing(self._language):
            pytest.skip(f"{self._language} {missing(self._language)}")

        def run() -> dict[str, Any]:
            return run_client(self._language, state_dir=self._folder, call=call, **self._given, **more)

        return await asyncio.to_thread(run)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_license_lives_in_every_language(language: str, server: Server, tmp_path: Path) -> None:
    root = await server.product(PRODUCT, seats=1, entitlements="sso")
    key = await server.license(PRODUCT)
    first = Install(language, server, root, key, tmp_path / "first")
    second = Install(language, server, root, key, tmp_path / "second")

    assert shown(await first.call()) == ("active", True)
    assert shown(await second.call()) == ("over_seats", False)
    assert (await first.call("release"))["released"]
    assert shown(await second.call()) == ("active", True)

    await server.command("product", "rotate-key", PRODUCT)
    await until(lambda: rotated(second))
    await server.command("license", "suspend", key)
    await until(lambda: says(second, "suspended"))
    await server.command("license", "reinstate", key)
    await until(lambda: says(second, "active"))

    await server.stop()
    assert shown(await second.call()) == ("active", True)  # from its last answer


async def says(install: Install, status: str) -> bool:
    return bool((await install.call())["status"] == status)


async def rotated(install: Install) -> bool:
    """Once the workers sign with the new key, the install has to accept it like the old one."""
    for _ in range(3):
        assert shown(await install.call()) == ("active", True)
    return True


def shown(result: dict[str, Any]) -> tuple[str, bool]:
    return result["status"], result["allowed"]


async def test_an_install_without_a_network_works_with_a_license_file(server: Server, tmp_path: Path) -> None:
    root = await server.product(PRODUCT, seats=1)
    key = await server.license(PRODUCT)
    install = Install("python", server, root, key, tmp_path / "offline")
    request = tmp_path / "request.json"
    request.write_text(json.dumps(await install.call("request")))
    license = tmp_path / "license.json"
    await server.command("license", "file", str(request), "--days", "30", "-o", str(license))
    await server.stop()
    assert shown(await install.call(file=str(license))) == ("active", True)
