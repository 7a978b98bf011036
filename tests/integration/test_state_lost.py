"""The state file lost or damaged, the disk full: what is counted again, and what is not."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import make
import make_hits
from a_node import Node, a_node
from headcount import errors
from headcount.model import Settings
from headcount.store import files, spool
from headcount.store.license_copy import LicenseCopy
from headcount.store.settings import SettingsFile
from headcount.web import keys
from integration.test_spool import takes

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Any) -> AsyncIterator[Node]:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, 'a.test', 'Etc/UTC', $2)",
        make_hits.SITE,
        make_hits.NOON,
    )
    async with a_node(tmp_path, dsn) as one:
        yield one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounting.returncode:
        pytest.skip(f"needs to mount a small disk: {mounting.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as writing, suppress(OSError):
        while writing.write(bytes(4096)):
            pass
    return file


async def visit_twice(node: Node) -> None:
    """Two pages that are in Postgres, and one that was taken and cannot be sent."""
    async with spool.Spool(node.folder / "spool", 1 << 30, node.clock.milliseconds) as mine:
        await mine.append([make_hits.hit(0, page="/a"), make_hits.hit(1, page="/b")])
        await node.all()
        await node.take()
        right, node.dsn = node.dsn, NOWHERE
        await node.database.close()
        await mine.append([make_hits.hit(2, page="/c")])
        await node.take()
        with pytest.raises(errors.DatabaseDown):
            await node.engine.send()
    await node.database.close()
    node.dsn = right


async def found(db: Any) -> tuple[list[str], int, int]:
    """The pages that were looked at, and the visits and visitors of the day."""
    row = await db.fetchrow(
        "select sum(visits) as visits, sum(visitors) as visitors from counter where dimension = ''"
    )
    pages = [row["page"] for row in await db.fetch("select page from hit order by page")]
    return pages, row["visits"], row["visitors"]


async def test_without_its_state_file_a_node_loses_and_doubles_no_event_and_says_what_counts_again(
    node: Node, db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await visit_twice(node)
    node.engine.close()
    for path in node.folder.glob("state.db*"):
        path.unlink()
    node.open()
    await node.all()
    assert await found(db) == (["/a", "/b", "/c"], 2, 2)
    assert "the state file is gone. No event is lost or counted twice; who comes back" in caplog.text


@pytest.mark.parametrize("part", ["head", "middle", "cut"])
async def test_a_damaged_state_file_is_set_aside_and_no_event_is_lost_or_doubled(
    node: Node, db: Any, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    await visit_twice(node)
    node.engine.close()
    path = node.folder / "state.db"
    data = path.read_bytes()
    half = len(data) // 2
    damaged = {
        "head": os.urandom(100) + data[100:],
        "middle": data[:half] + os.urandom(half // 2) + data[half + half // 2 :],
        "cut": data[:half],
    }
    path.write_bytes(damaged[part])
    node.open()
    await node.all()
    assert await found(db) == (["/a", "/b", "/c"], 2, 2)
    assert "the state file is damaged" in caplog.text
    assert [one.name.split(".")[0] for one in files.damaged(node.folder)] == ["state"]


async def test_a_state_file_that_breaks_under_the_rollup_is_replaced(node: Node, db: Any) -> None:
    await visit_twice(node)
    node.state._db.execute("pragma wal_checkpoint(truncate)")
    path = node.folder / "state.db"
    path.write_bytes(os.urandom(path.stat().st_size))
    node.state._db.execute("pragma shrink_memory")
    await node.receive([make_hits.hit(3, page="/d")])
    for _ in range(3):
        with suppress(sqlite3.DatabaseError):
            await node.all()
    assert (await found(db))[0] == ["/a", "/b", "/c", "/d"]
    assert len(files.damaged(node.folder)) == 1


async def test_after_an_orderly_end_no_spool_is_left_that_could_count_again(node: Node, db: Any) -> None:
    await node.receive([make_hits.hit()])
    await node.engine.finish()
    assert list((node.folder / "spool").glob("*.db")) == []
    assert (await found(db))[0] == ["/"]


async def taken_until_full(mine: spool.Spool) -> int:
    """How many events are taken before one is refused."""
    for number in range(1000):
        try:
            await mine.append([make_hits.hit(page="/" + "x" * 1900)])
        except errors.SpoolFull:
            return number
    raise AssertionError("the disk is never full")


async def test_a_worker_on_a_full_disk_refuses_and_takes_again_when_there_is_room(small_disk: Path) -> None:
    async with spool.Spool(small_disk / "spool", 1 << 30, make_hits.ms) as mine:
        await mine.append([make_hits.hit()])
        filler = fill(small_disk)
        kept = await taken_until_full(mine)
        filler.unlink()
        await takes(mine, make_hits.hit())
        reader = spool.SpoolReader(next((small_disk / "spool").glob("*.db")))
        assert len(reader.read(0, 2000)) == kept + 2
        reader.close()


async def test_a_worker_that_starts_on_a_full_disk_runs_and_takes_events_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").symlink_to(small_disk)
    filler = fill(small_disk)
    event = {"n": "pageview", "u": "https://example.com/", "d": "example.com"}
    async with make.worker(tmp_path / "data") as one:
        answer = await one.client.post("/api/event", json=event)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        filler.unlink()
        for _ in range(50):
            answer = await one.client.post("/api/event", json=event)
            if answer.status == 202:
                break
            await one.app[keys.COLLECTOR]._spool.tick()
        assert len(one.hits()) == 1


async def test_a_rollup_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, dsn: str, db: Any
) -> None:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, 'a.test', 'Etc/UTC', $2)",
        make_hits.SITE,
        make_hits.NOON,
    )
    (tmp_path / "spool").mkdir()
    (small_disk / "spool").symlink_to(tmp_path / "spool")
    async with a_node(small_disk, dsn) as node:
        await node.receive([make_hits.hit(0, page="/a")])
        await node.all()
        await node.receive([make_hits.hit(n, token=n, page=f"/{n}-" + "x" * 900) for n in range(1500)])
        filler = fill(small_disk)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await node.all()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await node.all()
        filler.unlink()
        await asyncio.to_thread(grow, small_disk)
        await node.all()
        assert node.state.outbox_bytes() == 0
    assert await db.fetchval("select count(*) from hit") == 1501


def test_copies_on_a_full_disk_stay_as_they_were(small_disk: Path) -> None:
    settings = SettingsFile(small_disk / "settings.msgpack")
    settings.write(Settings([make.site()]))
    filler = fill(small_disk)
    with pytest.raises(OSError, match="space"):
        settings.write(Settings([make.site(), make.site("b.example", id=2)] * 100))
    assert settings.refresh()
    assert [site.domain for site in settings.sites] == ["example.com"]
    filler.unlink()
    assert settings.write(Settings([make.site("b.example", id=2)]))


def test_a_worker_that_starts_on_a_full_disk_knows_no_license_until_there_is_room(small_disk: Path) -> None:
    (small_disk / "licenses.lock").touch()
    filler = fill(small_disk)
    copy = LicenseCopy(small_disk / "licenses.db")
    assert copy.license(b"key") is None
    filler.unlink()
    copy.refresh()
    assert (small_disk / "licenses.db").exists()
    copy.close()
