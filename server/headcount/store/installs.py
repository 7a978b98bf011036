"""Licenses and seats in Postgres: who holds one, who claims one, and whose lease has run out.

Locks are taken in one order: a license before its installs. A flush holds its licenses with a share lock, so whoever
changes several installs of a license locks that as a whole first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import asyncpg

from headcount import errors
from headcount.licensed import Install, License, Standing
from headcount.store.license_copy import LicenseCopy, Seat
from headcount.store.postgres import Database


class _HasSeat(Exception):
    """Somebody else has given the install its seat meanwhile: undo ours."""


class Claim(NamedTuple):
    """What became of a claim."""

    held: bool
    """Whether the install holds a seat now."""
    used: int
    """Seats of the license that are taken."""


class SeatOf(NamedTuple):
    """An install's seat."""

    seat: bool | None
    """None: the install is not known."""
    used: int
    """Seats of the license that are taken."""


class Installs:
    """What Postgres knows of licenses and of the seats that their installs hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, digest: bytes) -> License | None:
        """The license of a key, whichever product it is of. Raises DatabaseDown."""
        row = await self._database.row("find_license", digest)
        return _license(row) if row else None

    async def claim(
        self, license: License, instance: bytes, install: Install, country: str, now: datetime
    ) -> Claim:
        """A seat for an install, if it has none and one is free."""
        words = (install.version, country, install.environment, install.os, install.arch)
        try:
            row = await self._database.row(
                "claim_seat", license.product, license.id, instance, now, *words, "active"
            )
        except errors.Conflict:
            row = None  # it is known
        if row is not None:
            return Claim(True, row["used"])
        return await self._claim_again(license.product, license.id, instance, now, install.environment)

    async def _claim_again(
        self, product: int, license: int, instance: bytes, now: datetime, environment: str
    ) -> Claim:
        """For an install that is known, or found all seats taken: it may have one already, or take one again."""
        found = await self.seat_of(product, license, instance)
        if found.seat is not False:
            return Claim(bool(found.seat), found.used)
        with suppress(_HasSeat):
            async with self._database.transaction() as connection:
                taken = await self._database.fetch(connection, "take_seat", product, license, now)
                given = (product, license, instance, now, environment)
                if taken and not await self._database.change(connection, "give_seat", *given):
                    raise _HasSeat
            if taken:
                return Claim(True, taken[0]["used"])
        # Either another request has given it its seat, or all are taken: perhaps one of them by itself.
        found = await self.seat_of(product, license, instance)
        return Claim(bool(found.seat), found.used)

    async def seat_of(self, product: int, license: int, instance: bytes) -> SeatOf:
        """Whether an install holds a seat, and how many are taken."""
        row = await self._database.row("seat_of", product, license, instance)
        return SeatOf(row["seat"], row["used"]) if row is not None else SeatOf(None, 0)

    async def free_silent(self, clock: Callable[[], datetime]) -> int:
        """Free the seats of installs that were silent for longer than their lease, or need none; how many."""
        total = 0
        for row in await self._database.rows("silent_licenses", clock()):
            key = row["product_id"], row["license_id"]
            async with self._database.transaction() as connection:
                await self._database.fetch(connection, "lock_license_whole", *key)
                now = clock()  # with the lock, so that local copies do not miss it
                freed = await self._database.change(connection, "free_silent_seats", *key, now)
                if freed:
                    await self._database.change(connection, "give_back_seats", *key, freed, now)
            total += freed
        return total

    async def copy_to(self, copy: LicenseCopy, now: datetime, whole: bool = False) -> None:
        """Bring the node's copy up to date, or make it anew."""
        since = None if whole else copy.changed_since()
        async with self._database.transaction() as connection:
            fetch = self._database.fetch
            if since is None:
                licenses = await fetch(
                    connection, "changed_licenses", datetime.min.replace(tzinfo=now.tzinfo)
                )
                seats = await fetch(connection, "held_seats")
            else:
                erased = await fetch(connection, "erased_since", since)
                licenses = await fetch(connection, "changed_licenses", since)
                seats = await fetch(connection, "changed_seats", since)
        found = [_license(row) for row in licenses]
        held: list[Seat] = [tuple(row) for row in seats]
        if since is None:
            await asyncio.to_thread(copy.replace, found, held, now)
        else:
            gone: list[tuple[int, bytes]] = [tuple(row) for row in erased]
            await asyncio.to_thread(copy.merge, found, held, gone, now)


def _license(row: asyncpg.Record) -> License:
    ends = row["expires_at"]
    return License(
        id=row["id"],
        product=row["product_id"],
        digest=row["digest"],
        plan=row["plan_id"],
        standing=Standing(row["standing"]),
        seats=row["seats"],
        expires_at=int(ends.timestamp()) if ends is not None else None,
        used=row["used"],
    )
