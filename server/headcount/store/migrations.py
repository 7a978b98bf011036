"""Brings a database to the schema of this version: `sql/migrations/`, forward only, each file once.

Each runs in a transaction of its own, all of them under one advisory lock: processes that start together
wait for the first, and then find nothing left to do.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from headcount import assets, errors

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

OLDEST = 15  # the PostgreSQL of Debian 12, and the oldest that is tested
_LOCK = 0x4845_4144_434F_554E  # "HEADCOUN": any number that nobody else takes in this database
_LEDGER = """
create table migration (name text primary key, applied_at timestamptz not null);
comment on table migration is 'The steps by which this schema was made.';
comment on column migration.name is 'Name of the file, without its ending.';
comment on column migration.applied_at is 'When it was applied.';
"""


class Migration(NamedTuple):
    name: str
    sql: str


def available(folder: Path | None = None) -> list[Migration]:
    """The migrations of this version, in order."""
    files = sorted((folder or assets.folder("sql") / "migrations").glob("*.sql"))
    return [Migration(file.stem, file.read_text(encoding="utf-8")) for file in files]


async def migrate(connection: Connection, now: datetime, folder: Path | None = None) -> list[str]:
    """Apply what is missing; the names of what was. BadConfig: this database is not one for this version."""
    major = connection.get_server_version().major
    if major < OLDEST:
        raise errors.BadConfig(
            f"The database is PostgreSQL {major}; Headcount needs {OLDEST} or later: upgrade it, or leave "
            "HEADCOUNT_DATABASE_URL unset to use the PostgreSQL that Headcount brings along."
        )
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        try:
            return await _apply(connection, now, available(folder))
        finally:
            await connection.execute("select pg_advisory_unlock($1)", _LOCK)
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise errors.DatabaseDown from error


async def are_applied(connection: Connection) -> bool:
    """Whether the schema is the one of this version."""
    if await connection.fetchval("select to_regclass('migration')") is None:
        return False
    applied = {row["name"] for row in await connection.fetch("select name from migration")}
    return applied == {migration.name for migration in available()}


async def hold(connection: Connection) -> None:
    """Let nobody else migrate until the caller's transaction has ended."""
    await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)


async def rebuild(connection: Connection, now: datetime, names: list[str]) -> None:
    """Make the schema up to these migrations within the caller's transaction, which has removed every table."""
    await _apply(connection, now, [one for one in available() if one.name in names])


async def complete(connection: Connection, now: datetime) -> list[str]:
    """Apply what is missing within the caller's transaction; the names of what was."""
    return await _apply(connection, now, available())


async def _apply(connection: Connection, now: datetime, migrations: list[Migration]) -> list[str]:
    if await connection.fetchval("select to_regclass('migration')") is None:
        async with connection.transaction():
            await connection.execute(_LEDGER)
    applied = {row["name"] for row in await connection.fetch("select name from migration")}
    if unknown := sorted(applied - {migration.name for migration in migrations}):
        raise errors.BadConfig(
            f"The database was made by a newer Headcount: this one does not know {', '.join(unknown)}. "
            "Run that version or a later one."
        )
    missing = [migration for migration in migrations if migration.name not in applied]
    for migration in missing:
        await _apply_one(connection, now, migration)
    return [migration.name for migration in missing]


async def _apply_one(connection: Connection, now: datetime, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute("insert into migration values ($1, $2)", migration.name, now)
    except asyncpg.PostgresConnectionError:
        raise
    except asyncpg.PostgresError as error:
        raise errors.HeadcountError(
            f"Migration {migration.name} failed and was undone: {error.args[0]} ({error.sqlstate})."
        ) from error
