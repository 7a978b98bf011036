"""Alerts and dashboard: promtool tests the alerts, and a real Prometheus reads a real server with what is shipped."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from acceptance.reverse import DEPLOY, free_port
from acceptance.server import Server, until

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="needs prometheus and promtool: apt-get install prometheus",
)


@needs_promtool
@pytest.mark.parametrize(
    "words",
    ["check config prometheus.yaml", "check rules alerts.yaml", "test rules alerts.test.yaml"],
)
def test_promtool_agrees_with_the_shipped_files(words: str) -> None:
    done = subprocess.run(["promtool", *words.split()], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "alerts.yaml").read_text()))
    tested = re.findall(r"alertname: (\w+)", (DEPLOY / "alerts.test.yaml").read_text())
    assert {name: tested.count(name) for name in tested} == dict.fromkeys(alerts, 2)  # silent, and heard


@needs_promtool
@pytest.mark.timeout(240)
async def test_a_real_prometheus_has_every_figure_that_is_asked_for(place: Path, tmp_path: Path) -> None:
    async with Server(place, workers="1") as server, prometheus(tmp_path, server) as ask:
        await until(lambda: has_read(ask))
        names = set(await ask("label/__name__/values"))
        questions = [*asked_by_alerts(await ask("rules")), *asked_by_dashboard()]
        assert len(questions) > 25
        for question in questions:
            used = set(re.findall(r"headcount_\w+", question))
            assert used <= names, question
            await ask("query", query=question)
        await server.stop()


async def has_read(ask: Any) -> bool:
    found = await ask("query", query='up{job="headcount"} == 1')
    return bool(found["result"]) and "headcount_ready" in await ask("label/__name__/values")


def asked_by_alerts(rules: dict[str, Any]) -> list[str]:
    """The questions of all alerts, none of which may have failed."""
    (group,) = rules["groups"]
    assert {rule.get("lastError", "") for rule in group["rules"]} == {""}
    return [rule["query"] for rule in group["rules"] if not rule["query"].startswith("up{")]


def asked_by_dashboard() -> list[str]:
    """What Grafana asks, with its variables filled in."""
    board = json.loads((DEPLOY / "grafana.json").read_text())
    questions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [question.replace("$node", ".*").replace("$__rate_interval", "1m") for question in questions]


@asynccontextmanager
async def prometheus(folder: Path, server: Server) -> AsyncIterator[Any]:
    """A Prometheus that reads this server each second; a function that asks it."""
    await server.start()
    port = free_port()
    shutil.copy(DEPLOY / "alerts.yaml", folder)
    text = (DEPLOY / "prometheus.yaml").read_text().replace("15s", "1s")
    target = server.origin.removeprefix("http://")
    (folder / "prometheus.yaml").write_text(text.replace("127.0.0.1:8080", target))
    flags = ("--config.file=prometheus.yaml", f"--web.listen-address=127.0.0.1:{port}")
    process = await asyncio.create_subprocess_exec(
        "prometheus", *flags, "--storage.tsdb.path=data", "--log.level=error", cwd=folder
    )

    async def ask(path: str, **query: str) -> Any:
        async with server.http.get(f"http://127.0.0.1:{port}/api/v1/{path}", params=query) as answer:
            found = await answer.json()
            assert found["status"] == "success", found
            return found["data"]

    async def answers() -> bool:
        try:
            return bool(await ask("rules"))
        except aiohttp.ClientError:
            return False

    try:
        await until(answers)
        yield ask
    finally:
        process.terminate()
        await process.wait()
