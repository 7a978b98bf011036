"""The schema is made by the migrations alone, each once, and says of itself what it holds."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import asyncpg
import pytest

from headcount import assets, errors
from headcount.store import account, cluster, migrations

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small migrations."""
    (tmp_path / "0001_first.sql").write_text("create table first (id int primary key)")
    (tmp_path / "0002_second.sql").write_text("create table second (id int primary key)")
    return tmp_path


async def migrate(dsn: str, folder: Path | None = None) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return await migrations.migrate(connection, NOW, folder)
    finally:
        await connection.close()


async def ask(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def test_they_run_in_the_order_of_their_numbers(empty: str, folder: Path) -> None:
    assert await migrate(empty, folder) == ["0001_first", "0002_second"]


async def test_each_is_noted_with_the_time_that_was_given(empty: str, folder: Path) -> None:
    await migrate(empty, folder)
    rows = await ask(empty, "select name, applied_at from migration order by name")
    assert [tuple(row) for row in rows] == [("0001_first", NOW), ("0002_second", NOW)]


async def test_a_second_run_finds_nothing_to_do(empty: str, folder: Path) -> None:
    await migrate(empty, folder)
    assert await migrate(empty, folder) == []


async def test_only_what_is_new_is_applied(empty: str, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0003_third.sql").write_text("create table third (id int primary key)")
    assert await migrate(empty, folder) == ["0003_third"]


async def test_two_that_start_together_apply_each_once(empty: str) -> None:
    done = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(migrations.available())]


async def test_one_that_fails_leaves_nothing_behind_and_no_lock(empty: str, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("create table second (id int); select 1 / 0")
    with pytest.raises(errors.HeadcountError, match="0002_second failed and was undone: division by zero"):
        await migrate(empty, folder)
    names = await ask(empty, "select name, to_regclass('second') from migration")
    assert [tuple(row) for row in names] == [("0001_first", None)]
    (folder / "0002_second.sql").write_text("create table second (id int)")
    assert await migrate(empty, folder) == ["0002_second"]


async def test_a_database_of_a_newer_headcount_is_refused(empty: str, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(errors.BadConfig, match=r"newer Headcount.*0002_second"):
        await migrate(empty, folder)


async def test_a_postgresql_that_is_too_old_is_refused_untouched() -> None:
    old = SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=14))
    with pytest.raises(errors.BadConfig, match=r"PostgreSQL 14; Headcount needs 15"):
        await migrations.migrate(cast("Connection", old), NOW)


async def test_a_connection_that_is_gone_is_a_database_that_is_down(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.close()
    with pytest.raises(errors.DatabaseDown):
        await migrations.migrate(connection, NOW)


async def test_every_table_and_view_has_a_comment_and_so_has_every_column_of_a_table(db: Connection) -> None:
    silent = await db.fetch("""
        select c.relname, a.attname
        from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace
          and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
          and (obj_description(c.oid, 'pg_class') is null
            or c.relkind in ('r', 'p') and col_description(c.oid, a.attnum) is null)
    """)
    assert [f"{table}.{column}" for table, column in silent] == []


def test_their_names_are_words_after_consecutive_numbers() -> None:
    names = sorted(path.name for path in (assets.folder("sql") / "migrations").iterdir())
    assert [name for name in names if not re.fullmatch(r"\d{4}(_[a-z0-9]+)+\.sql", name)] == []
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


@pytest.fixture
def debian(ram: Path) -> Iterator[str]:
    """The DSN of a PostgreSQL 15, which Debian 12 has."""
    if not (DEBIAN / "postgres").exists():
        pytest.skip(f"There is no PostgreSQL 15 in {DEBIAN} (Debian 12: apt-get install postgresql-15).")
    pgdata = ram / "debian"
    pgdata.mkdir(mode=0o700)
    who = account.choose([], [(ram, account.ENTER)])
    who.give(pgdata)
    make = [f"{DEBIAN}/initdb", f"-D{pgdata}", "-Uheadcount", "-Atrust", "-EUTF8", "--locale=C", "--no-sync"]
    subprocess.run([*who.prefix, *make], check=True, capture_output=True)
    serve = [f"{DEBIAN}/postgres", f"-D{pgdata}", f"-k{pgdata}", "-clisten_addresses=", "-cfsync=off"]
    server = [*who.prefix, *serve]
    with subprocess.Popen(server, stderr=subprocess.PIPE, text=True, env=cluster.environment()) as process:
        assert process.stderr is not None
        assert any("ready to accept connections" in line for line in process.stderr)
        yield f"postgresql://headcount@/postgres?host={pgdata}"
        process.terminate()
        process.communicate()


@pytest.mark.timeout(60)
async def test_postgresql_15_takes_them_all(debian: str) -> None:
    assert await migrate(debian) == [migration.name for migration in migrations.available()]
