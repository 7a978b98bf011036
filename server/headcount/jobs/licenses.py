"""The timed work on licenses: the node's copy, the clock of silence, leases, and the counts of a day."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from headcount.clock import Clock
from headcount.jobs.drain import Drain
from headcount.store.heartbeats import Heartbeats
from headcount.store.installs import Installs
from headcount.store.license_copy import LicenseCopy

WHOLE_EVERY = 300.0
"""Seconds between two whole copies: for what a restored database has lost, or a clock that is far behind."""
SHARE = 20
"""Counting the installs takes at most this part of the time: 20 is 5 %."""
COUNT_EVERY = 60.0
"""Seconds after which installs are counted though nothing was heard: some fall silent."""
LAG = 60_000
"""Milliseconds that heartbeats may take to Postgres: while they take longer, nobody loses a seat."""
AFTER_MIDNIGHT = timedelta(minutes=1)


class LicenseJobs:
    """One method a job."""

    def __init__(
        self, installs: Installs, heartbeats: Heartbeats, copy: LicenseCopy, drain: Drain, clock: Clock
    ) -> None:
        self._installs = installs
        self._heartbeats = heartbeats
        self._copy = copy
        self._drain = drain
        self._clock = clock
        self._whole_at: float | None = None
        self._count_after = 0.0
        self._count_by = 0.0

    async def copy(self) -> None:
        """Bring the node's copy of licenses and seats up to date."""
        now = self._clock.monotonic()
        whole = self._whole_at is None or now - self._whole_at > WHOLE_EVERY
        try:
            self._copy.refresh()
            await self._installs.copy_to(self._copy, self._clock.now(), whole)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._copy.begin_anew()
            raise
        if whole:
            self._whole_at = now

    async def tick(self) -> None:
        """Let the clock of silence go on while checks can arrive."""
        await self._heartbeats.tick(self._clock.now(), self._drain.hears())

    async def count(self) -> None:
        """Count the installs as they stand, and for good those of the days that have ended."""
        began = self._clock.monotonic()
        if began < self._count_after or (not self._heartbeats.uncounted and began < self._count_by):
            return
        # What still waits may be of yesterday. Whoever applies it closes the day at the right moment.
        sent = datetime.fromtimestamp(self._drain.sent_before / 1000, UTC)
        try:
            await self._heartbeats.count(min(self._clock.now() - AFTER_MIDNIGHT, sent).date())
        finally:  # also where it failed: it may have taken long
            self._count_after = began + SHARE * (self._clock.monotonic() - began)
        self._count_by = began + COUNT_EVERY

    async def free_silent(self) -> None:
        """Free the seats of installs whose lease has run out."""
        if self._clock.milliseconds() - self._drain.sent_before < LAG:
            await self._installs.free_silent(self._clock.now)
