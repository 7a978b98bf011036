"""The figures of all processes of a node, and what waits in its spools as any process can see it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import make
import make_hits
from headcount.model import Dropped, Ignored
from headcount.store import backlog, figures
from headcount.store.figures import FLUSH_BUCKETS, Board, Figures, Progress, Role
from headcount.store.spool import Spool, SpoolReader


def board(folder: Path, role: Role = Role.WEB, clock: make.Stopped | None = None) -> Board:
    return Board(folder, role, (clock or make.Stopped()).monotonic)


def total(folder: Path) -> Figures:
    return figures.total(one.figures for one in figures.read(folder))


def test_processes_are_added_up(tmp_path: Path) -> None:
    one, other = board(tmp_path), board(tmp_path)
    for each, count in ((one, 2), (other, 5)):
        each.figures.received += count
        each.figures.turned_away(Ignored.INVALID, count)
        each.figures.answers["/h.gif", 2] += count
        each.figures.flushed(0.02)
        each.publish()
    found = total(tmp_path)
    assert (found.received, found.refused, found.answers) == (14, {"invalid": 7}, {("/h.gif", 2): 7})
    assert (sum(found.flushes), found.flushes[FLUSH_BUCKETS.index(0.025)], found.flush_seconds) == (
        2,
        2,
        0.04,
    )
    one.close()
    other.close()


def test_a_process_goes_on_from_the_figures_of_the_one_whose_place_it_takes(tmp_path: Path) -> None:
    first, second = board(tmp_path), board(tmp_path)
    first.figures.refused["busy"] += 3
    first.close()
    third = board(tmp_path)
    third.figures.refused["busy"] += 1
    third.publish()
    second.publish()
    assert total(tmp_path).refused == {"busy": 4}
    assert len(list(tmp_path.glob("*.figures"))) == 2
    third.close()
    second.close()


def test_time_of_the_processor_is_not_lost_with_a_process(tmp_path: Path) -> None:
    first = board(tmp_path)
    first.close()
    used = total(tmp_path).cpu_seconds
    second = board(tmp_path)
    second.publish()
    assert total(tmp_path).cpu_seconds >= 2 * used > 0
    second.close()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\x80"])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, body: bytes) -> None:
    board(tmp_path).close()
    (path,) = tmp_path.glob("*.figures")
    path.write_bytes(body)
    assert figures.read(tmp_path) == []
    again = board(tmp_path)
    again.figures.stored += 1
    again.publish()
    assert total(tmp_path).stored == 1
    again.close()


def test_a_process_whose_ram_disk_was_cleared_publishes_again(tmp_path: Path) -> None:
    one, other = board(tmp_path / "figures"), board(tmp_path / "figures")
    one.figures.stored, other.figures.stored = 1, 2
    shutil.rmtree(tmp_path / "figures")
    one.publish()
    other.publish()
    assert total(tmp_path / "figures").stored == 3
    one.close()
    other.close()


def test_what_a_rollup_said_of_its_progress_outlives_it(tmp_path: Path) -> None:
    progress = Progress(flushes=3, bytes=4, oldest=5, sent_before=6, purged_at=None, started_at=7)
    rollup = board(tmp_path, Role.ROLLUP)
    rollup.publish(progress)
    rollup.close()
    (found,) = figures.read(tmp_path)
    assert (found.role, found.progress) == (Role.ROLLUP, progress)


def test_refused_checks_are_no_events() -> None:
    counted = Figures()
    counted.turned_away(Ignored.LICENSE_INVALID)
    counted.turned_away(Ignored.TOO_LARGE)
    assert (counted.received, counted.refused, counted.checks_refused) == (
        1, {"too_large": 1}, {"license_invalid": 1},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(0.0, 0), (0.005, 0), (0.0051, 1), (30.0, len(FLUSH_BUCKETS) - 1), (31.0, len(FLUSH_BUCKETS))],
)
def test_a_flush_is_counted_within_the_smallest_bound_that_holds_it(seconds: float, place: int) -> None:
    counted = Figures()
    counted.flushed(seconds)
    assert [index for index, number in enumerate(counted.flushes) if number] == [place]


# What waits


async def test_what_was_not_taken_is_seen_with_the_age_of_the_oldest(tmp_path: Path) -> None:
    clock = make.Stopped()
    at = clock.milliseconds()
    async with Spool(tmp_path, 1 << 30, clock.milliseconds) as spool:
        await spool.append([Dropped(1, clock.moment.date(), "gpc")])
        for number in range(3):
            await spool.append([make_hits.hit(at=at + number)])
        found = backlog.look(tmp_path)
        assert (found.spools, found.batches, found.oldest, found.unreadable) == (1, 4, at, 0)
        assert found.bytes == found.fullest > 0
        (path,) = tmp_path.glob("*.db")
        reader = SpoolReader(path)
        reader.drained(2)
        assert backlog.look(tmp_path)[1:2] == (2,)
        assert backlog.look(tmp_path).oldest == at + 1
        reader.drained(4)
        assert backlog.look(tmp_path)._replace(bytes=0, fullest=0) == backlog.Backlog(spools=1)
        reader.close()


def test_a_damaged_spool_is_told_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "0.db").write_bytes(b"no database" * 1000)
    (tmp_path / "0.lock").touch()
    assert backlog.look(tmp_path) == backlog.Backlog(unreadable=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.db", "0.lock"]


def test_where_there_is_no_spool_nothing_waits_and_none_is_made(tmp_path: Path) -> None:
    assert backlog.look(tmp_path / "spool") == backlog.Backlog()
    assert list(tmp_path.iterdir()) == []
