"""For the tests of the embedded PostgreSQL data directories and users; for those of licenses a vendor and a shop."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from embedding import USER, Embed, Process, Start, copy
from headcount.services.licenses import Licenses
from headcount.services.management import Management
from headcount.store import embedded, postmaster
from make import Stopped
from selling import NOW, shop
from vendor import Vendor, a_vendor

FAST = {"fsync": "off"}


@pytest.fixture(scope="session")
def initialised(ram: Path) -> Path:
    """A data directory whose cluster has been made, to be copied: that is faster than initdb."""
    server = embedded.Embedded(ram / "initialised", FAST)
    server.start()
    server.release()
    for name in ("id", "postgres.lock", "postgres.users", "postgres.log"):
        (server.data_dir / name).unlink()
    return server.data_dir


@pytest.fixture
def place(ram: Path) -> Iterator[Path]:
    """A folder for data directories; the servers on them are stopped when the test is over."""
    folder = ram / secrets.token_hex(4)
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    yield folder
    for file in folder.glob("**/postgres/postmaster.pid"):
        postmaster.stop(file.parent)
    shutil.rmtree(folder)


@pytest.fixture
def runtime(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder under which sockets get theirs."""
    folder = place / "run"
    folder.mkdir()
    folder.chmod(0o755)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def data_dir(initialised: Path, place: Path, runtime: Path) -> Path:
    """A data directory whose server starts at once."""
    return copy(initialised, place / "data")


@pytest.fixture
def embed(runtime: Path) -> Iterator[Embed]:
    """Gives a user of the server in this process."""
    servers: list[embedded.Embedded] = []

    def make(data_dir: Path) -> embedded.Embedded:
        servers.append(embedded.Embedded(data_dir, FAST))
        return servers[-1]

    yield make
    for server in servers:
        server.release()


@pytest.fixture
def start(runtime: Path) -> Iterator[Start]:
    """Starts another process that uses the server until it is killed."""
    processes: list[Process] = []

    def run(data_dir: Path, *prefix: str, **environment: str) -> Process:
        command = [*prefix, sys.executable, "-c", USER, str(data_dir)]
        pipe = subprocess.PIPE
        env = {**os.environ, **environment}
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
async def vendor(tmp_path: Path, dsn: str) -> AsyncIterator[Vendor]:
    """A vendor with a worker that answers checks."""
    async with a_vendor(tmp_path / "data", dsn) as found:
        yield found


@pytest.fixture
def clock() -> Stopped:
    return Stopped(NOW)


@pytest.fixture
async def management(dsn: str, clock: Stopped) -> AsyncIterator[Management]:
    """What a vendor handles, with a product that has plans."""
    async with shop(dsn, clock) as management:
        yield management


@pytest.fixture
def licenses(management: Management) -> Licenses:
    return management.licenses
