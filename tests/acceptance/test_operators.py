"""What operators see of a whole server: health, figures of all its processes together, logs, and the doctor."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from acceptance.server import Server, until
from headcount.store.embedded import Embedded

pytestmark = pytest.mark.timeout(120)

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = {"name": "pageview", "url": "http://localhost/", "domain": "localhost"}
APART = {"User-Agent": AGENT, "Connection": "close"}
"""Each on a connection of its own, so that both workers get some."""


async def test_a_whole_server_is_well_and_its_figures_are_those_of_all_processes(place: Path) -> None:
    async with Server(place, log_format="json") as server:
        await server.start()
        await until(lambda: is_well(server))

        await view(server, 20)
        await until(lambda: shows(server, received=20, stored=20))
        await until(lambda: has_flushed(server))
        await server.kill_child("web")
        await server.kill_child("rollup")
        await until(lambda: is_well(server))
        await view(server, 5)
        await until(lambda: shows(server, received=25, stored=25))

        examined = json.loads(await server.command("doctor", "--json", "--server", server.origin))
        levels = {found["subject"]: found["level"] for found in examined["findings"]}
        assert {levels[subject] for subject in ("server", "schema", "clock", "core dumps", "TLS")} == {"ok"}
        ill = {subject for subject in levels if subject.startswith("server: ")}
        assert ill <= {"server: disk", "server: country_file"}
        await server.stop()
        lines = [json.loads(line) for line in server.said().splitlines() if line.startswith('{"time"')]
    assert {"supervisor", "rollup"} <= {line["role"] for line in lines}
    killed = [line for line in lines if "signal SIGKILL" in line["message"]]
    assert [(line["level"], line["role"]) for line in killed] == [("error", "supervisor")] * 2
    assert "ERROR" not in server.said()


async def test_while_postgres_is_down_the_node_stays_ready_and_says_what_waits(
    place: Path, outside: Embedded
) -> None:
    async with Server(place, database_url=outside.dsn()) as server:
        await server.start()
        await until(lambda: is_well(server))
        await asyncio.to_thread(outside.release)
        await view(server, 3)
        await until(lambda: waits_for_postgres(server))
        await until(lambda: is_degraded_but_ready(server))

        await asyncio.to_thread(outside.start)
        await until(lambda: is_well(server))
        await until(lambda: has_flushed(server))
        await server.stop()


async def is_degraded_but_ready(server: Server) -> bool:
    """Whether a worker says so: each of them asks Postgres for itself."""
    async with server.http.get(f"{server.origin}/health/ready", headers=APART) as answer:
        assert answer.status == 200
        return bool((await answer.json())["status"] == "degraded")


async def waits_for_postgres(server: Server) -> bool:
    found = await figures(server)
    down, ready = found['headcount_check{check="postgres"}'] == 2, found["headcount_ready"] == 1
    return down and ready and found["headcount_outbox_flushes"] > 0 < found["headcount_outbox_bytes"]


async def view(server: Server, times: int) -> None:
    for _ in range(times):
        assert (await server.post(PAGE, APART)).status == 202


async def is_well(server: Server) -> bool:
    """Whether it says so, and knows of all its processes."""
    async with server.http.get(f"{server.origin}/health/ready", headers=APART) as answer:
        found: dict[str, Any] = await answer.json()
    assert (answer.status == 200) == (found["status"] != "failing")
    ill = {name for name, check in found["checks"].items() if check["verdict"] != "ok"}
    shown = await figures(server)
    workers = shown['headcount_processes{role="web"}']
    # How full this disk is, and what day it is, is not what is tried here.
    well = ill <= {"disk", "country_file"}
    return bool(well and workers == 2 and shown['headcount_processes{role="rollup"}'] == 1)


async def shows(server: Server, **expected: int) -> bool:
    """Whether it is the same whichever process answers."""
    answers = await asyncio.gather(*[figures(server) for _ in range(6)])
    wanted = {f"headcount_events_{name}_total": number for name, number in expected.items()}
    return all(answer[name] == number for answer in answers for name, number in wanted.items())


async def has_flushed(server: Server) -> bool:
    found = await figures(server)
    return found["headcount_flush_seconds_count"] > 0 and found["headcount_outbox_flushes"] == 0


async def figures(server: Server) -> dict[str, float]:
    async with server.http.get(f"{server.origin}/metrics", headers=APART) as answer:
        text = await answer.text()
        assert answer.status == 200, text
    return {name: float(value) for name, value in re.findall(r"^(headcount\S+) (\S+)$", text, re.MULTILINE)}
