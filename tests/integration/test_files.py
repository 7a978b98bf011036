"""Files are whole or absent, belong to their folder's owner, and are locked only by the living."""

from __future__ import annotations

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headcount import errors
from headcount.store import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    files.write_durably(tmp_path / "key", b"a longer text")
    files.write_durably(tmp_path / "key", b"short")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"short")]


def test_its_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        files.write_durably(tmp_path / "private", b"")
        files.write_durably(tmp_path / "public", b"", 0o644)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "private"), mode(tmp_path / "public")) == (0o600, 0o644)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        files.write_durably(tmp_path / "folder", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_of_two_that_create_a_file_the_first_wins(tmp_path: Path) -> None:
    assert files.create_durably(tmp_path / "key", b"first")
    assert not files.create_durably(tmp_path / "key", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"first")]


def test_all_who_ask_at_once_for_the_id_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        ids = set(threads.map(files.data_id, [tmp_path] * 64))
    assert len(ids) == 1
    assert ids == {files.data_id(tmp_path)}


@pytest.mark.parametrize("content", ["", "../../etc", "0123456789ABCDEF", "ÿ"])
def test_a_damaged_id_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "id").write_text(content)
    with pytest.raises(errors.BadConfig, match="is damaged"):
        files.data_id(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can make files for another account.")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    files.write_durably(tmp_path / "written", b"")
    os.close(files.open_shared(tmp_path / "locked"))
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {12345}


def test_a_lock_is_for_one_at_a_time(tmp_path: Path) -> None:
    with (
        files.exclusively(tmp_path / "lock", 1),
        pytest.raises(errors.ServiceBusy, match="Another process has been holding"),
        files.exclusively(tmp_path / "lock", 0.05),
    ):
        raise AssertionError("Both hold it.")


def test_a_lock_is_free_again_though_a_forked_child_has_its_descriptor(tmp_path: Path) -> None:
    descriptor = files.open_shared(tmp_path / "lock")
    inherited = os.dup(descriptor)
    assert files.try_lock(descriptor, fcntl.LOCK_EX)
    files.unlock(descriptor)
    with files.exclusively(tmp_path / "lock", 0):
        os.close(inherited)


def test_a_link_is_not_followed_to_be_locked(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        files.open_shared(tmp_path / "lock")


def test_damaged_files_are_kept_for_a_while_under_a_name_of_their_own(tmp_path: Path) -> None:
    for name in ("state.db", "state.db-wal"):
        (tmp_path / name).write_bytes(b"broken")
    files.set_aside(tmp_path / "state.db")
    assert len(files.damaged(tmp_path)) == len(list(tmp_path.iterdir())) == 2
    written = datetime.fromtimestamp(files.damaged(tmp_path)[0].stat().st_mtime, UTC)
    files.forget_damaged(tmp_path, written - timedelta(minutes=5))
    assert len(files.damaged(tmp_path)) == 2
    files.forget_damaged(tmp_path, written + timedelta(minutes=5))
    assert files.damaged(tmp_path) == []
