"""Where flushes arrive in Postgres: the fence and all effects of one flush in one transaction.

No row changed by the fence: find out why, never assume. It was applied before, or the database is behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg

from headcount import errors, visits
from headcount.model import NO_SITE, VISIT_DIMENSIONS, CountRow, Counts, Flush, HitRow, VisitRow
from headcount.store.heartbeats import Heartbeats
from headcount.store.postgres import Database

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

RAW_TABLES = ("hit", "visit", "heartbeat")
_HIT_COLUMNS = (
    "site_id",
    "day",
    "visit",
    "order",
    "minute",
    "hour",
    "name",
    "hostname",
    "page",
    "props",
    "scroll",
)
_VISIT_COLUMNS = (
    "site_id",
    "day",
    "visit",
    "minute",
    *VISIT_DIMENSIONS,
    "entry_page",
    "exit_page",
    "pageviews",
    "events",
    "bounce",
    "duration",
)
_COUNT_COLUMNS = ("site_id", "day", "dimension", "value", "visitors", *Counts._fields)
_HOUR_COLUMNS = ("site_id", "day", "hour", "visitors", *Counts._fields[:5])


class Applied(Enum):
    """What became of a flush."""

    NOW = 1
    BEFORE = 2
    BEHIND = 3
    """The database lacks earlier flushes: it was restored from an older copy."""
    AHEAD = 4
    """The database has later flushes of this node: the node's state file is an older copy."""


class Counters:
    """The counters and raw rows of all sites, and what licenses bring."""

    def __init__(self, database: Database, heartbeats: Heartbeats) -> None:
        self._database = database
        self._heartbeats = heartbeats
        self._partitions: set[date] = set()

    async def apply(self, source: str, number: int, flush: Flush, now: datetime) -> Applied:
        """Apply flush `number` of a node exactly once. Raises FlushRefused if it holds what cannot be stored."""
        parts = (flush.hits, flush.visits, flush.heartbeats)
        await self.ensure_partitions({row.day for part in parts for row in part})
        database = self._database
        try:
            async with database.transaction() as connection:
                if number == 1:
                    await database.change(connection, "register_source", source, 0, now)
                if not await database.change(connection, "fence_flush", source, number, now):
                    return _explain(await self._applied(connection, source), number)
                living = await self._living(connection, flush)
                await self._add(connection, living)
                await self._unsettle_months(connection, living.counts, now)
                if flush.heartbeats or flush.sharing:
                    await self._heartbeats.apply(connection, flush.heartbeats, flush.sharing, now)
            self._heartbeats.uncounted |= bool(flush.heartbeats)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, errors.Conflict) as error:
            self.forget_partitions()  # another node's purge may have dropped one that we made
            # Only the kind: the rest may quote values.
            raise errors.FlushRefused(f"Postgres refuses flush {number}: {type(error).__name__}") from None
        return Applied.NOW

    async def applied(self, source: str) -> int:
        """The last flush of the node that is in; -1 if the database does not know the node."""
        async with self._database.connection() as connection:
            return await self._applied(connection, source)

    async def skip(self, source: str, to: int, first_missing: int, now: datetime) -> None:
        """Go on after flushes that are lost for good, and report them."""
        async with self._database.transaction() as connection:
            await self._database.change(connection, "register_source", source, 0, now)
            await self._database.change(connection, "skip_flushes", source, to, now)
            await self._database.change(connection, "add_gap", source, first_missing, to, now)

    async def ensure_partitions(self, days: Iterable[date]) -> None:
        """Make the partitions of raw rows for these days, if they are missing."""
        for day in sorted(set(days) - self._partitions):
            async with self._database.connection() as connection:
                for table in RAW_TABLES:
                    await connection.execute(
                        f"create table if not exists {table}_{day:%Y%m%d} partition of {table}"
                        f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
                    )
            self._partitions.add(day)

    def forget_partitions(self) -> None:
        """Look again which partitions exist: some were dropped, or it is another database."""
        self._partitions.clear()

    async def _applied(self, connection: Connection, source: str) -> int:
        rows = await self._database.fetch(connection, "applied_flush", source)
        return int(rows[0]["applied"]) if rows else -1

    async def _living(self, connection: Connection, flush: Flush) -> Flush:
        """The flush without what belongs to sites that were deleted or reset meanwhile."""
        parts = (flush.hits, flush.visits, flush.counts, flush.dropped)
        sites = {row.site for part in parts for row in part}
        found = await self._database.fetch(connection, "lock_sites", sorted(sites))
        living = {row["id"] for row in found} | {NO_SITE}
        if sites <= living:
            return flush
        kept = ([row for row in part if row.site in living] for part in parts)
        return Flush(*kept)  # type: ignore[arg-type] # each part is of its own rows

    async def _unsettle_months(
        self, connection: Connection, counts: Iterable[CountRow], now: datetime
    ) -> None:
        """What is late changes days of closed months, whose sums hold no more."""
        this_month = now.date().replace(day=1)
        late = sorted({(row.site, row.day.replace(day=1)) for row in counts if row.day < this_month})
        if late:
            await self._database.change(connection, "unsettle_months", *map(list, zip(*late, strict=True)))

    async def _add(self, connection: Connection, flush: Flush) -> None:
        database = self._database
        counts = _summed(flush.counts)
        hours = [_hour_record(row) for row in counts if row.dimension == visits.HOUR]
        days = [_count_record(row) for row in counts if row.dimension != visits.HOUR]
        if flush.hits:
            await database.copy(connection, "hit", _HIT_COLUMNS, map(_hit_record, flush.hits))
        if flush.visits:
            await database.change(connection, "stage_visits")
            await database.copy(connection, "staged_visit", _VISIT_COLUMNS, map(_visit_record, flush.visits))
            await database.change(connection, "put_visits")
        if days:
            await database.change(connection, "stage_counts")
            await database.copy(connection, "staged_count", _COUNT_COLUMNS, days)
            await database.change(connection, "add_counts")
        if hours:
            await database.change(connection, "stage_hours")
            await database.copy(connection, "staged_hour", _HOUR_COLUMNS, hours)
            await database.change(connection, "add_hours")
        if flush.dropped:
            # Sorted, so that two nodes that touch the same rows take their locks in the same order.
            dropped = sorted((row.site, row.day, row.reason, row.count) for row in flush.dropped)
            await database.change(connection, "add_dropped", *map(list, zip(*dropped, strict=True)))


def _explain(applied: int, number: int) -> Applied:
    if applied == number:
        return Applied.BEFORE
    return Applied.AHEAD if applied > number else Applied.BEHIND


def _summed(rows: Iterable[CountRow]) -> list[CountRow]:
    """One row a counter: an upsert may meet each only once.

    A redaction gives two values one name, and a new time zone may give one day two ledgers.
    """
    sums: dict[tuple[int, date, str, str], CountRow] = {}
    for row in rows:
        key = (row.site, row.day, row.dimension, row.value)
        old = sums.get(key)
        if old is not None:
            both = tuple(one + other for one, other in zip(old.counts, row.counts, strict=True))
            row = CountRow(*key, old.visitors + row.visitors, both)
        sums[key] = row
    return list(sums.values())


@lru_cache(maxsize=1000)
def _moment(seconds: int) -> datetime:
    """Most rows of a flush share their minute."""
    return datetime.fromtimestamp(seconds, UTC)


def _hit_record(row: HitRow) -> tuple[Any, ...]:
    return (
        row.site,
        row.day,
        row.visit,
        row.order,
        _moment(row.minute),
        _moment(row.hour),
        row.name,
        row.hostname,
        row.page,
        dict(row.props) or None,
        row.scroll,
    )


def _visit_record(row: VisitRow) -> tuple[Any, ...]:
    return (
        row.site,
        row.day,
        row.visit,
        _moment(row.minute),
        *row.attributes,
        row.entry_page,
        row.exit_page,
        row.pageviews,
        row.events,
        row.bounce,
        row.duration,
    )


def _count_record(row: CountRow) -> tuple[Any, ...]:
    return (row.site, row.day, row.dimension, row.value, row.visitors, *row.counts)


def _hour_record(row: CountRow) -> tuple[Any, ...]:
    return (row.site, row.day, _moment(int(row.value)), row.visitors, *row.counts[:5])
