"""Where heartbeats arrive in Postgres, and the counts of a day are made of the installs they came from.

The last day that was counted for good stands in one locked row, so that one process counts at a time, and a day is
closed before the first heartbeat of the next one changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from headcount.licensed import HeartbeatRow, SharingRow
from headcount.licensing import cells
from headcount.licensing.tokens import Position, Trail, follow
from headcount.model import OTHER
from headcount.store.postgres import LONG, Database

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

MAX_UNSEATED = 1000
"""Installs without a seat that are kept of a license; more are counted as heartbeats only."""
DIMENSIONS = ("version", "plan", "country", "environment", "os", "status")

_COLUMNS = (
    "product_id",
    "day",
    "license_id",
    "instance",
    "minute",
    "version",
    "country",
    "environment",
    "os",
    "arch",
    "status",
)
_DAY = timedelta(days=1)
_AHEAD = timedelta(minutes=10)
"""How much further a day must lie in the future that was closed, until it is taken for a mistake of the clock."""


class Heartbeats:
    """The installs of all products, as their heartbeats show them."""

    def __init__(self, database: Database, max_values: int = 10_000) -> None:
        self._database = database
        self._max_values = max_values
        self.uncounted = True
        """Whether heartbeats have arrived since the installs were counted."""

    async def tick(self, now: datetime, heard: bool) -> None:
        """Let the clock of silence go on, if heartbeats could arrive; it begins with the first tick."""
        await self._database.execute("begin_uptime", now, now.date() - _DAY, (now + _AHEAD).date() - _DAY)
        if heard:
            await self._database.execute("tick_uptime", now)

    async def count(self, today: date) -> None:
        """Count the installs of the days before today for good, and then those of the open day so far."""
        self.uncounted = False
        try:
            async with self._database.transaction() as connection:
                await self._close_before(connection, today)
                await self._count(connection, await self._closed(connection) + _DAY)
        except BaseException:
            self.uncounted = True
            raise

    async def apply(
        self,
        connection: Connection,
        heartbeats: Sequence[HeartbeatRow],
        sharing: Sequence[SharingRow],
        now: datetime,
    ) -> None:
        """Take in the heartbeats and signs of sharing of a flush, within its transaction."""
        licenses = {(row.product, row.license) for part in (heartbeats, sharing) for row in part}
        living = {
            (row["product_id"], row["id"]): row
            for row in await self._database.fetch(connection, "living_licenses", *_columns(licenses))
        }
        of_license = [row for row in heartbeats if (row.product, row.license) in living]
        unknown = [row for row in heartbeats if not row.license]
        kept = [row for row in of_license if not _forgotten(row, living[row.product, row.license])]
        await self._database.copy(connection, "heartbeat", _COLUMNS, map(_record, kept))
        for day in sorted({row.day for row in heartbeats}):
            await self._close_before(connection, day)
            await self._put(connection, [row for row in kept if row.day == day], now)
        await self._count_heartbeats(
            connection, of_license, unknown, {key: row["plan"] for key, row in living.items()}
        )
        shared = [_sharing_record(row) for row in sharing if _may_share(row, living)]
        if shared:
            await self._database.change(connection, "add_sharing", *_columns(shared))

    async def _closed(self, connection: Connection) -> date:
        rows = await self._database.fetch(connection, "closed_day")
        day: date = rows[0]["closed_day"]
        return day

    async def _close_before(self, connection: Connection, day: date) -> None:
        """Count every day before this one that was not counted for good yet."""
        closed = await self._closed(connection)
        while closed + _DAY < day:
            closed += _DAY
            await self._count(connection, closed)
            await self._database.change(connection, "note_counted", closed, seconds=LONG)
            await self._database.change(connection, "set_closed_day", closed)

    async def _count(self, connection: Connection, day: date) -> None:
        change = self._database.change
        await change(connection, "clear_installs", day, seconds=LONG)
        await change(connection, "count_installs", day, self._max_values, seconds=LONG)
        rows = await self._database.fetch(connection, "list_cells", day, seconds=LONG)
        await change(connection, "clear_cells", day, seconds=LONG)
        products: dict[int, dict[cells.Cell, int]] = {}
        for row in rows:
            cell = row["version"], row["plan"], row["country"]
            products.setdefault(row["product_id"], {})[cell] = row["installs"]
        folded = [
            (product, day, *cell, installs)
            for product, found in products.items()
            for cell, installs in cells.fold(found).items()
        ]
        if folded:
            await self._database.change(connection, "put_cells", *_columns(folded))

    async def _put(self, connection: Connection, heartbeats: Sequence[HeartbeatRow], now: datetime) -> None:
        """Bring the installs up to date; those that are new and past the bound are left out."""
        if not heartbeats:
            return
        last = {(row.product, row.license, row.instance): row for row in heartbeats}
        rows = await self._database.fetch(connection, "lock_instances", *_columns(last))
        trails = {tuple(row)[:3]: Trail(*tuple(row)[3:]) for row in rows}
        new = {key[:2] for key in last if key not in trails}
        room = await self._room(connection, new) if new else {}
        for row in heartbeats:
            key = row.product, row.license, row.instance
            if key not in trails:
                if room[key[:2]] <= 0:
                    last.pop(key, None)
                    continue
                room[key[:2]] -= 1
            position = Position(row.chain, row.generation, row.random)
            trails[key] = follow(trails.get(key, Trail()), position)
        records = [_instance_record(row, trails[key]) for key, row in last.items()]
        if records:
            await self._database.change(connection, "put_instances", *_columns(records), now)

    async def _room(
        self, connection: Connection, licenses: set[tuple[int, int]]
    ) -> dict[tuple[int, int], int]:
        """How many more installs without a seat are kept of each license."""
        rows = await self._database.fetch(connection, "count_unseated", *_columns(licenses))
        counts = {(row["product_id"], row["license_id"]): row["count"] for row in rows}
        return {license: MAX_UNSEATED - counts.get(license, 0) for license in licenses}

    async def _count_heartbeats(
        self,
        connection: Connection,
        of_license: Sequence[HeartbeatRow],
        unknown: Sequence[HeartbeatRow],
        plans: dict[tuple[int, int], str],
    ) -> None:
        """Add to the checks of each day: by every dimension, and of an unknown key by its answer alone."""
        counts = Counter((row.product, "status", row.day, row.status) for row in unknown)
        versions: dict[tuple[int, date], set[str]] = {}
        for row in of_license:
            key = row.product, row.day
            if key not in versions:
                found = await self._database.fetch(connection, "versions_of_day", *key)
                versions[key] = {one["value"] for one in found}
            if row.version not in versions[key] and len(versions[key]) >= self._max_values:
                version = OTHER
            else:
                version = row.version
                versions[key].add(version)
            plan = plans[row.product, row.license]
            values = (version, plan, row.country, row.environment, row.os, row.status)
            counts[row.product, "", row.day, ""] += 1
            for dimension, value in zip(DIMENSIONS, values, strict=True):
                counts[row.product, dimension, row.day, value] += 1
        if counts:
            records = [(*key, count) for key, count in counts.items()]
            await self._database.change(connection, "add_heartbeats", *_columns(records))


def _columns(records: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """The records column by column; sorted, so that all take their locks in the same order."""
    return [list(column) for column in zip(*sorted(records), strict=True)]


def _forgotten(row: HeartbeatRow, license: asyncpg.Record) -> bool:
    """Whether it was received before the holder had everything erased, or before a transfer, or in that minute."""
    since = license["forgotten_at"]
    return since is not None and row.minute <= since.timestamp()


def _may_share(row: SharingRow, living: dict[tuple[int, int], asyncpg.Record]) -> bool:
    """Whether the license is there, and its day began after everything was erased."""
    license = living.get((row.product, row.license))
    return license is not None and (
        license["forgotten_at"] is None or row.day > license["forgotten_at"].date()
    )


def _record(row: HeartbeatRow) -> tuple[object, ...]:
    minute = datetime.fromtimestamp(row.minute, UTC)
    words = (row.version, row.country, row.environment, row.os, row.arch, row.status)
    return (row.product, row.day, row.license, row.instance, minute, *words)


def _instance_record(row: HeartbeatRow, trail: Trail) -> tuple[int | bytes | str, ...]:
    words = (row.version, row.country, row.environment, row.os, row.arch, row.status)
    return (row.product, row.license, row.instance, row.minute, *words, *trail)


def _sharing_record(row: SharingRow) -> tuple[int | date, ...]:
    return (row.product, row.license, row.day, row.instances, row.networks, row.countries)
