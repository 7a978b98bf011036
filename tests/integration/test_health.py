"""What operators see: whether the node can be sent events, and the figures for Prometheus."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import make
from headcount import __version__
from headcount.licensed import Status
from headcount.model import Ignored, Scope
from headcount.services import health
from headcount.services.health import Name
from headcount.store.figures import FLUSH_BUCKETS, Role
from headcount.web import keys, routes
from make import Worker

PAGE = {"name": "pageview", "url": "https://example.com/secret/203.0.113.77?q=planted"}


@pytest.fixture(autouse=True)
def _always_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH", 0)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with make.worker(tmp_path, tokens=[make.token("all", *Scope)]) as worker:
        yield worker


async def ready(worker: Worker) -> tuple[int, dict[str, Any]]:
    response = await worker.client.get("/health/ready")
    return response.status, await response.json()


async def samples(worker: Worker, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of /metrics."""
    response = await worker.client.get("/metrics", headers=headers)
    assert response.status == 200, await response.text()
    found = text_string_to_metric_families(await response.text())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in found
        for sample in family.samples
    }


async def test_without_postgres_and_rollup_events_are_kept_and_the_node_is_degraded(worker: Worker) -> None:
    await worker.app[keys.EXAMINER].ask_postgres()
    status, found = await ready(worker)
    verdicts = {name: check["verdict"] for name, check in found["checks"].items()}
    assert (status, found["status"]) == (200, "degraded")
    assert (verdicts["postgres"], verdicts["rollup"]) == ("failing", "failing")
    assert {verdicts[name] for name in ("settings", "spool", "disk", "day_keys", "spool_files")} == {"ok"}
    assert (await worker.client.post("/api/event", json=PAGE)).status == 202


async def test_figures_are_counted_by_reason_and_add_up(worker: Worker) -> None:
    await worker.client.post("/api/event", json=PAGE)
    await worker.client.post("/api/event", json=[PAGE, PAGE], headers={"Sec-GPC": "1"})
    await worker.client.post("/api/event", json=[PAGE, {**PAGE, "domain": "no.example"}])
    await worker.client.post("/api/event", data=b"nonsense")
    found = await samples(worker)
    assert found["headcount_events_received_total", ()] == 6
    assert found["headcount_events_stored_total", ()] == 1
    assert found["headcount_events_ignored_total", (("reason", "gpc"),)] == 2
    assert found["headcount_events_refused_total", (("reason", "unknown_site"),)] == 2
    assert found["headcount_events_refused_total", (("reason", "invalid"),)] == 1
    assert found["headcount_http_answers_total", (("route", "/api/event"), ("status", "2xx"))] == 2
    assert found["headcount_http_answers_total", (("route", "/api/event"), ("status", "4xx"))] == 2


async def test_labels_are_words_of_our_own(worker: Worker) -> None:
    agent = {"User-Agent": "planted-agent"}
    await worker.client.post("/api/event", json=PAGE, headers=agent)
    for path in (
        "/planted",
        "/h.00.js",
        "/api/v1/sites/planted",
        "/h.gif?u=https://planted.example/&d=planted",
    ):
        await worker.client.get(path, headers=agent)
    allowed: dict[str, set[str]] = {
        "reason": set(Ignored),
        "answer": set(Status),
        "check": set(Name),
        "role": set(Role),
        "status": {f"{number}xx" for number in range(1, 6)},
        "route": {
            "no route",
            *(route.path.replace("{hash:[0-9a-f]+}", "{hash}") for route in routes.routes()),
        },
        "le": {"+Inf", *map(str, FLUSH_BUCKETS)},
        "version": {__version__},
    }
    labels = {label for _, labels in await samples(worker) for label in labels}
    assert {name for name, _ in labels} == allowed.keys()
    assert [(name, value) for name, value in labels if value not in allowed[name]] == []


TOKEN = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROXIED = {"X-Forwarded-For": "198.51.100.7"}
LOCAL = {"X-Forwarded-For": "127.0.0.1"}
TRUSTED = {"trusted_proxies": "127.0.0.1/32"}
PUBLIC = {"public_url": "https://count.example"}


@pytest.mark.parametrize(
    ("given", "headers", "status"),
    [
        ({}, {}, 200),
        ({"metrics_token": TOKEN}, {}, 200),
        (PUBLIC, {}, 401),
        ({**PUBLIC, "metrics_token": TOKEN}, {}, 401),
        ({**PUBLIC, "metrics_token": TOKEN}, BEARER, 200),
        ({**PUBLIC, "metrics_token": TOKEN}, {"Authorization": f"bearer {TOKEN}"}, 200),
        ({**PUBLIC, "metrics_token": TOKEN}, {"Authorization": f"Bearer {TOKEN}0"}, 401),
        ({**PUBLIC, "metrics_token": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, 401),
        ({**PUBLIC, "metrics_token": TOKEN}, {"Authorization": "Bearer é"}, 401),
        (PUBLIC, {"Authorization": "Bearer "}, 401),
        (TRUSTED, PROXIED, 401),
        ({**TRUSTED, **PUBLIC}, PROXIED, 401),
        ({**TRUSTED, **PUBLIC}, {}, 200),
        ({**TRUSTED, **PUBLIC, "metrics_token": TOKEN}, {**PROXIED, **BEARER}, 200),
        ({}, PROXIED, 401),
        ({}, LOCAL, 401),
        (TRUSTED, LOCAL, 401),
        ({}, {"Via": "1.1 proxy"}, 401),
    ],
)
async def test_the_figures_are_for_this_machine_and_for_who_brings_the_token(
    tmp_path: Path, given: dict[str, str], headers: dict[str, str], status: int
) -> None:
    async with make.worker(tmp_path, given) as worker:
        response = await worker.client.get("/metrics", headers=headers)
        assert response.status == status
        assert ("headcount_events_received_total" in await response.text()) == (status == 200)


async def test_the_documents_list_every_metric_with_its_kind(worker: Worker) -> None:
    text = await (await worker.client.get("/metrics")).text()
    there = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert dict(re.findall(r"^\| `(headcount_\w+)` \| (\w+) \|", page, re.MULTILINE)) == there


def test_the_documents_say_of_every_check_what_is_wrong_and_what_to_do() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    limits, alarms = page.partition("## Metrics")[0], page.partition("## Alarms")[2]
    assert [name for name in Name if f"| `{name}` |" not in limits or f"| `{name}`" not in alarms] == []
