"""Removes raw rows past the window: today and the days before it, in each site's own zone."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta

from headcount import errors, localtime
from headcount.clock import Clock
from headcount.licensed import UTC_ZONE
from headcount.model import Site
from headcount.services.sites import Sites, new_id
from headcount.store.counters import RAW_TABLES, Counters
from headcount.store.postgres import LONG, Database

log = logging.getLogger(__name__)

LAST_ZONE = "Etc/GMT+12"
"""Where every day ends last: a partition whose day is past the window there is past it everywhere."""
KEEP_RECORD = timedelta(days=400)
JUMP = timedelta(hours=12)
"""How far the clock may step forward between two purges of a process, until nothing is deleted by it for a while."""
BELIEVED = 24 * 3600.0
"""Seconds after which a clock that has stepped further is believed: nobody has set it back."""


def first_day(zone: str, retention_days: int, now: datetime) -> date:
    """The oldest local day whose raw rows are kept."""
    return localtime.today(zone, now) - timedelta(days=retention_days - 1)


class ClockJumped(errors.ServiceBusy):
    """Nothing is deleted by a clock that has jumped until it is right again, a day has passed, or a restart."""


class Purge:
    """Drops whole partitions, and deletes rows of sites whose window is shorter or whose day began earlier."""

    def __init__(
        self, database: Database, sites: Sites, counters: Counters, clock: Clock, retention_days: int
    ) -> None:
        self._database = database
        self._sites = sites
        self._counters = counters
        self._clock = clock
        self._retention_days = retention_days
        self._believed: timedelta | None = None
        """How far the clock was ahead of one that never steps, when it was believed last."""
        self._doubted_at: float | None = None
        self.purged_at: int | None = None
        """When `run` has come to its end last, in milliseconds since 1970."""

    async def run(self) -> None:
        """Purge once; safe to run at any time, by any number of nodes."""
        now = self.believed_now()
        await self._drop_partitions(now)
        for site in await self._sites.all():
            await self._delete_rows(site, now)
        await self._database.execute("delete_old_purges", now - KEEP_RECORD)
        await self._counters.ensure_partitions(
            localtime.today(zone, now) for zone in (LAST_ZONE, "Etc/UTC", "Etc/GMT-14")
        )
        self.purged_at = self._clock.milliseconds()

    def believed_now(self) -> datetime:
        """The moment, if what is deleted by it may be deleted. Raises ClockJumped for a day after a step forward."""
        now, steady = self._clock.now(), self._clock.monotonic()
        ahead = now - datetime.fromtimestamp(steady, UTC)
        if self._believed is not None and ahead - self._believed > JUMP:
            if self._doubted_at is None:
                self._doubted_at = steady
                hours = (ahead - self._believed) / timedelta(hours=1)
                log.error("the clock has stepped forward by %.0f hours. %s", hours, ClockJumped.__doc__)
            if steady - self._doubted_at < BELIEVED:
                raise ClockJumped
        self._believed, self._doubted_at = ahead, None
        return now

    async def _drop_partitions(self, now: datetime) -> None:
        keep_from = {
            table: first_day(UTC_ZONE if table == "heartbeat" else LAST_ZONE, self._retention_days, now)
            for table in RAW_TABLES
        }
        for row in await self._database.rows("raw_partitions"):
            table, _, written = row["name"].partition("_")
            day = datetime.strptime(written, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
            if day >= keep_from[table]:
                continue
            async with self._database.transaction() as connection:
                count = f"select count(*) from {table}_{written}"  # noqa: S608 - our own name
                rows = await connection.fetchval(count, timeout=LONG)
                # Behind a long report this would wait, and every flush behind this: rather try again.
                await connection.execute("set local lock_timeout = '3s'")
                await connection.execute(f"drop table {table}_{written}")
                await self._database.change(
                    connection, "add_purge", new_id(), now, "partition", None, day + timedelta(days=1), rows
                )
        self._counters.forget_partitions()

    async def _delete_rows(self, site: Site, now: datetime) -> None:
        days = min(site.retention_days or self._retention_days, self._retention_days)
        before = first_day(site.zone_at(now), days, now)
        async with self._database.transaction() as connection:
            rows = await self._database.change(connection, "delete_old_hits", site.id, before, seconds=LONG)
            rows += await self._database.change(
                connection, "delete_old_visits", site.id, before, seconds=LONG
            )
            if rows:
                await self._database.change(
                    connection, "add_purge", new_id(), now, "rows", site.id, before, rows
                )
