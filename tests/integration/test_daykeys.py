"""Day keys: one for all processes of a node, in memory alone, gone five minutes after the day."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from headcount import errors, localtime
from headcount.store import daykeys
from headcount.store.daykeys import DayKeys

DAY = date(2026, 3, 10)
GRACE = timedelta(minutes=5)
A_MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def folder(ram: Path) -> Iterator[Path]:
    folder = ram / "days"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(tmp_path: Path, ram: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(daykeys, "RAM_DISKS", (Path("/proc"), ram))
    return tmp_path


def test_a_key_is_random_and_stays_the_same(folder: Path) -> None:
    keys = DayKeys(folder)
    found = [keys.get("Etc/UTC", DAY), keys.get("Europe/Riga", DAY), keys.get("Etc/UTC", DAY + timedelta(1))]
    assert [len(key) for key in found] == [32, 32, 32]
    assert len(set(found)) == 3
    assert keys.get("Etc/UTC", DAY) == found[0]


def test_a_restart_keeps_the_key(folder: Path) -> None:
    assert DayKeys(folder).get("America/Argentina/Ushuaia", DAY) == DayKeys(folder).get(
        "America/Argentina/Ushuaia", DAY
    )


def test_processes_that_start_together_agree(folder: Path) -> None:
    crowd, days = 8, [DAY + timedelta(number) for number in range(20)]
    start = Barrier(crowd)

    def keys_of_all_days(_: int) -> tuple[bytes, ...]:
        keys = DayKeys(folder)
        start.wait()
        return tuple(keys.get("Etc/UTC", day) for day in days)

    with ThreadPoolExecutor(crowd) as threads:
        (found,) = set(threads.map(keys_of_all_days, range(crowd)))
    assert len(set(found)) == len(days)


def test_only_the_owner_can_read_a_key_and_nothing_else_lies_there(folder: Path) -> None:
    before = os.umask(0)
    try:
        DayKeys(folder).get("Europe/Riga", DAY)
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("Europe~Riga@2026-03-10", 0o600)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Etc/UTC", DAY, 24),
        ("Asia/Kolkata", DAY, 24),
        ("Europe/Riga", date(2026, 3, 29), 23),
        ("Europe/Riga", date(2026, 10, 25), 25),
        ("Pacific/Kiritimati", DAY, 24),
    ],
)
def test_a_key_ends_five_minutes_after_its_local_day(folder: Path, zone: str, day: date, hours: int) -> None:
    keys = DayKeys(folder)
    keys.get(zone, day)
    end = localtime.day_start(zone, day) + timedelta(hours=hours) + GRACE
    assert keys.destroy_ended(end - A_MOMENT) == []
    assert keys.alive() == [(zone, day)]
    assert keys.destroy_ended(end) == [(zone, day)]
    assert (keys.alive(), list(folder.iterdir())) == ([], [])


def test_a_clock_that_steps_back_destroys_nothing(folder: Path) -> None:
    keys = DayKeys(folder)
    key = keys.get("Etc/UTC", DAY)
    assert keys.destroy_ended(datetime(2000, 1, 1, tzinfo=UTC)) == []
    assert keys.get("Etc/UTC", DAY) == key


def test_a_key_left_behind_is_destroyed_at_the_next_start(folder: Path) -> None:
    DayKeys(folder).get("Etc/UTC", DAY)
    assert DayKeys(folder).destroy_ended(datetime(2026, 3, 12, tzinfo=UTC)) == [("Etc/UTC", DAY)]
    assert list(folder.iterdir()) == []


def test_a_key_is_overwritten_and_forgotten_by_whoever_knew_it(folder: Path) -> None:
    keys, others = DayKeys(folder), DayKeys(folder)
    key = keys.get("Etc/UTC", DAY)
    assert others.get("Etc/UTC", DAY) == key
    with next(folder.iterdir()).open("rb") as file:
        later = datetime(2026, 3, 12, tzinfo=UTC)
        assert keys.destroy_ended(later) == others.destroy_ended(later) == [("Etc/UTC", DAY)]
        assert file.read() == bytes(32)
    assert key not in {keys.get("Etc/UTC", DAY), others.get("Etc/UTC", DAY)}


def test_two_who_destroy_at_once_do_not_trip(folder: Path) -> None:
    keys, others = DayKeys(folder), DayKeys(folder)
    keys.get("Etc/UTC", DAY)
    others.get("Etc/UTC", DAY)
    later = datetime(2026, 3, 12, tzinfo=UTC)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda one: one.destroy_ended(later), [keys, others]))
    assert list(folder.iterdir()) == []


def test_the_folder_lies_on_a_ram_disk_and_belongs_to_the_data_directory(data_dir: Path, ram: Path) -> None:
    found = daykeys.folder(data_dir)
    assert found == daykeys.folder(data_dir)
    assert found == ram / f"headcount-days-{(data_dir / 'id').read_text()}"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_the_keys_that_are_alive_can_be_told_without_making_anything(data_dir: Path) -> None:
    assert daykeys.alive(data_dir / "nowhere") == daykeys.alive(data_dir) == []
    assert list(data_dir.iterdir()) == []
    DayKeys(daykeys.folder(data_dir)).get("Europe/Riga", DAY)
    assert daykeys.alive(data_dir) == [("Europe/Riga", DAY)]


def test_without_a_ram_disk_there_are_no_keys(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daykeys, "RAM_DISKS", (Path("/proc"), Path("/nowhere")))
    with pytest.raises(errors.BadConfig, match="RAM disk"):
        daykeys.folder(data_dir)


def test_a_folder_that_others_can_look_into_is_refused(data_dir: Path) -> None:
    daykeys.folder(data_dir).chmod(0o755)
    with pytest.raises(errors.BadConfig, match="mode 0700"):
        daykeys.folder(data_dir)


def test_a_link_to_a_folder_is_refused(data_dir: Path, tmp_path: Path) -> None:
    found = daykeys.folder(data_dir)
    found.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    found.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.BadConfig, match="mode 0700"):
        daykeys.folder(data_dir)
