"""Adds up the daily counters of closed months, so that questions over years read months in place of days.

The sums of a month hold as long as its row of the whole site is there. Whoever changes a day of a closed month
deletes that row in the same transaction, and the month is added up again.
"""

from __future__ import annotations

from datetime import timedelta

from headcount.clock import Clock
from headcount.store.postgres import LONG, Database

AFTER = timedelta(days=3)
"""How long after its end a month is added up: most of what is late has come by then."""
MOST = 100
"""Months that are looked for at once."""


class Months:
    """The monthly sums of all sites."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> bool:
        """Add up what is missing. True: there is more."""
        before = (self._clock.now() - AFTER).date().replace(day=1)
        found = await self._database.rows("months_to_sum", before, MOST)
        for row in found:
            async with self._database.transaction() as connection:
                if await self._database.fetch(connection, "hold_site", row["site_id"]):
                    for name in ("clear_month", "sum_month"):
                        await self._database.change(
                            connection, name, row["site_id"], row["month"], seconds=LONG
                        )
        return len(found) == MOST
