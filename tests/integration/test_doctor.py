"""`headcount doctor`: what it finds, on real files, a real Postgres and a real worker; it changes nothing."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import shutil
import socket
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

import make
from headcount import app
from headcount.cli.main import main
from headcount.clock import Clock
from headcount.services import doctor, machine
from headcount.services.finding import Finding, Level
from headcount.services.health import Name
from headcount.store import daykeys, files, geoip
from headcount.store.daykeys import DayKeys
from headcount.store.figures import Figures
from headcount.store.postgres import Database

if TYPE_CHECKING:
    import asyncpg

PUBLIC = {"public_url": "https://count.example"}
OPEN = {"listen": "0.0.0.0:80"}
TRUSTED = {"trusted_proxies": "192.0.2.7/32"}


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """How full this disk is is not what is tried here."""
    monkeypatch.setattr(machine, "LITTLE_DISK", 0)


def levels(findings: Iterable[Finding]) -> dict[str, str]:
    """The worst level of each subject. What is not well comes with an advice, and nothing else does."""
    found: dict[str, Level] = {}
    for finding in findings:
        assert bool(finding.advice) == (finding.level is not Level.OK), finding
        found[finding.subject] = max(
            found.get(finding.subject, Level.OK), finding.level, key=list(Level).index
        )
    return {subject: str(level) for subject, level in found.items()}


@pytest.mark.parametrize(
    ("given", "proxy", "tls"),
    [
        ({}, "ok", "ok"),
        (PUBLIC, "fail", "ok"),
        ({**PUBLIC, **TRUSTED}, "ok", "ok"),
        ({**PUBLIC, "trusted_proxies": "0.0.0.0/0"}, "fail", "ok"),
        ({**PUBLIC, "trusted_proxies": "192.0.2.7/32,::/0"}, "fail", "ok"),
        (OPEN, "ok", "fail"),
        ({**OPEN, "public_url": "http://count.example"}, "ok", "fail"),
        ({**OPEN, **PUBLIC}, "fail", "warn"),
        ({**OPEN, **PUBLIC, **TRUSTED}, "ok", "warn"),
        ({"listen": "[::1]:80"}, "ok", "ok"),
    ],
)
def test_it_warns_of_a_port_without_tls_and_of_a_proxy_that_is_not_trusted(
    tmp_path: Path, given: dict[str, str], proxy: str, tls: str
) -> None:
    config = make.settings(tmp_path, given)
    assert levels(doctor.of_the_way_in(config, Figures())) == {"proxy": proxy, "TLS": tls}


def test_many_events_refused_for_one_client_s_rate_point_to_a_proxy(tmp_path: Path) -> None:
    config = make.settings(tmp_path)
    few = Figures(received=100, refused={"rate_limit": 10})
    many = Figures(received=100, refused={"rate_limit": 11})
    assert "rate limit" not in levels(doctor.of_the_way_in(config, few))
    assert levels(doctor.of_the_way_in(config, many))["rate limit"] == "warn"


@pytest.mark.parametrize(
    ("swaps", "level"),
    [
        ("Filename\tType\tSize\tUsed\tPriority\n", "ok"),
        ("Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 8 0 100\n", "ok"),
        ("Filename\tType\tSize\tUsed\tPriority\n/dev/dm-1 partition 8 0 -2\n", "warn"),
    ],
)
def test_swap_on_a_disk_is_warned_of(tmp_path: Path, swaps: str, level: str) -> None:
    (tmp_path / "swaps").write_text(swaps)
    assert levels(machine.of_swap([], tmp_path / "swaps")) == {"swap": level}


def test_a_server_that_may_write_core_dumps_fails(tmp_path: Path) -> None:
    with (tmp_path / "state.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = machine.holders(tmp_path / "state.lock")
        assert running == [str(os.getpid())]
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        for limit in (limit for limit in (0, 1, 2) if hard == resource.RLIM_INFINITY or limit <= hard):
            resource.setrlimit(resource.RLIMIT_CORE, (limit, hard))
            assert levels(machine.of_core_dumps(running)) == {"core dumps": "fail" if limit > 1 else "ok"}
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert machine.holders(tmp_path / "state.lock") == machine.holders(tmp_path / "none") == []
    assert levels(machine.of_core_dumps([])) == {"core dumps": "ok"}


def test_keys_that_outlived_their_day_fail_wherever_they_are(
    tmp_path: Path, ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daykeys, "RAM_DISKS", (ram, Path("/proc")))
    now = Clock().now()
    assert list(machine.of_old_keys(tmp_path, now)) == []
    folder = daykeys.folder(tmp_path)
    DayKeys(folder).get("Etc/UTC", now.date())
    assert list(machine.of_old_keys(tmp_path, now)) == []
    assert levels(machine.of_old_keys(tmp_path, now + timedelta(days=2))) == {"day keys": "fail"}
    assert levels(machine.of_memory_for_keys(tmp_path)) == {"day keys": "ok"}
    shutil.rmtree(folder)


def test_a_machine_without_a_ram_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daykeys, "RAM_DISKS", (Path("/proc"), Path("/nowhere")))
    assert levels(machine.of_memory_for_keys(tmp_path)) == {"day keys": "fail"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_else_s_data_directory_is_left_alone(tmp_path: Path, ram: Path) -> None:
    data = ram / "of-root"
    data.mkdir(mode=0o700)
    with ProcessPoolExecutor(1, initializer=os.setuid, initargs=(65534,)) as other:
        found = other.submit(machine.closed_to_us, data).result()
    assert machine.closed_to_us(data) is None
    assert machine.closed_to_us(tmp_path / "none") is None
    data.rmdir()
    assert found is not None
    assert (found.level, "user 0" in found.advice) == ("fail", True)


def test_files_that_others_can_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = make.settings(tmp_path)
    tmp_path.chmod(0o700)
    (tmp_path / "secret.key").touch(0o600)
    assert levels(machine.of_files(config)) == {"data directory": "ok"}
    tmp_path.chmod(0o755)
    (tmp_path / "secret.key").chmod(0o640)
    assert levels(machine.of_files(config)) == {"data directory": "warn", "secrets": "fail"}


def test_a_spool_that_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "0.db").write_bytes(b"no database" * 100)
    (tmp_path / "spool" / "0.lock").touch()
    assert levels(machine.of_files(make.settings(tmp_path)))["spool"] == "fail"


def test_a_file_that_was_set_aside_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "0.db").write_bytes(b"no database" * 100)
    files.set_aside(tmp_path / "spool" / "0.db")
    assert levels(machine.of_files(make.settings(tmp_path)))["spool"] == "warn"


def test_a_disk_without_room_for_what_may_wait_is_warned_of(tmp_path: Path) -> None:
    small = {"spool_limit": str(1 << 20), "outbox_limit": str(1 << 20)}
    assert levels(machine.of_disk(make.settings(tmp_path, small))) == {"disk": "ok"}
    assert levels(machine.of_disk(make.settings(tmp_path, {"outbox_limit": str(1 << 40)}))) == {
        "disk": "warn"
    }


def test_an_old_country_file_is_warned_of_and_a_broken_one_fails(tmp_path: Path) -> None:
    config = make.settings(tmp_path)
    reader, facts = geoip.open_checked(geoip.SHIPPED)
    reader.close()
    assert doctor.of_country_file(config, make.Stopped(facts.built_at + timedelta(days=365))).level == "ok"
    assert doctor.of_country_file(config, make.Stopped(facts.built_at + timedelta(days=366))).level == "warn"
    (tmp_path / "geoip.mmdb").write_bytes(b"nonsense")
    assert doctor.of_country_file(config, Clock()).level == "fail"


# Postgres


async def examined(dsn: str, clock: Clock) -> dict[str, list[tuple[str, str]]]:
    database = Database(lambda: dsn)
    found: dict[str, list[tuple[str, str]]] = {}
    for one in await doctor.of_postgres(database, clock):
        found.setdefault(one.subject, []).append((str(one.level), one.says))
    await database.close()
    return found


async def test_a_postgres_that_does_not_keep_its_word_is_told(
    dsn: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    kept = await db.fetchval("select current_setting('fsync')") == "on"
    name = await db.fetchval("select current_database()")
    await db.execute(f"alter database {name} set synchronous_commit = off")
    found = await examined(dsn, Clock())
    assert [level for level, says in found["Postgres"] if "fsync is off" in says] == (
        [] if kept else ["fail"]
    )
    assert [level for level, says in found["Postgres"] if "synchronous_commit is off" in says] == ["warn"]
    assert found["schema"] == [("ok", "it is the one of this version")]


async def test_a_postgres_without_our_schema_is_warned_of_and_left_as_it_is(empty: str) -> None:
    for _ in range(2):
        assert (await examined(empty, Clock()))["schema"][0][0] == "warn"


async def test_a_postgres_that_is_down_is_a_warning_because_events_are_collected() -> None:
    assert list(await examined(make.NO_POSTGRES, Clock())) == ["Postgres"]
    ((level, _),) = (await examined(make.NO_POSTGRES, Clock()))["Postgres"]
    assert level == "warn"


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, "ok"), (-30, "warn"), (30, "warn"), (-90, "fail"), (90, "fail")]
)
async def test_a_clock_that_is_not_that_of_postgres_is_told(dsn: str, seconds: float, level: str) -> None:
    clock = make.Stopped(Clock().now() + timedelta(seconds=seconds))
    assert (await examined(dsn, clock))["clock"][0][0] == level


# The server and the command


async def test_what_a_running_server_says_of_itself_is_passed_on(tmp_path: Path) -> None:
    async with make.worker(tmp_path, sites=None) as worker:
        port = worker.client.port
        config = make.settings(tmp_path, {"listen": f"127.0.0.1:{port}"})
        found = levels(await doctor.examine(config, Database(lambda: make.NO_POSTGRES), Clock()))
    assert (found["server"], found["server: settings"], found["server: rollup"]) == ("ok", "fail", "fail")
    assert "server: disk" not in found
    assert levels(doctor.of_the_server(f"http://127.0.0.1:{port}")) == {"server": "warn"}


@pytest.mark.parametrize(("given", "level"), [({}, "ok"), ({"trusted_proxies": "127.0.0.1/32"}, "fail")])
async def test_a_proxy_that_tells_nobody_s_address_is_noticed_through_the_public_url(
    tmp_path: Path, given: dict[str, str], level: str
) -> None:
    # A connection from this machine without a header is what a proxy makes that sets none.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    public = f"http://127.0.0.1:{port}"
    assert await from_outside(public) == {"public URL": "warn"}
    config = make.settings(tmp_path, {"public_url": public, **given})
    async with app.application(config) as application, TestServer(application, port=port):
        assert await from_outside(public) == {"public URL": level}
    shutil.rmtree(daykeys.folder(tmp_path))


async def from_outside(origin: str) -> dict[str, str]:
    return await asyncio.to_thread(lambda: levels(doctor.of_the_public_url(origin)))


async def test_what_answers_at_the_public_url_may_be_somebody_else() -> None:
    async with TestServer(web.Application()) as other:
        assert await from_outside(str(other.make_url("")).rstrip("/")) == {"public URL": "warn"}


def test_every_check_of_the_server_has_an_advice() -> None:
    assert doctor.ADVICE.keys() == set(Name)


def test_the_command_changes_nothing_and_its_exit_code_tells_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", make.NO_POSTGRES)
    well = CliRunner().invoke(main, ["doctor", "--json"])
    assert (well.exit_code, list(json.loads(well.output))) == (0, ["findings", "settings"])
    monkeypatch.setenv("HEADCOUNT_TRUSTED_PROXIES", "0.0.0.0/0")
    failing = CliRunner().invoke(main, ["doctor"])
    assert failing.exit_code == 1
    assert "To do: name the networks of your proxies" in " ".join(failing.output.split())
    assert list(tmp_path.iterdir()) == []
