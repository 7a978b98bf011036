"""`GET /metrics`: the figures of all processes of this node together, for Prometheus.

Labels are words of our own: routes, reasons, answers, names of checks, roles. Never anything that a client sent.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from headcount import __version__, errors
from headcount.licensed import Status
from headcount.model import Ignored
from headcount.services.health import Finding, Health, Name, Verdict
from headcount.store.figures import FLUSH_BUCKETS, Figures, Role, total
from headcount.web import keys

LEVEL = {Verdict.OK: 0, Verdict.DEGRADED: 1, Verdict.FAILING: 2}

GAUGES = {
    (Name.SPOOL, "batches"): ("spool_batches", "Group commits that the rollup has not taken yet."),
    (Name.SPOOL, "bytes"): ("spool_bytes", "Bytes used in all spools."),
    (Name.SPOOL, "oldest_seconds"): ("spool_oldest_seconds", "Age of the oldest event not taken by the rollup."),
    (Name.SPOOL_FILES, "spools"): ("spool_files", "Spools that can be read."),
    (Name.SPOOL_FILES, "unreadable"): ("spool_files_unreadable", "Spools that cannot be read."),
    (Name.SPOOL_FILES, "set_aside"): ("files_set_aside", "Damaged files that were set aside."),
    (Name.OUTBOX, "flushes"): ("outbox_flushes", "Flushes that wait for Postgres."),
    (Name.OUTBOX, "bytes"): ("outbox_bytes", "Bytes that wait for Postgres."),
    (Name.OUTBOX, "oldest_seconds"): ("outbox_oldest_seconds", "Age of the oldest flush that waits for Postgres."),
    (Name.OUTBOX, "lag_seconds"): ("drain_lag_seconds", "All that was received longer ago is in Postgres."),
    (Name.PURGE, "age_seconds"): ("purge_age_seconds", "Time since the last purge, or since the rollup began."),
    (Name.DISK, "free_bytes"): ("disk_free_bytes", "Free bytes on the disk of the data directory."),
    (Name.DAY_KEYS, "keys"): ("day_keys", "Day keys that exist."),
    (Name.DAY_KEYS, "left_over"): ("day_keys_left_over", "Day keys that should have been destroyed."),
    (Name.COUNTRY_FILE, "age_days"): ("country_file_age_days", "Days since the country file was built."),
    (Name.ROLLUP, "silent_seconds"): ("rollup_silent_seconds", "Time since the rollup last told its figures."),
    (Name.POSTGRES, "silent_seconds"): ("postgres_silent_seconds", "Time since Postgres answered this worker."),
}  # fmt: skip
"""What a check has measured, by the name of its metric (behind `headcount_`) and its help."""


async def metrics(request: web.Request) -> web.Response:
    """The figures, for a program on this machine or one that brings the token of the setting."""
    _admit(request)
    request.app[keys.BOARD].publish()  # the others' are a second old at the most, ours need not be
    health = await asyncio.to_thread(request.app[keys.EXAMINER].look)
    body = await asyncio.to_thread(render, health)
    return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE_PLAIN_0_0_4})


def render(health: Health) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_Once(families(health)))
    return exposition.generate_latest(registry)


def families(health: Health) -> Iterator[Metric]:
    """Every metric there is."""
    yield from _counted(total(one.figures for one in health.processes))
    yield from _measured(health.findings)
    yield from _verdicts(health)
    yield from _of_processes(health)


def _counted(sums: Figures) -> Iterator[Metric]:
    yield _counter("events_received", "Events that came in, counted or not.", sums.received)
    yield _counter(
        "events_stored", "Events that are on the disk: acknowledged, and counted soon.", sums.stored
    )
    events = [reason for reason in Ignored if not reason.startswith("license_")]
    checks = [reason for reason in Ignored if reason.startswith("license_")]
    yield _by("events_ignored", "Events that are not counted, by reason.", "reason", events, sums.ignored)
    yield _by("events_refused", "Events that were answered with an error.", "reason", events, sums.refused)
    yield _by("license_checks", "License checks by their signed answer.", "answer", Status, sums.checks)
    yield _by(
        "license_checks_refused",
        "License checks, or fields of them, that were not taken.",
        "reason",
        checks,
        sums.checks_refused,
    )
    answers = CounterMetricFamily("headcount_http_answers", "HTTP answers.", labels=["route", "status"])
    for (route, hundreds), number in sorted(sums.answers.items()):
        answers.add_metric([route, f"{hundreds}xx"], number)
    yield answers
    flushes = HistogramMetricFamily("headcount_flush_seconds", "Time that Postgres took for a flush.")
    flushes.add_metric([], _cumulated(sums.flushes), sums.flush_seconds)
    yield flushes


def _measured(findings: dict[Name, Finding]) -> Iterator[Metric]:
    for (check, value), (name, help) in GAUGES.items():
        family = GaugeMetricFamily(f"headcount_{name}", help)
        if value in findings[check].measured:  # what is not known is not told
            family.add_metric([], findings[check].measured[value])
        yield family


def _verdicts(health: Health) -> Iterator[Metric]:
    checks = GaugeMetricFamily(
        "headcount_check", "Verdict of each check: 0 ok, 1 degraded, 2 failing.", labels=["check"]
    )
    for name, finding in health.findings.items():
        checks.add_metric([name], LEVEL[finding.verdict])
    yield checks
    yield GaugeMetricFamily(
        "headcount_ready",
        "0: events are turned away. 1: they are kept.",
        value=health.status is not Verdict.FAILING,
    )


def _of_processes(health: Health) -> Iterator[Metric]:
    living = GaugeMetricFamily("headcount_processes", "Processes at work.", labels=["role"])
    resident = GaugeMetricFamily("headcount_process_resident_bytes", "Memory in use.", labels=["role"])
    cpu = CounterMetricFamily("headcount_process_cpu_seconds", "Time of the processor.", labels=["role"])
    for role in Role:
        at_work = [one for one in health.at_work if one.role is role]
        living.add_metric([role], len(at_work))
        resident.add_metric([role], sum(one.resident for one in at_work))
        cpu.add_metric([role], sum(one.figures.cpu_seconds for one in health.processes if one.role is role))
    yield from (living, resident, cpu)
    yield InfoMetricFamily("headcount_build", "The version that answers.", value={"version": __version__})


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"headcount_{name}", help, value=value)


def _by(name: str, help: str, label: str, words: Iterable[str], counted: dict[str, int]) -> Metric:
    """One sample for each word there is, also for what has not happened yet."""
    family = CounterMetricFamily(f"headcount_{name}", help, labels=[label])
    for word in words:
        family.add_metric([word], counted.get(word, 0))
    return family


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    bounds = [*map(str, FLUSH_BUCKETS), "+Inf"]
    return [(bound, sum(counts[: place + 1])) for place, bound in enumerate(bounds)]


def _admit(request: web.Request) -> None:
    """Raises NotAllowed. The figures are sums over all sites, and yet they are the operator's alone."""
    token = request.app[keys.CONFIG].metrics_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return
    if (
        request.app[keys.CONFIG].knows_its_clients
        and request.app[keys.HOT].client_of(request).is_this_machine()
    ):
        return
    raise errors.NotAllowed(
        "authorization", "is required: `Bearer` and HEADCOUNT_METRICS_TOKEN, or ask from the machine itself"
    )


class _Once(Collector):
    def __init__(self, found: Iterator[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found
