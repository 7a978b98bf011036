"""Writes all that Postgres keeps for long into one file, and puts it back.

A backup is one moment: the fence of each node (table drain) is of the same snapshot as the counts. So a restored
database asks each node for just the flushes it lacks, and reports those that no node has any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import IO, TYPE_CHECKING, NamedTuple

import asyncpg

from headcount import __version__, errors, localtime
from headcount.clock import Clock
from headcount.services.sites import new_id
from headcount.store import migrations
from headcount.store.archive import Manifest, Member, Reader, Writer
from headcount.store.counters import Counters
from headcount.store.heartbeats import Heartbeats
from headcount.store.postgres import LONG, Database
from headcount.store.secret import Secret

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

KEPT = (
    "site",
    "product",
    "product_key",
    "plan",
    "release",
    "license",
    "instance",
    "token",
    "counter",
    "hour",
    "dropped",
    "drain",
    "gap",
    "purge",
    "audit",
    "install_count",
    "install_cell",
    "sharing",
    "uptime",
)
"""What every backup holds, in an order in which it can be put back."""
RAW = ("visit", "hit", "heartbeat")
"""What only a backup with raw rows holds."""
LEFT_OUT = {
    "month": "sums of the counters, which the server makes anew",
    "migration": "written anew by the restore, which makes the schema",
    "redaction": "requests of one day, which name what was to go",
    "erasure": "what local copies have to forget within a day; after a restore they are copied whole",
    "idempotency": "answers of one day to requests that may come again",
}
"""What no backup holds, and why."""
FIRST_ZONE = "Etc/GMT-14"
"""Where every day begins first."""
_MADE_HERE = frozenset({"migration", "uptime"})
"""What a database has in it before anybody has used it."""
_LOCK_PATIENCE = "20s"
_CHUNK = 1 << 18

Finish = Callable[[Database], Awaitable[None]]


class Restored(NamedTuple):
    """What a restore has done."""

    migrated: list[str]
    """The migrations that this version has applied to what was restored."""
    products: int


class Backups:
    """Backup and restore of one database, beside a running server or without one."""

    def __init__(self, database: Database, clock: Clock, purge: Finish) -> None:
        self._database = database
        self._clock = clock
        self._purge = purge

    async def write(self, to: Writer, secret: Secret | None, *, raw: bool, with_secret: bool) -> Manifest:
        """Write everything as it is at this moment. `raw`: raw rows too."""
        now = self._clock.now()
        async with self._database.snapshot() as connection:
            await connection.execute("set local datestyle = 'ISO, YMD'")
            schema = await connection.fetch("select name from migration order by name")
            members = [await _write(connection, to, table) for table in (*KEPT, *(RAW if raw else ()))]
            manifest = Manifest(
                headcount=__version__,
                made_at=now.astimezone(UTC).replace(second=0, microsecond=0),
                schema=[row["name"] for row in schema],
                raw=raw,
                raw_days=await self._raw_days(connection) if raw else [],
                secret=secret.mark if secret is not None else "",
                members=members,
            )
        if with_secret and secret is not None:
            to.secret(secret.text)
        to.finish(manifest)
        return manifest

    async def restore(self, backup: Reader, *, replace: bool) -> Restored:
        """Make the database hold what the backup does, in one transaction: all of it or nothing.

        Raises BadInput for a backup that does not fit, and Conflict if the database is in use and `replace` is not
        said.
        """
        manifest = backup.manifest
        _check_schema(manifest.schema)
        now = self._clock.now()
        async with self._database.transaction() as connection:
            await self._clear(connection, replace)
            await migrations.rebuild(connection, now, manifest.schema)
            await self._fill(connection, backup)
            migrated = await migrations.complete(connection, now)
            await self._settle(connection, manifest, now)
            products = await connection.fetchval("select count(*) from product")
        return Restored(migrated, products)

    async def _clear(self, connection: Connection, replace: bool) -> None:
        """Remove every table, if the database is empty or may be replaced."""
        tables = ", ".join([*KEPT, *RAW, *LEFT_OUT])
        await connection.execute(f"set local lock_timeout = '{_LOCK_PATIENCE}'")
        await migrations.hold(connection)
        # The fence first, as every flush does.
        await connection.execute("lock table drain in access exclusive mode")
        await connection.execute(f"lock table {tables} in access exclusive mode")
        used = [table for table in (*KEPT, *RAW) if table not in _MADE_HERE]
        found = [table for table in used if await connection.fetchval(f"select exists (table {table})")]
        if found and not replace:
            raise errors.Conflict(
                "database",
                f"holds rows already, in {', '.join(found)}. Restore into an empty one, or give --replace: "
                "then all that it holds is deleted",
            )
        await connection.execute(f"drop table {tables} cascade")

    async def _fill(self, connection: Connection, backup: Reader) -> None:
        manifest = backup.manifest
        there = await _tables(connection)
        wanted = [table for table in (*KEPT, *(RAW if manifest.raw else ())) if table in there]
        if [member.table for member in manifest.members] != wanted:
            raise errors.BadInput("file", f"does not hold the tables of {manifest.schema[-1]}")
        within = self._database.within(connection)
        await Counters(within, Heartbeats(within)).ensure_partitions(manifest.raw_days)
        await connection.execute("set local datestyle = 'ISO, YMD'")
        for member in manifest.members:
            await _fill(connection, backup, member)

    async def _settle(self, connection: Connection, manifest: Manifest, now: datetime) -> None:
        """Say that raw rows are missing, or remove those that are too old by now."""
        within = self._database.within(connection)
        if manifest.raw:
            await self._purge(within)
            return
        before = localtime.today(FIRST_ZONE, manifest.made_at) + timedelta(days=1)
        await within.execute("add_purge", new_id(), now, "restore", None, before, 0)

    async def _raw_days(self, connection: Connection) -> list[date]:
        names = await self._database.fetch(connection, "raw_partitions")
        written = {row["name"].partition("_")[2] for row in names}
        return sorted(date(int(day[:4]), int(day[4:6]), int(day[6:])) for day in written)


def _check_schema(names: list[str]) -> None:
    known = [migration.name for migration in migrations.available()]
    if newer := sorted(set(names) - set(known)):
        raise errors.BadInput(
            "file",
            f"was made by a newer Headcount: this one does not know {', '.join(newer)}. Restore it with that "
            "version or a later one",
        )
    if not names or names != known[: len(names)]:
        raise errors.BadInput("file", "was made from a schema that no version of Headcount has had")


async def _tables(connection: Connection) -> set[str]:
    rows = await connection.fetch(
        "select relname from pg_class where relnamespace = to_regnamespace(current_schema()) "
        "and relkind in ('r', 'p') and not relispartition"
    )
    return {row["relname"] for row in rows}


async def _columns(connection: Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped "
        "order by attnum",
        table,
    )
    return [row["attname"] for row in rows]


async def _write(connection: Connection, to: Writer, table: str) -> Member:
    columns = await _columns(connection, table)
    with to.member(table) as sink:

        async def write(data: bytes) -> None:
            sink.write(data)

        listed = ", ".join(f'"{column}"' for column in columns)
        status = await connection.copy_from_query(
            f"select {listed} from {table}",  # noqa: S608 - our own words
            output=write,
            format="csv",
            header=True,
            timeout=LONG,
        )
    return Member(table, columns, int(status.split()[-1]), sink.bytes, sink.sha256)


async def _fill(connection: Connection, backup: Reader, member: Member) -> None:
    if member.columns != await _columns(connection, member.table):
        raise errors.BadInput(
            "file", f"has other columns of {member.table} than {backup.manifest.schema[-1]}"
        )
    try:
        with backup.member(member.table) as rows:
            status = await connection.copy_to_table(
                member.table,
                source=_chunks(rows),
                columns=member.columns,
                format="csv",
                header=True,
                timeout=LONG,
            )
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        # Without its text, which may quote a row.
        why = f"has rows of {member.table} that do not fit the database ({error.sqlstate})"
        raise errors.BadInput("file", why) from None
    if int(status.split()[-1]) != member.rows:
        raise errors.BadInput("file", f"has another number of rows in {member.table} than it says")


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while data := file.read(_CHUNK):
        yield data
