"""Removes raw rows past the window: today and the days before it, in each site's own zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from headcount import localtime
from headcount.clock import Clock
from headcount.licensed import UTC_ZONE
from headcount.model import Site
from headcount.services.sites import Sites, new_id
from headcount.store.counters import RAW_TABLES, Counters
from headcount.store.postgres import LONG, Database

LAST_ZONE = "Etc/GMT+12"
"""Where every day ends last: a partition whose day is past the window there is past it everywhere."""
KEEP_RECORD = timedelta(days=400)


def first_day(zone: str, retention_days: int, now: datetime) -> date:
    """The oldest local day whose raw rows are kept."""
    return localtime.today(zone, now) - timedelta(days=retention_days - 1)


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
        self.purged_at: int | None = None
        """When `run` has come to its end last, in milliseconds since 1970."""

    async def run(self) -> None:
        """Purge once; safe to run at any time, by any number of nodes."""
        now = self._clock.now()
        await self._drop_partitions(now)
        for site in await self._sites.all():
            await self._delete_rows(site, now)
        await self._database.execute("delete_old_purges", now - KEEP_RECORD)
        await self._counters.ensure_partitions(
            localtime.today(zone, now) for zone in (LAST_ZONE, "Etc/UTC", "Etc/GMT-14")
        )
        self.purged_at = self._clock.milliseconds()

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
