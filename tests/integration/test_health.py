"""What operators see: whether the node can be sent events, and the figures for Prometheus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import make
from headcount import __version__
from headcount.clock import Clock
from headcount.licensed import Status
from headcount.model import Ignored, Scope
from headcount.services import health
from headcount.services.health import Name
from headcount.store import daykeys
from headcount.store.figures import FLUSH_BUCKETS, FOLDER, Board, Progress, Role
from headcount.web import keys, routes
from make import Worker

PAGE = {"name": "pageview", "url": "https://example.com/secret/203.0.113.77?q=planted"}


@pytest.fixture(autouse=True)
def _looked_at_anew_and_by_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH", 0)
    # Neither how full this disk is nor what day it is today is what is tried here.
    monkeypatch.setattr(health, "LITTLE_DISK", 0)
    monkeypatch.setattr(health, "NO_DISK", 0)
    monkeypatch.setattr(health, "OLD_COUNTRIES", 1e6)


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


def rollup_says(worker: Worker, silent: float = 0, **given: int | None) -> None:
    """Publish what a rollup would that did so this long ago; ages in milliseconds."""
    now = Clock().milliseconds()
    moments = ("oldest", "sent_before", "purged_at", "started_at")
    given = {"flushes": 0, "bytes": 0, **dict.fromkeys(moments, 1000), **given}
    told = {
        name: now - value if name in moments and value is not None else value for name, value in given.items()
    }
    folder = daykeys.folder(worker.data_dir) / FOLDER
    rollup = Board(folder, Role.ROLLUP, lambda: Clock().monotonic() - silent)
    rollup.publish(Progress(**told))  # type: ignore[arg-type] # as the test gives them
    rollup.close()


async def verdict(worker: Worker, check: str) -> str:
    status, found = await ready(worker)
    vital = ("settings", "spool", "disk", "day_keys")
    failing = any(found["checks"][name]["verdict"] == "failing" for name in vital)
    assert (status, found["status"] == "failing") == ((503, True) if failing else (200, False))
    return str(found["checks"][check]["verdict"])


HOUR = 3_600_000


@pytest.mark.parametrize(
    ("check", "says", "expected"),
    [
        ("rollup", {}, "ok"),
        ("rollup", {"silent": 9}, "ok"),
        ("rollup", {"silent": 11}, "failing"),
        ("outbox", {"flushes": 3, "bytes": 1 << 20, "oldest": 30_000}, "ok"),
        ("outbox", {"flushes": 3, "bytes": 1 << 20, "oldest": 61_000}, "degraded"),
        ("outbox", {"flushes": 3, "bytes": (1 << 20) + 1, "oldest": 61_000}, "failing"),
        ("outbox", {"oldest": -HOUR}, "ok"),
        ("outbox", {"oldest": None}, "ok"),
        ("purge", {"purged_at": HOUR}, "ok"),
        ("purge", {"purged_at": 4 * HOUR}, "failing"),
        ("purge", {"purged_at": None, "started_at": HOUR}, "ok"),
        ("purge", {"purged_at": None, "started_at": 4 * HOUR}, "failing"),
    ],
)
async def test_what_a_rollup_says_is_judged_by_its_limits(
    tmp_path: Path, check: str, says: dict[str, Any], expected: str
) -> None:
    async with make.worker(tmp_path, {"outbox_limit": str(1 << 20)}) as worker:
        rollup_says(worker, **says)
        assert await verdict(worker, check) == expected


async def test_without_a_word_of_a_rollup_nothing_is_claimed_of_its_work(worker: Worker) -> None:
    assert [await verdict(worker, name) for name in ("rollup", "outbox", "purge")] == [
        "failing", "degraded", "degraded",
    ]  # fmt: skip
    unknown = {"headcount_outbox_bytes", "headcount_drain_lag_seconds", "headcount_purge_age_seconds"}
    assert unknown.isdisjoint(name for name, _ in await samples(worker))


async def test_a_node_that_has_never_known_its_sites_is_not_ready(tmp_path: Path) -> None:
    async with make.worker(tmp_path, sites=None) as worker:
        assert await verdict(worker, "settings") == "failing"
        assert (await samples(worker))["headcount_ready", ()] == 0
        make.write_settings(tmp_path, [make.site()])
        worker.app[keys.SETTINGS].refresh()
        assert await verdict(worker, "settings") == "ok"
        assert (await samples(worker))["headcount_ready", ()] == 1


async def test_a_spool_that_is_full_makes_the_node_not_ready_until_it_was_taken(tmp_path: Path) -> None:
    async with make.worker(tmp_path, {"spool_limit": str(1 << 20), "rate_limit": "0"}) as worker:
        many = [{**PAGE, "props": {"plan": "x" * 100}, "url": f"https://example.com/{n}"} for n in range(500)]
        while await verdict(worker, "spool") != "failing":
            assert (await worker.client.post("/api/event", json=many)).status == 202
        assert (await worker.client.post("/api/event", json=many)).status == 503
        found = await samples(worker)
        assert found["headcount_events_refused_total", (("reason", "busy"),)] == 500
        assert found["headcount_spool_bytes", ()] > 1 << 20
        worker.take_everything()
        while await verdict(worker, "spool") == "failing":  # noqa: ASYNC110 - it heals by a timed job
            await asyncio.sleep(0.02)
        assert (await worker.client.post("/api/event", json=PAGE)).status == 202


async def test_what_the_rollup_leaves_waiting_in_the_spool_degrades(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.client.post("/api/event", json=PAGE)
    assert await verdict(worker, "spool") == "ok"
    monkeypatch.setattr(health, "LATE", 0.01)
    await asyncio.sleep(0.02)
    assert await verdict(worker, "spool") == "degraded"
    worker.take_everything()
    assert await verdict(worker, "spool") == "ok"


async def test_a_disk_that_fills_up_degrades_and_a_full_one_fails(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await verdict(worker, "disk") == "ok"
    monkeypatch.setattr(health, "LITTLE_DISK", 1 << 60)
    assert await verdict(worker, "disk") == "degraded"
    monkeypatch.setattr(health, "NO_DISK", 1 << 60)
    assert await verdict(worker, "disk") == "failing"


async def test_a_day_key_that_outlives_its_day_degrades(worker: Worker) -> None:
    folder = daykeys.folder(worker.data_dir)
    await worker.client.post("/api/event", json=PAGE)
    assert await verdict(worker, "day_keys") == "ok"
    (folder / "Europe~Riga@2026-01-01").write_bytes(bytes(32))
    assert await verdict(worker, "day_keys") == "degraded"
    assert (await samples(worker))["headcount_day_keys_left_over", ()] == 1
    worker.app[keys.EXAMINER]._keys_of_days.destroy_ended(Clock().now())
    assert await verdict(worker, "day_keys") == "ok"


async def test_without_a_place_for_day_keys_the_node_is_not_ready(worker: Worker) -> None:
    folder = daykeys.folder(worker.data_dir)
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    folder.touch()  # something else stands there
    assert await verdict(worker, "day_keys") == "failing"
    folder.unlink()
    away.rename(folder)
    assert await verdict(worker, "day_keys") == "ok"


async def test_an_old_country_file_degrades(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await verdict(worker, "country_file") == "ok"
    monkeypatch.setattr(health, "OLD_COUNTRIES", 0)
    assert await verdict(worker, "country_file") == "degraded"


async def test_a_spool_that_cannot_be_read_degrades(worker: Worker) -> None:
    assert await verdict(worker, "spool_files") == "ok"
    (worker.data_dir / "spool" / "0.db").write_bytes(b"no database" * 1000)
    (worker.data_dir / "spool" / "0.lock").touch()
    assert await verdict(worker, "spool_files") == "degraded"


async def test_postgres_is_well_when_it_answers_with_our_schema(tmp_path: Path, dsn: str, empty: str) -> None:
    for url, expected in ((dsn, "ok"), (empty, "failing"), (make.NO_POSTGRES, "failing")):
        async with make.worker(tmp_path, {"database_url": url}) as worker:
            await worker.app[keys.EXAMINER].ask_postgres()
            assert await verdict(worker, "postgres") == expected


async def test_a_postgres_that_falls_silent_is_noticed(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make.worker(tmp_path, {"database_url": dsn}) as worker:
        await worker.app[keys.EXAMINER].ask_postgres()
        monkeypatch.setattr(health, "UNANSWERED", -1)
        assert await verdict(worker, "postgres") == "failing"


async def test_health_tells_no_site_path_or_version(worker: Worker) -> None:
    _, found = await ready(worker)
    text = str(found)
    assert not [
        word for word in (str(worker.data_dir), "example.com", __version__, "postgresql:") if word in text
    ]


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
