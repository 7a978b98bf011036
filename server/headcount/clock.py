"""The only place where the time is read. Everything else takes a clock or a moment as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The time of this machine."""

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the one place

    def milliseconds(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never step, from an unknown start: for intervals only."""
        return time.monotonic()
