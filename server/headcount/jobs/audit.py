"""Audits each closed day once, one site at a time, before its raw rows are purged."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from headcount.clock import Clock
from headcount.jobs.drain import Drain
from headcount.services.audits import Audits, Due

LOOK_EVERY = 600.0
"""Seconds between two looks for days that have closed."""


class Auditor:
    """The list of what is to be audited, worked through one by one."""

    def __init__(self, audits: Audits, drain: Drain, clock: Clock) -> None:
        self._audits = audits
        self._drain = drain
        self._clock = clock
        self._waiting: deque[Due] = deque()
        self._look_at = clock.monotonic()

    async def run(self) -> bool:
        """Audit one day of one site. True: there are more."""
        if not self._waiting and self._clock.monotonic() >= self._look_at:
            sent = datetime.fromtimestamp(self._drain.sent_before / 1000, UTC)
            self._waiting.extend(await self._audits.due(sent))
            await self._audits.forget_old()
            self._look_at = self._clock.monotonic() + LOOK_EVERY
        if self._waiting:
            # Taken off first: one that cannot be done now waits for the next look, and holds nobody up.
            await self._audits.run(self._waiting.popleft())
        return bool(self._waiting)
