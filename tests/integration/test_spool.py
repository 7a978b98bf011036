"""The spool: durable before acknowledged, taken once, gone afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import make_hits as make
from headcount import errors
from headcount.model import Record
from headcount.store import spool

BIG = 1 << 30


def reader(folder: Path) -> spool.SpoolReader:
    (path,) = folder.glob("*.db")
    return spool.SpoolReader(path)


def held(folder: Path) -> list[Record]:
    found = reader(folder)
    try:
        return [record for _, _, body in found.read(0, 1000) for record in spool.records(body)]
    finally:
        found.close()


async def takes(mine: spool.Spool, record: Record) -> None:
    """Offer it until it is taken, as a client does that gets 503."""
    async with asyncio.timeout(5):
        while True:
            with suppress(errors.SpoolFull):
                return await mine.append([record])
            await mine.tick()
            await asyncio.sleep(0.01)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what happens there happens in a thread
            await asyncio.sleep(0.01)


async def test_what_was_appended_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit(page="/kept")])
        assert held(tmp_path) == [make.hit(page="/kept")]


async def test_events_that_come_during_a_commit_share_the_next(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await asyncio.gather(*(mine.append([make.hit(n)]) for n in range(200)))
        found = reader(tmp_path)
        assert len(found.read(0, 1000)) < 20
        found.close()


async def test_a_batch_number_never_comes_back(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        found = reader(tmp_path)
        await mine.append([make.hit()])
        found.drained(1)
        await mine.append([make.hit()])
        assert [number for number, _, _ in found.read(0, 10)] == [2]
        found.close()


async def test_an_idle_worker_deletes_what_was_drained(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit()])
        found = reader(tmp_path)
        found.drained(1)
        await mine.tick()
        await until(lambda: not found.read(0, 10))
        found.close()


async def test_nothing_of_a_deleted_event_is_left_in_the_file(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit(page="/unmistakable")])
        found = reader(tmp_path)
        found.drained(1)
        found.close()
        await mine.tick()
        await asyncio.sleep(0.1)
        await mine.append([])
    assert [p.name for p in tmp_path.iterdir() if b"unmistakable" in p.read_bytes()] == []


async def test_two_workers_never_share_a_spool(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms), spool.Spool(tmp_path, BIG, make.ms):
        assert len(list(tmp_path.glob("*.db"))) == 2


async def test_a_worker_takes_over_a_spool_that_was_left_behind(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit()])
    async with spool.Spool(tmp_path, BIG, make.ms):
        assert held(tmp_path) == [make.hit()]


async def test_a_drained_spool_of_a_worker_that_is_gone_is_deleted(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit()])
    found = reader(tmp_path)
    assert not found.remove_if_orphaned(position=0)
    assert found.remove_if_orphaned(position=1)
    assert list(tmp_path.iterdir()) == []


async def test_the_spool_of_a_living_worker_is_not_deleted(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms):
        found = reader(tmp_path)
        assert not found.remove_if_orphaned(position=0)
        found.close()


async def test_a_full_spool_refuses_and_takes_again_when_it_was_drained(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, 200_000, make.ms) as mine:
        await mine.append([make.hit(page="/" + "x" * 1900)] * 200)
        with pytest.raises(errors.SpoolFull):
            await mine.append([make.hit()])
        found = reader(tmp_path)
        found.drained(1)
        await takes(mine, make.hit())
        found.close()


async def test_a_commit_that_fails_acknowledges_nothing(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        (path,) = tmp_path.glob("*.db")
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("alter table batch rename to elsewhere")
            with pytest.raises(errors.SpoolFull):
                await mine.append([make.hit()])
            other.execute("alter table elsewhere rename to batch")
        other.close()


async def test_a_cancelled_request_takes_no_other_with_it(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        gone = asyncio.create_task(mine.append([make.hit(1)]))
        await asyncio.sleep(0)
        gone.cancel()
        await mine.append([make.hit(2)])
        assert make.hit(2) in held(tmp_path)


async def test_a_worker_starts_beside_a_damaged_spool(tmp_path: Path) -> None:
    (tmp_path / "0bad.db").write_bytes(b"no database at all" * 1000)
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit()])
    assert len(list(tmp_path.glob("*.db"))) == 2


async def test_whatever_fails_in_a_commit_is_an_answer_and_the_next_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        with monkeypatch.context() as patched:
            patched.setattr(spool._File, "_size", lambda _: 1 / 0)
            with pytest.raises(errors.SpoolFull):
                await mine.append([make.hit()])
        await takes(mine, make.hit())


async def test_one_step_takes_a_bounded_part_of_a_backlog(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        for _ in range(4):
            await mine.append([make.hit(page="/" + "x" * 1900)] * 500)
        found = reader(tmp_path)
        batches, more = found.ahead(0)
        assert (len(batches), more) == (2, True)
        found.close()


async def test_a_spool_is_locked_until_its_last_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with spool.Spool(tmp_path, BIG, make.ms) as mine:
        await mine.append([make.hit()])
    found, seen = reader(tmp_path), []
    unlink = Path.unlink

    def look(path: Path, missing_ok: bool = False) -> None:
        other = spool.Marks(next(tmp_path.glob("*.lock")))
        seen.append(other.lock())
        other.close()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", look)
    assert found.remove_if_orphaned(position=1)
    assert not any(seen)
