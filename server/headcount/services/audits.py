"""Recounts closed days from their raw rows and compares them with the counters, while both are there.

Visitors are left out: raw rows cannot know them. What is found is told in numbers and names of dimensions, never
with values, which may be free text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta

import asyncpg
import msgspec

from headcount import localtime
from headcount.clock import Clock
from headcount.licensed import UTC_ZONE
from headcount.model import NO_SITE, Site
from headcount.services.sites import Sites
from headcount.store.postgres import Database

log = logging.getLogger(__name__)

SUMS = ("visits", "pageviews", "events", "bounces", "duration")
SEATS, HEARTBEATS = "license:used", "license:heartbeats"
GRACE = timedelta(minutes=5)
"""How long after its end a day is recounted at the earliest."""
SECONDS = 300.0
"""What the recount of one day of one site may take."""
KEEP_RESULTS = timedelta(days=400)
_DAY = timedelta(days=1)


class Difference(msgspec.Struct, frozen=True):
    """A dimension whose counters are not what its raw rows say, summed over the values that differ."""

    dimension: str
    """Empty: the site as a whole."""
    values: int
    """How many values differ."""
    counted: list[int]
    recounted: list[int]
    """Of sites in the order of SUMS; of licenses one number."""


class Audit(msgspec.Struct, frozen=True):
    """What became of one audit."""

    site: str
    """Its domain; empty: the licenses of all products."""
    day: date
    compared: bool
    """False: raw rows of the day are missing, because they were purged, not restored, or lost with flushes."""
    differences: list[Difference]


class Due(msgspec.Struct, frozen=True):
    """A day to be audited."""

    site: Site | None
    """None: the licenses of all products, and a day of UTC."""
    day: date


class Audits:
    """The audits of all sites, and of the licenses."""

    def __init__(self, database: Database, sites: Sites, clock: Clock, retention_days: int) -> None:
        self._database = database
        self._sites = sites
        self._clock = clock
        self._retention_days = retention_days

    async def due(self, sent_before: datetime) -> list[Due]:
        """Every closed day with raw rows that was not audited, the oldest first.

        `sent_before`: what was received before this moment is in Postgres.
        """
        now = self._clock.now()
        until = min(now - GRACE, sent_before)
        first = now.date() - timedelta(days=self._retention_days + 1)
        done = {(row["site_id"], row["day"]) for row in await self._database.rows("audited_days", first)}
        found = [Due(site, day) for site in await self._sites.all() for day in self._days(site, now, until)]
        if until.date() > first:
            found.append(Due(None, until.date() - _DAY))
        left = [one for one in found if (_id(one.site), one.day) not in done]
        return sorted(left, key=lambda one: (one.day, _id(one.site)))

    async def run(self, due: Due) -> Audit:
        """Audit one day, keep the result, and log what differs. Raises DatabaseDown, also if it takes too long."""
        recounted = await (self._licenses(due.day) if due.site is None else self._site(due.site, due.day))
        found = Audit(due.site.domain if due.site else "", due.day, recounted is not None, recounted or [])
        await self._database.execute(
            "put_audit",
            _id(due.site),
            due.day,
            self._clock.now(),
            found.compared,
            msgspec.to_builtins(found.differences),
        )
        for one in found.differences:
            log.error(
                "counts do not agree: %s, %s, %s: %d values, counted %s, in raw rows %s",
                found.site or "licenses",
                found.day,
                one.dimension or "the site as a whole",
                one.values,
                one.counted,
                one.recounted,
            )
        return found

    def last_closed(self, site: Site | None) -> date:
        """The last day that has ended."""
        now = self._clock.now()
        return localtime.today(UTC_ZONE if site is None else site.zone_at(now), now - GRACE) - _DAY

    async def forget_old(self) -> None:
        """Results are kept for 400 days."""
        await self._database.execute("delete_old_audits", self._clock.now() - KEEP_RESULTS)

    def _days(self, site: Site, now: datetime, until: datetime) -> Iterable[date]:
        """The closed days of a site whose raw rows are kept."""
        zone = site.zone_at(now)
        kept = min(site.retention_days or self._retention_days, self._retention_days)
        day = max(localtime.today(zone, now) - (kept - 1) * _DAY, site.created_at.date() - _DAY)
        while localtime.day_end(zone, day) <= until:
            yield day
            day += _DAY

    async def _site(self, site: Site, day: date) -> list[Difference] | None:
        async with self._database.snapshot() as connection:
            rows = await self._database.fetch(connection, "recount_day", site.id, day, seconds=SECONDS)
        # Asked afterwards: a partition that is dropped meanwhile is missing in the recount too.
        return _differences(rows) if await self._is_complete(site.id, day) else None

    async def _licenses(self, day: date) -> list[Difference] | None:
        fetch = self._database.fetch
        async with self._database.snapshot() as connection:
            seats = await fetch(connection, "recount_seats", seconds=SECONDS)
            checks = await fetch(connection, "recount_heartbeats", day, seconds=SECONDS)
        rows = ((SEATS, seats[0]), (HEARTBEATS, checks[0]))
        return [
            Difference(name, row["values"], [row["counted"]], [row["recounted"]])
            for name, row in rows
            if row["values"]
        ]

    async def _is_complete(self, site: int, day: date) -> bool:
        """Whether all raw rows of a day are there."""
        purged = await self._database.row("report_purged_before", site)
        lost = await self._database.row("flushes_lost_near", day)
        gone = purged is not None and purged["before"] is not None and day < purged["before"]
        return not gone and not (lost and lost["lost"])


def _id(site: Site | None) -> int:
    return site.id if site is not None else NO_SITE


def _differences(rows: Iterable[asyncpg.Record]) -> list[Difference]:
    return [msgspec.convert(dict(row), Difference) for row in rows]
