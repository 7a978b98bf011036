"""The units under a real systemd, as the first process of a namespace: only with `--soak`, as root."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from acceptance import booted
from acceptance.booted import Booted
from acceptance.server import until
from acceptance.soak import Soak

pytestmark = pytest.mark.timeout(600)

LIVE = "http://127.0.0.1:8080/health/live"
VIEW = '{"n": "pageview", "u": "http://localhost/", "d": "localhost"}'
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


@pytest.mark.soak
async def test_the_units_do_what_they_say(soak: Soak, tmp_path: Path) -> None:
    if reason := booted.missing():
        pytest.skip(reason)
    async with Booted(tmp_path) as machine:
        await machine.run("systemctl", "start", "headcount.socket", "headcount.service")
        assert await machine.shows("ActiveState") == "active", await machine.run("cat", "/run/said")
        await until(lambda: is_kept(machine))
        keys = await machine.run("find", "/run/headcount", "-name", "*@*")
        assert keys.endswith(tuple("0123456789"))

        for act in ("reload", "restart"):
            assert await statuses_during(machine, act) == {"200"}
            assert await machine.run("find", "/run/headcount", "-name", "*@*") == keys

        before = await machine.shows("MainPID")
        for worker in (await machine.run("pgrep", "-f", "role web")).split():
            await machine.run("kill", "-STOP", worker)
        await until(lambda: has_another(machine, before), seconds=120)
        before = await machine.shows("MainPID")
        await machine.run("kill", "-KILL", before)
        assert await live(machine) == "200"  # it waited in the socket
        assert await machine.shows("MainPID") != before

        await machine.run("systemctl", "stop", "headcount.socket", "headcount.service")
        assert (await machine.shows("ActiveState"), await machine.shows("Result")) == ("inactive", "success")


async def is_kept(machine: Booted) -> bool:
    flags = ("-s", "-o", "/dev/null", "-w", "%{http_code}", "-A", AGENT, "-d", VIEW)
    return await machine.run("curl", *flags, "http://127.0.0.1:8080/api/event") == "202"


async def statuses_during(machine: Booted, act: str) -> set[str]:
    """What new connections are answered while systemd does this to the service."""
    acting = asyncio.create_task(machine.run("systemctl", act, "headcount.service"))
    found: Counter[str] = Counter()
    while not acting.done():
        found[await live(machine)] += 1
    assert await acting == ""
    return set(found)


async def live(machine: Booted) -> str:
    return await machine.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "100", LIVE)


async def has_another(machine: Booted, before: str) -> bool:
    return await machine.shows("ActiveState") == "active" and await machine.shows("MainPID") != before
