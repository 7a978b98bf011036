"""A backup is one moment in one file: put back it is the same again, damaged it changes nothing."""

from __future__ import annotations

import asyncio
import io
import random
import re
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

import make
import make_hits
import make_rows
import selling
from a_node import Node, a_node
from headcount import app, errors
from headcount.clock import Clock
from headcount.services.backups import KEPT, LEFT_OUT, RAW, Backups, Restored
from headcount.store import archive, migrations
from headcount.store.postgres import Database

if TYPE_CHECKING:
    from make_rows import Connection

DAY = timedelta(days=1)
VISITS = [
    make_rows.Visit((make_rows.Hit(page='/"quoted",\n/a'), make_rows.Hit(props=(("plan", "L\\N"),)))),
    make_rows.Visit((make_rows.Hit(page="/б"),), visitor=1, day=make_rows.TODAY - DAY),
    make_rows.Visit((make_rows.Hit(page="/old"),), visitor=2, day=make_rows.TODAY - 40 * DAY),
]


@asynccontextmanager
async def on(dsn: str, clock: Clock, retention_days: int = 30) -> AsyncIterator[Backups]:
    database = Database(lambda: dsn)
    config = make.settings(Path("/nowhere"), {"retention_days": str(retention_days)})
    try:
        yield app.backups_of(config, database, clock)
    finally:
        await database.close()


@pytest.fixture
def clock() -> make.Stopped:
    return make.Stopped(make_rows.NOW)


@pytest.fixture
async def other(empty: str) -> AsyncIterator[Connection]:
    """A connection to another database, with the schema and without rows."""
    connection = await asyncpg.connect(empty)
    await migrations.migrate(connection, make_rows.NOW)
    yield connection
    await connection.close()


@pytest.fixture
async def filled(dsn: str, db: Connection, clock: make.Stopped) -> Connection:
    """The test's database, with something in most tables."""
    await db.execute(
        "insert into site (id, domain, timezone, hostnames, created_at)"
        """ values (1, 'a.example', $1, '{x,"y,"}', $2)""",
        make_rows.ZONE, make_rows.NOW,
    )  # fmt: skip
    await make_rows.store(db, VISITS)
    async with selling.shop(dsn, make.Stopped(selling.NOW)) as vendor:
        license = await selling.issue(vendor.licenses, customer_ref="né 1")
        await selling.install(db, license)
    await db.execute("insert into token values (5, '\\x00ff', 1, '{stats:read}', $1)", make_rows.NOW)
    await db.execute("insert into drain values ('node', 7, $1)", make_rows.NOW)
    await db.execute("insert into redaction values (1, 1, 'page', '/secret', $1)", make_rows.NOW)
    return db


async def written(dsn: str, clock: Clock, folder: Path, raw: bool = False) -> Path:
    path = folder / f"{random.getrandbits(32)}.zip"
    async with on(dsn, clock) as service:
        with path.open("wb") as file, archive.writing(file) as writer:
            await service.write(writer, selling.SECRET, raw=raw, with_secret=False)
    return path


async def restored(path: Path, dsn: str, clock: Clock, replace: bool = False) -> Restored:
    with archive.opened(path) as found:
        async with on(dsn, clock) as service:
            return await service.restore(found, replace=replace)


async def content(db: Connection, tables: tuple[str, ...] = KEPT) -> dict[str, list[str]]:
    return {
        table: sorted(row[0] for row in await db.fetch(f"select t::text from {table} t")) for table in tables
    }


# What it holds


async def test_every_table_is_backed_up_or_left_out_for_a_reason(db: Connection) -> None:
    rows = await db.fetch(
        "select relname from pg_class where relnamespace = 'public'::regnamespace "
        "and relkind in ('r', 'p') and not relispartition"
    )
    assert sorted(row["relname"] for row in rows) == sorted([*KEPT, *RAW, *LEFT_OUT])
    assert all(LEFT_OUT.values())


async def test_what_is_restored_is_what_was_there(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: Clock, tmp_path: Path
) -> None:
    await restored(await written(dsn, clock, tmp_path), empty, clock)
    before, after = await content(filled), await content(other)
    assert all(
        before[table] for table in ("site", "token", "counter", "hour", "license", "instance", "drain")
    )
    after["purge"] = before["purge"]  # the restore has its own line there
    assert after == before
    assert await content(other, RAW) == {table: [] for table in RAW}


async def test_requests_and_their_patterns_are_left_out(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: Clock, tmp_path: Path
) -> None:
    path = await written(dsn, clock, tmp_path, raw=True)
    with zipfile.ZipFile(path) as file:
        assert not any(b"/secret" in file.read(name) for name in file.namelist())
    await restored(path, empty, clock)
    assert await other.fetchval("select count(*) from redaction") == 0


async def test_questions_to_raw_rows_that_were_not_restored_are_told_so(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: Clock, tmp_path: Path
) -> None:
    await restored(await written(dsn, clock, tmp_path), empty, clock)
    row = await other.fetchrow("select kind, site_id, before from purge")
    assert tuple(row or ()) == ("restore", None, date(2026, 11, 24))  # it is the 23rd where days begin first
    database = Database(lambda: empty)
    try:
        reports = app.reports_of(make.settings(tmp_path), database, clock)
        assert await reports._oldest_raw(make_rows.site(), make_rows.TODAY) == date(2026, 11, 24)
    finally:
        await database.close()


async def test_raw_rows_come_back_if_they_were_asked_for_and_are_not_too_old_by_now(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: make.Stopped, tmp_path: Path
) -> None:
    path = await written(dsn, clock, tmp_path, raw=True)
    clock.step(days=29)
    await restored(path, empty, clock)
    rows = await other.fetch('select page, props from hit order by day, "order"')
    assert [tuple(row) for row in rows] == [('/"quoted",\n/a', None), ("/", '{"plan": "L\\\\N"}')]
    assert await other.fetchval("select count(*) from visit") == 1
    assert await other.fetchval("select count(*) from purge where kind = 'restore'") == 0


async def test_the_manifest_counts_the_rows_and_says_of_when_they_are(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path
) -> None:
    with archive.opened(await written(dsn, clock, tmp_path)) as found:
        manifest = found.manifest
    rows = {member.table: member.rows for member in manifest.members}
    assert (rows["site"], rows["drain"], rows["product"]) == (1, 1, 1)
    assert manifest.made_at == make_rows.NOW.replace(second=0)
    assert manifest.schema == [migration.name for migration in migrations.available()]
    assert (manifest.secret, manifest.raw) == (selling.SECRET.mark, False)


# Where it is put


async def test_a_database_in_use_is_replaced_only_when_that_is_said(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path
) -> None:
    path = await written(dsn, clock, tmp_path)
    await filled.execute(
        "insert into site (id, domain, timezone, created_at) values (2, 'b.example', 'UTC', now())"
    )
    before = await content(filled)
    with pytest.raises(errors.Conflict, match=r"holds rows already, in site, product.*--replace"):
        await restored(path, dsn, clock)
    assert await content(filled) == before
    await restored(path, dsn, clock, replace=True)
    assert [row[0] for row in await filled.fetch("select domain from site")] == ["a.example"]


async def test_the_schema_is_made_anew_and_nothing_stays_of_the_old(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path
) -> None:
    before = await objects(filled)
    await restored(await written(dsn, clock, tmp_path), dsn, clock, replace=True)
    assert await objects(filled) == before
    await filled.execute(f"drop table {', '.join([*KEPT, *RAW, *LEFT_OUT])} cascade")
    assert await objects(filled) == []


async def objects(db: Connection) -> list[str]:
    """Whatever the schema is made of, without the partitions of days."""
    rows = await db.fetch(
        """
        select 'relation ' || relname as name from pg_class where relnamespace = 'public'::regnamespace
        union select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace
        union select 'type ' || typname from pg_type where typnamespace = 'public'::regnamespace
        """
    )
    return sorted(row["name"] for row in rows if not re.search("_[0-9]{8}", row["name"]))


async def test_a_backup_of_an_older_version_is_brought_to_this_one(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: Clock, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = await written(dsn, clock, tmp_path)
    later = migrations.Migration("9999_later", "alter table site add later int not null default 3")
    known = [*migrations.available(), later]
    monkeypatch.setattr(migrations, "available", lambda folder=None: known)
    await migrations.migrate(other, make_rows.NOW)
    assert (await restored(path, empty, clock)).migrated == ["9999_later"]
    assert tuple(await other.fetchrow("select domain, later from site") or ()) == ("a.example", 3)


async def test_a_backup_of_a_newer_version_is_refused(
    filled: Connection, dsn: str, other: Connection, empty: str, clock: Clock, tmp_path: Path
) -> None:
    path = changed(
        await written(dsn, clock, tmp_path), schema=["0001_sites_counters_and_raw_rows", "9999_later"]
    )
    await refuse(path, other, empty, clock, "newer Headcount: this one does not know 9999_later")


# What is damaged, or no backup


def changed(path: Path, rows: Callable[[str, bytes], bytes] = lambda _, data: data, **facts: Any) -> Path:
    """The backup with other facts or rows, and digests that fit: as somebody would forge it."""
    with zipfile.ZipFile(path) as file:
        members = {name: rows(name, file.read(name)) for name in file.namelist()}
    manifest = msgspec.json.decode(members["manifest.json"]) | facts
    for member in manifest["members"] if "members" not in facts else ():
        data = members[f"{member['table']}.csv"]
        sink = archive.Sink(io.BytesIO())
        sink.write(data)
        member |= {"bytes": sink.bytes, "sha256": sink.sha256}
    members["manifest.json"] = msgspec.json.encode(manifest)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


async def refuse(path: Path, db: Connection, dsn: str, clock: Clock, why: str) -> None:
    """It is refused for this reason, and nothing has changed."""
    before = await content(db, (*KEPT, *RAW, "migration"))
    with pytest.raises(errors.BadInput, match=why) as caught:
        await restored(path, dsn, clock, replace=True)
    assert caught.value.field == "file"
    assert await content(db, (*KEPT, *RAW, "migration")) == before


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"format": 2}, "format 2; this Headcount reads 1"),
        ({"format": "1"}, "manifest cannot be understood"),
        ({"made_at": "yesterday"}, "manifest cannot be understood"),
        ({"schema": []}, "no version of Headcount"),
        ({"schema": ["0002_products_licenses_and_installs"]}, "no version of Headcount"),
        ({"schema": ["0001_sites_counters_and_raw_rows"]}, "does not hold the tables of 0001"),
        ({"members": []}, "not those of its manifest"),
        ({"raw": True}, "does not hold the tables"),
        ({"more": 1}, "manifest cannot be understood"),
    ],
)
async def test_a_manifest_that_does_not_fit_is_refused(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path, facts: dict[str, Any], why: str
) -> None:
    path = changed(await written(dsn, clock, tmp_path), **facts)
    await refuse(path, filled, dsn, clock, why)


@pytest.mark.parametrize(
    ("table", "old", "new", "why"),
    [
        ("site", b"a.example", b"", "rows of site that do not fit the database .23502"),
        ("site", b"1,a.example", b"x,a.example", "rows of site that do not fit the database .22P02"),
        (
            "drain",
            b"node,7",
            b"node,7,2026-01-01\nnode,8",
            "rows of drain that do not fit the database .23505",
        ),
        ("token", b",1,", b",77,", "rows of token that do not fit the database .23503"),
        ("uptime", b"\n", b"\n1,1,2026-01-01,2026-01-01\n", "another number of rows in uptime"),
    ],
)
async def test_rows_that_do_not_fit_are_refused_without_being_quoted(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path, table: str, old: bytes, new: bytes, why: str
) -> None:
    def replace(name: str, data: bytes) -> bytes:
        return data.replace(old, new, 1) if name == f"{table}.csv" else data

    await refuse(changed(await written(dsn, clock, tmp_path), replace), filled, dsn, clock, why)


async def test_other_columns_are_refused(filled: Connection, dsn: str, clock: Clock, tmp_path: Path) -> None:
    path = await written(dsn, clock, tmp_path)
    with archive.opened(path) as found:
        members = msgspec.to_builtins(found.manifest.members)
    members[0]["columns"].reverse()
    await refuse(changed(path, members=members), filled, dsn, clock, "other columns of site")


async def test_a_backup_that_is_cut_anywhere_is_refused(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path
) -> None:
    whole = (await written(dsn, clock, tmp_path)).read_bytes()
    cut = tmp_path / "cut.zip"
    for length in [0, 1, 30, *range(100, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(errors.BadInput, match="is no whole backup"), archive.opened(cut):
            pass


async def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(
    filled: Connection, dsn: str, clock: Clock, tmp_path: Path
) -> None:
    path = await written(dsn, clock, tmp_path)
    whole, found = bytearray(path.read_bytes()), 0
    with archive.opened(path) as right:
        manifest, rows = right.manifest, read(right)
    chance = random.Random(5)
    flips = [chance.randrange(len(whole) * 8) for _ in range(300)]
    for bit in flips:
        whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)
        whole[bit // 8] ^= 1 << bit % 8
        try:
            with archive.opened(path) as damaged:
                assert (damaged.manifest, read(damaged), damaged.secret()) == (manifest, rows, "")
        except errors.BadInput:
            found += 1
    assert found > len(flips) * 0.6  # the rest stands for times and attributes of files


def read(found: archive.Reader) -> dict[str, bytes]:
    rows = {}
    for member in found.manifest.members:
        with found.member(member.table) as file:
            rows[member.table] = file.read()
    return rows


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"\0" * 5000])
def test_what_is_no_backup_is_told_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(errors.BadInput, match="is no whole backup"), archive.opened(path):
        pass


def test_another_zip_file_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(errors.BadInput, match=r"is no backup of Headcount: it has no manifest.json"):
        archive.opened(path).__enter__()


# Beside a node that counts


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Connection) -> AsyncIterator[Node]:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, 'a.test', 'Etc/UTC', $2)",
        make_hits.SITE, make_hits.NOON,
    )  # fmt: skip
    (tmp_path / "node").mkdir()
    async with a_node(tmp_path / "node", dsn) as one:
        yield one


async def count_on(node: Node, first: int, last: int) -> None:
    for n in range(first, last):
        await node.receive([make_hits.hit(n - 100, token=n, page=f"/{n}")])
        await node.all()


async def counted(db: Connection) -> dict[str, tuple[int, int]]:
    rows = await db.fetch(
        "select value, pageviews, visitors from counter where dimension = 'page' or dimension = ''"
    )
    return {row["value"]: (row["pageviews"], row["visitors"]) for row in rows}


async def test_a_node_that_counts_on_loses_and_doubles_nothing_by_a_restore(
    node: Node, dsn: str, db: Connection, tmp_path: Path
) -> None:
    await count_on(node, 0, 5)
    path, _ = await asyncio.gather(written(dsn, node.clock, tmp_path), count_on(node, 5, 60))
    await restored(path, dsn, node.clock, replace=True)
    missing = 60 - (await counted(db)).get("", (0, 0))[0]
    await count_on(node, 60, 70)
    assert missing > 0
    assert await counted(db) == {"": (70, 70), **{f"/{n}": (1, 1) for n in range(70)}}
    assert await db.fetchval("select count(*) from gap") == 0


async def test_what_no_node_has_any_more_is_reported_with_its_bounds(
    node: Node, dsn: str, db: Connection, tmp_path: Path
) -> None:
    await count_on(node, 0, 5)
    path = await written(dsn, node.clock, tmp_path)
    await count_on(node, 5, 12)
    node.state.drop_applied(node.clock.milliseconds() + 1)
    await restored(path, dsn, node.clock, replace=True)
    await count_on(node, 12, 15)
    pages = (await counted(db)).keys() - {""}
    assert pages == {f"/{n}" for n in (*range(5), *range(12, 15))}
    assert tuple(await db.fetchrow("select first_missing, last_missing from gap") or ()) == (6, 12)


async def test_a_new_node_counts_on_a_restored_database(
    node: Node, dsn: str, db: Connection, other: Connection, empty: str, tmp_path: Path
) -> None:
    await count_on(node, 0, 5)
    await restored(await written(dsn, node.clock, tmp_path), empty, node.clock)
    (tmp_path / "new").mkdir()
    async with a_node(tmp_path / "new", empty) as new:
        await count_on(new, 5, 8)
    assert (await counted(other)).keys() - {""} == {f"/{n}" for n in range(8)}
    assert await other.fetchval("select count(*) from gap") == 0
