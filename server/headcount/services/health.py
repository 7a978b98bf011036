"""Whether this node collects, and what about it needs a hand. Aggregates only: no site, no path, no version.

Collecting goes on without Postgres and without the rollup; so only what stands in VITAL takes a server out of
service. Everything else that is wrong makes it degraded.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import msgspec

from headcount import errors
from headcount.clock import Clock
from headcount.store import backlog, files, migrations
from headcount.store.daykeys import DayKeys
from headcount.store.figures import SILENCE, Board, Progress, Published, Role
from headcount.store.geoip import Facts
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile

LATE = 60.0
"""Seconds after which what waits, in a spool or for Postgres, has waited for too long."""
ASK_EVERY = 2.0
"""Seconds between two questions to Postgres."""
UNANSWERED = 15.0
"""Seconds after which a Postgres that has not answered counts as down: one statement may take a few."""
LITTLE_DISK = 1 << 30
NO_DISK = 16 << 20
"""Bytes that should be free on the disk of the data directory, and without which nothing can be kept."""
PURGE_LATE = 3 * 3600.0
"""Seconds that a purge, which runs hourly, may be late."""
KEY_SLACK = timedelta(minutes=1)
"""How much later than it should a day key may be destroyed."""
OLD_COUNTRIES = 365.0
"""Days after which a country file is out of date."""
FRESH = 1.0
"""Seconds that a look is good for: whoever asks more often gets the same answer."""


class Verdict(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


class Name(StrEnum):
    """What is looked at."""

    SETTINGS = "settings"
    SPOOL = "spool"
    DISK = "disk"
    DAY_KEYS = "day_keys"
    POSTGRES = "postgres"
    ROLLUP = "rollup"
    OUTBOX = "outbox"
    PURGE = "purge"
    COUNTRY_FILE = "country_file"
    SPOOL_FILES = "spool_files"


VITAL = frozenset({Name.SETTINGS, Name.SPOOL, Name.DISK, Name.DAY_KEYS})
"""Where one of these fails, no event can be kept."""


class Finding(msgspec.Struct, frozen=True):
    """The verdict on one thing, in a sentence, with what was measured and the limits for it."""

    verdict: Verdict
    says: str
    measured: Mapping[str, float] = {}
    limits: Mapping[str, float] = {}


class Health(msgspec.Struct, frozen=True):
    """All findings of one moment."""

    findings: dict[Name, Finding]
    processes: list[Published]
    """What the processes of the node have counted, those that ended as well."""
    at_work: list[Published]
    """Those of them that still run."""

    @property
    def status(self) -> Verdict:
        """Failing: events are turned away. Degraded: they are kept, but something needs a hand."""
        verdicts = {name: finding.verdict for name, finding in self.findings.items()}
        if any(verdicts[name] is Verdict.FAILING for name in VITAL):
            return Verdict.FAILING
        return Verdict.OK if set(verdicts.values()) == {Verdict.OK} else Verdict.DEGRADED


class Examiner:
    """Looks at this node, from a web worker. What it found is good for a second."""

    def __init__(
        self,
        *,
        data_dir: Path,
        outbox_limit: int,
        spool_limit: int,
        spool_full: Callable[[], bool],
        country_file: Callable[[], Facts | None],
        settings: SettingsFile,
        keys_of_days: DayKeys,
        board: Board,
        database: Database,
        clock: Clock,
    ) -> None:
        self._data_dir = data_dir
        self._outbox_limit = outbox_limit
        self._spool_limit = spool_limit
        self._spool_full = spool_full
        self._country_file = country_file
        self._settings = settings
        self._keys_of_days = keys_of_days
        self._board = board
        self._database = database
        self._clock = clock
        self._postgres = Finding(Verdict.DEGRADED, "Postgres has not been asked yet.")
        self._answered_at = clock.monotonic()
        self._found: Health | None = None
        self._found_at = 0.0
        self._alone = threading.Lock()  # of many who ask at once, one looks

    async def ask_postgres(self) -> None:
        """Ask Postgres whether it is there and has our schema. A timed job: nobody who asks us waits for it."""
        began = self._clock.monotonic()
        try:
            async with self._database.connection() as connection:
                applied = await migrations.are_applied(connection)
        except errors.ServiceBusy:
            self._postgres = Finding(
                Verdict.FAILING, "Postgres does not answer; events are collected, and wait for it."
            )
            return
        self._answered_at = self._clock.monotonic()
        took = {"seconds": self._answered_at - began}
        if applied:
            self._postgres = Finding(
                Verdict.OK, "Postgres answers, and has the schema of this version.", took
            )
        else:
            self._postgres = Finding(Verdict.FAILING, "The schema is not the one of this version.", took)

    def look(self) -> Health:
        """How it stands now. Reads files: call it in a thread."""
        with self._alone:
            now = self._clock.monotonic()
            if self._found is None or now - self._found_at >= FRESH:
                self._found, self._found_at = self._look(), now
            return self._found

    def _look(self) -> Health:
        processes = self._board.read()
        rollup = max(
            (one for one in processes if one.role is Role.ROLLUP), key=lambda one: one.at, default=None
        )
        progress = rollup.progress if rollup is not None else None
        waiting = backlog.look(self._data_dir / "spool")
        findings = {
            Name.SETTINGS: self._of_settings(),
            Name.SPOOL: self._of_spool(waiting),
            Name.DISK: self._of_disk(),
            Name.DAY_KEYS: self._of_day_keys(),
            Name.POSTGRES: self._of_postgres(),
            Name.ROLLUP: self._of_rollup(rollup),
            Name.OUTBOX: self._of_outbox(progress),
            Name.PURGE: self._of_purge(progress),
            Name.COUNTRY_FILE: self._of_country_file(),
            Name.SPOOL_FILES: _of_spool_files(waiting, len(files.damaged(self._data_dir))),
        }
        now = self._clock.monotonic()
        return Health(findings, processes, [one for one in processes if one.silence(now) <= SILENCE])

    def _of_settings(self) -> Finding:
        if self._settings.loaded:
            return Finding(Verdict.OK, "Sites, tokens and products are known.")
        return Finding(Verdict.FAILING, "Sites are not known yet: the rollup has to reach Postgres once.")

    def _of_spool(self, waiting: backlog.Backlog) -> Finding:
        measured = {
            "batches": waiting.batches,
            "bytes": waiting.bytes,
            "fullest_bytes": waiting.fullest,
            "oldest_seconds": self._since(waiting.oldest),
        }
        limits = {"fullest_bytes": self._spool_limit, "oldest_seconds": LATE}
        if self._spool_full():
            return Finding(Verdict.FAILING, "Events cannot be kept, and are answered 503.", measured, limits)
        if measured["oldest_seconds"] > LATE or waiting.fullest > self._spool_limit / 2:
            return Finding(Verdict.DEGRADED, "Events wait for the rollup for too long.", measured, limits)
        return Finding(Verdict.OK, "The rollup takes what comes in.", measured, limits)

    def _of_disk(self) -> Finding:
        measured = {"free_bytes": shutil.disk_usage(self._data_dir).free}
        limits = {"free_bytes": LITTLE_DISK}
        if measured["free_bytes"] < NO_DISK:
            return Finding(Verdict.FAILING, "The disk of the data directory is full.", measured, limits)
        if measured["free_bytes"] < LITTLE_DISK:
            return Finding(Verdict.DEGRADED, "The disk of the data directory fills up.", measured, limits)
        return Finding(Verdict.OK, "There is room on the disk of the data directory.", measured, limits)

    def _of_day_keys(self) -> Finding:
        left_over = self._keys_of_days.left_over(self._clock.now(), KEY_SLACK)
        measured = {"keys": len(self._keys_of_days.alive()), "left_over": len(left_over)}
        limits = {"left_over": 0}
        if not self._keys_of_days.usable():
            return Finding(Verdict.FAILING, "No day key can be made: the RAM disk is gone.", measured, limits)
        if left_over:
            return Finding(Verdict.DEGRADED, "Keys of ended days were not destroyed.", measured, limits)
        return Finding(Verdict.OK, "Only days that are not over have keys.", measured, limits)

    def _of_postgres(self) -> Finding:
        silent = self._clock.monotonic() - self._answered_at
        measured, limits = (
            {"silent_seconds": silent, **self._postgres.measured},
            {"silent_seconds": UNANSWERED},
        )
        found = msgspec.structs.replace(self._postgres, measured=measured, limits=limits)
        if silent <= UNANSWERED or found.verdict is Verdict.FAILING:
            return found
        return Finding(Verdict.FAILING, "Postgres has not answered for too long.", measured, limits)

    def _of_rollup(self, rollup: Published | None) -> Finding:
        limits = {"silent_seconds": SILENCE}
        if rollup is None:
            return Finding(Verdict.FAILING, "No rollup has begun: what comes in waits.", {}, limits)
        measured = {"silent_seconds": rollup.silence(self._clock.monotonic())}
        if measured["silent_seconds"] > SILENCE:
            return Finding(
                Verdict.FAILING, "The rollup is gone or stuck: what comes in waits.", measured, limits
            )
        return Finding(Verdict.OK, "The rollup is at work.", measured, limits)

    def _of_outbox(self, progress: Progress | None) -> Finding:
        limits = {"bytes": self._outbox_limit, "oldest_seconds": LATE}
        if progress is None:
            return Finding(Verdict.DEGRADED, "Nothing is known of what waits for Postgres.", {}, limits)
        measured = {
            "flushes": progress.flushes,
            "bytes": progress.bytes,
            "oldest_seconds": self._since(progress.oldest),
        }
        if progress.sent_before:
            measured["lag_seconds"] = self._since(progress.sent_before)
        if progress.bytes > self._outbox_limit:
            return Finding(Verdict.FAILING, "No more may wait: now the spools fill up.", measured, limits)
        if measured["oldest_seconds"] > LATE:
            return Finding(Verdict.DEGRADED, "Flushes wait for Postgres for too long.", measured, limits)
        return Finding(Verdict.OK, "What was counted reaches Postgres.", measured, limits)

    def _of_purge(self, progress: Progress | None) -> Finding:
        limits = {"age_seconds": PURGE_LATE}
        if progress is None:
            return Finding(Verdict.DEGRADED, "Nothing is known of the last purge.", {}, limits)
        purged = progress.purged_at is not None
        measured = {"age_seconds": self._since(progress.purged_at if purged else progress.started_at)}
        if measured["age_seconds"] > PURGE_LATE:
            return Finding(Verdict.FAILING, "Raw rows are not purged: some may be too old.", measured, limits)
        says = "Raw rows were purged lately." if purged else "The rollup has just begun, and purges soon."
        return Finding(Verdict.OK, says, measured, limits)

    def _of_country_file(self) -> Finding:
        facts, limits = self._country_file(), {"age_days": OLD_COUNTRIES}
        if facts is None:
            return Finding(
                Verdict.DEGRADED, "There is no country file: countries are not counted.", {}, limits
            )
        measured = {"age_days": max(0.0, (self._clock.now() - facts.built_at) / timedelta(days=1))}
        if measured["age_days"] > OLD_COUNTRIES:
            return Finding(
                Verdict.DEGRADED, "The country file is old: countries get wrong.", measured, limits
            )
        return Finding(Verdict.OK, "The country file is recent enough.", measured, limits)

    def _since(self, moment: int | None) -> float:
        """Seconds since a moment in milliseconds; 0 for none, and for one to come."""
        return max(0, self._clock.milliseconds() - moment) / 1000 if moment is not None else 0.0


def _of_spool_files(waiting: backlog.Backlog, set_aside: int) -> Finding:
    measured = {"spools": waiting.spools, "unreadable": waiting.unreadable, "set_aside": set_aside}
    limits = {"unreadable": 0, "set_aside": 0}
    if set_aside:
        return Finding(Verdict.DEGRADED, "A damaged file was set aside: the log says more.", measured, limits)
    if waiting.unreadable:
        return Finding(Verdict.DEGRADED, "A spool cannot be read: it may be damaged.", measured, limits)
    return Finding(Verdict.OK, "Every spool can be read.", measured, limits)
