"""A spool cut off by a power loss, and one that the disk has damaged: what was acknowledged, and what is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import make_hits as make
from a_node import Node, a_node
from headcount import errors
from headcount.model import Hit
from headcount.store import files, spool
from integration.test_spool import takes

BIG = 1 << 30
MINUTE = timedelta(minutes=1)


@pytest.fixture
def step(request: pytest.FixtureRequest) -> int:
    """Every so many bytes: more of them in `make soak`."""
    return 13 if request.config.getoption("--soak") else 1201


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Any) -> AsyncIterator[Node]:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, 'a.test', 'Etc/UTC', $2)",
        make.SITE,
        make.NOON,
    )
    async with a_node(tmp_path, dsn) as one:
        yield one


def page(number: int) -> Hit:
    return make.hit(number, token=number, page=f"/{number}")


async def pages(db: Any) -> list[str]:
    return sorted(row["page"] for row in await db.fetch("select page from hit"))


def only(folder: Path, pattern: str = "*.db") -> Path:
    (path,) = folder.glob(pattern)
    return path


def found(folder: Path) -> list[str]:
    """The pages of all batches that a rollup finds."""
    one = spool.SpoolReader(only(folder))
    try:
        held = [record for _, _, body in one.read(0, 1000) for record in spool.records(body)]
        assert all(isinstance(record, Hit) for record in held)
        return [record.page for record in held if isinstance(record, Hit)]
    finally:
        one.close()


def copied(source: Path, target: Path) -> Path:
    """The files as a power loss would leave them: without the shared memory of SQLite."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-shm"))
    return target


@pytest.mark.timeout(600)
async def test_a_spool_cut_anywhere_after_the_last_acknowledged_commit_loses_nothing(
    tmp_path: Path, step: int
) -> None:
    acknowledged = [f"/{number}" for number in range(5)]
    async with spool.Spool(tmp_path / "live", BIG, make.ms) as mine:
        for number in range(5):
            await mine.append([page(number)])
        before = only(tmp_path / "live", "*.db-wal").stat().st_size
        await mine.append([page(5)])
        copied(tmp_path / "live", tmp_path / "whole")
    log = only(tmp_path / "whole", "*.db-wal").read_bytes()
    assert before < len(log)
    for end in [*range(before, len(log), step), len(log) - 1]:
        for rest in (b"", b"\0" * 9000, os.urandom(5000)):
            cut = copied(tmp_path / "whole", tmp_path / "cut")
            only(cut, "*.lock").write_bytes(b"")  # no mark has to be durable
            only(cut, "*.db-wal").write_bytes(log[:end] + rest)
            assert found(cut) in (acknowledged, [*acknowledged, "/5"])
            async with spool.Spool(cut, BIG, make.ms) as mine:
                await mine.append([page(6)])
                assert found(cut)[:5] == acknowledged
                assert found(cut)[-1] == "/6"


@pytest.mark.timeout(600)
async def test_a_spool_cut_in_the_middle_of_a_checkpoint_loses_nothing(tmp_path: Path, step: int) -> None:
    async with spool.Spool(tmp_path / "live", BIG, make.ms) as mine:
        for number in range(5):
            await mine.append([page(number)])
        copied(tmp_path / "live", tmp_path / "whole")
        with sqlite3.connect(only(tmp_path / "live")) as other:
            other.execute("pragma wal_checkpoint(truncate)")
        other.close()
        after = only(tmp_path / "live").read_bytes()
    for end in [*range(0, len(after), step), len(after)]:
        cut = copied(tmp_path / "whole", tmp_path / "cut")
        path = only(cut)
        old = path.read_bytes()
        path.write_bytes(after[:end] + old[end:])  # the log is emptied only when the file is whole
        assert found(cut) == [f"/{number}" for number in range(5)]


async def many(node: Node, commits: int = 40) -> Path:
    """A spool left behind with so many commits, all of it in the main file."""
    async with spool.Spool(node.folder / "spool", BIG, node.clock.milliseconds) as mine:
        for number in range(commits):
            await mine.append([make.hit(number / 10, token=number, page=f"/{number}-" + "x" * 1500)])
    return only(node.folder / "spool")


async def test_flipped_bits_in_a_batch_are_found_and_the_other_batches_are_counted(
    node: Node, db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = await many(node)
    data = bytearray(path.read_bytes())
    data[data.index(b"/20-xxxx") + 100] ^= 4
    path.write_bytes(data)
    await node.all()
    await node.all()
    assert len(await pages(db)) == 39
    assert "its batches 21 to 21" in caplog.text
    assert "xxxx" not in caplog.text


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.95])
async def test_a_spool_that_was_cut_off_is_counted_as_far_as_it_goes_and_set_aside(
    node: Node, db: Any, caplog: pytest.LogCaptureFixture, part: float
) -> None:
    path = await many(node)
    os.truncate(path, int(path.stat().st_size * part))
    await node.all()
    node.clock.time[0] += MINUTE
    await node.all()
    counted = len(await pages(db))
    assert counted < 40
    assert "is damaged" in caplog.text
    assert "lost with the damaged spool" in caplog.text
    assert [aside.name.split(".")[0] for aside in files.damaged(node.folder)] == [path.stem]
    assert list((node.folder / "spool").glob("*.db")) == []


async def test_a_spool_whose_head_is_overwritten_is_set_aside(node: Node, db: Any) -> None:
    path = await many(node)
    path.write_bytes(os.urandom(4096) + path.read_bytes()[4096:])
    await node.all()
    node.clock.time[0] += MINUTE
    await node.all()
    assert len(files.damaged(node.folder)) == 1
    assert await pages(db) == []


async def test_a_log_damaged_before_the_last_acknowledged_commit_is_found(
    node: Node, db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with spool.Spool(tmp := node.folder / "live", BIG, node.clock.milliseconds) as mine:
        for number in range(10):
            await mine.append([page(number)])
        copied(tmp, node.folder / "spool")
    log = only(node.folder / "spool", "*.db-wal")
    data = bytearray(log.read_bytes())
    data[data.index(b"/5") + 1] ^= 1
    log.write_bytes(data)
    await node.all()
    assert await pages(db) == [f"/{number}" for number in range(5)]
    assert "its batches 6 to 10" in caplog.text


async def test_a_worker_does_not_go_on_with_a_spool_that_lacks_batches(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path / "live", BIG, make.ms) as mine:
        for number in range(3):
            await mine.append([page(number)])
        copied(tmp_path / "live", tmp_path / "cut")
    only(tmp_path / "cut", "*.db-wal").unlink()
    async with spool.Spool(tmp_path / "cut", BIG, make.ms) as mine:
        await mine.append([page(3)])
        assert len(list((tmp_path / "cut").glob("*.db"))) == 2


async def test_a_worker_takes_a_new_spool_when_the_rollup_finds_its_own_damaged(node: Node, db: Any) -> None:
    folder = node.folder / "spool"
    async with spool.Spool(folder, BIG, node.clock.milliseconds) as mine:
        await mine.append([page(0)])
        path = only(folder)
        with sqlite3.connect(path) as other:
            other.execute("update batch set body = x'00'")
        other.close()
        await mine.append([page(1)])
        await node.take()
        await mine.tick()
        await mine.append([page(2)])
        await node.all()
        node.clock.time[0] += MINUTE
        await node.all()
        assert not path.exists()
    assert await pages(db) == ["/1", "/2"]
    assert len(files.damaged(node.folder)) == 1


async def test_a_worker_whose_spool_breaks_under_it_answers_and_takes_a_new_one(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([page(0)])
        path = only(tmp_path)
        with sqlite3.connect(path) as other:
            other.execute("pragma wal_checkpoint(truncate)")
        other.close()
        path.write_bytes(os.urandom(path.stat().st_size))
        with pytest.raises(errors.SpoolFull):
            await mine.append([page(1)])
        await takes(mine, page(2))
        assert len(list(tmp_path.glob("*.db"))) == 2


async def test_a_worker_whose_spool_is_taken_away_takes_a_new_one(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([page(0)])
        for path in tmp_path.iterdir():
            path.unlink()
        await mine.append([page(1)])
        assert found(tmp_path) == ["/1"]


async def test_a_damaged_lock_file_deletes_nothing_that_was_not_counted(node: Node, db: Any) -> None:
    async with spool.Spool(node.folder / "spool", BIG, node.clock.milliseconds) as mine:
        await mine.append([page(0)])
        lock = only(node.folder / "spool", "*.lock")
        with lock.open("r+b") as file:
            file.write(b"\xff" * 60)
        await mine.append([page(1)])
        await node.all()
    assert await pages(db) == ["/0", "/1"]


async def test_whoever_waits_when_a_worker_stops_gets_an_answer(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        waiting: Sequence[asyncio.Task[None]] = [
            asyncio.create_task(mine.append([page(n)])) for n in range(9)
        ]
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert found(tmp_path) == [f"/{number}" for number in range(9)]
