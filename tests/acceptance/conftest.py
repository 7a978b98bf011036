"""Data directories for real servers, and an end for whatever still runs on them."""

from __future__ import annotations

import random
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acceptance.server import Clock, Server, libfaketime
from acceptance.soak import Soak
from headcount.store import embedded

LONG = 1800
"""Seconds that a test may take in its long form."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        for item in items:
            item.add_marker(pytest.mark.timeout(LONG), append=False)
        return
    long_alone = [item for item in items if item.get_closest_marker("soak")]
    items[:] = [item for item in items if item not in long_alone]
    config.hook.pytest_deselected(items=long_alone)


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Soak:
    """The form in which this test runs; its seed is shown where it fails."""
    options = request.config
    seed = options.getoption("--soak-seed") or random.randrange(1 << 32)
    found = Soak(bool(options.getoption("--soak")), random.Random(seed))
    found.report(f"{request.node.name}: seed {seed}")
    return found


@pytest.fixture(scope="session")
def cluster(ram: Path) -> Path:
    """A data directory in which there is a Postgres already, and nothing else: to be copied, which is fast."""
    own = embedded.Embedded(ram / "cluster", {"fsync": "off"})
    own.start()
    own.release()
    for name in ("id", "postgres.lock", "postgres.users", "postgres.log"):
        (own.data_dir / name).unlink()
    return own.data_dir


@pytest.fixture
def empty_place(ram: Path) -> Iterator[Path]:
    """A folder for a server, with nothing in it."""
    with _folder(ram) as folder:
        yield folder


@pytest.fixture
def place(ram: Path, cluster: Path) -> Iterator[Path]:
    """A folder for a server, whose Postgres has been made."""
    with _folder(ram) as folder:
        yield _with_postgres(folder, cluster)


@pytest.fixture(scope="module")
def shared_place(ram: Path, cluster: Path) -> Iterator[Path]:
    """A folder for a server that all tests of a file ask."""
    with _folder(ram) as folder:
        yield _with_postgres(folder, cluster)


@pytest.fixture
def another_place(ram: Path, cluster: Path) -> Iterator[Path]:
    """A folder for a second server."""
    with _folder(ram) as folder:
        yield _with_postgres(folder, cluster)


@pytest.fixture
def outside(another_place: Path) -> Iterator[embedded.Embedded]:
    """A Postgres that is not the server's own, and stays down when it is stopped."""
    server = embedded.Embedded(another_place / "data")
    server.start()
    yield server
    server.release()


@pytest.fixture
def clock(ram: Path) -> Iterator[Clock]:
    """The time for a server, which stands still until the test sets it."""
    if libfaketime() is None:
        pytest.skip("needs faketime: apt-get install faketime")
    with _folder(ram) as folder:
        yield Clock(folder / "clock", datetime(2026, 10, 24, 18, tzinfo=UTC))


@contextmanager
def _folder(ram: Path) -> Iterator[Path]:
    folder = ram / secrets.token_hex(4)
    folder.mkdir()
    folder.chmod(0o711)  # Postgres runs under another account when we are root
    yield folder
    Server(folder).end()  # a test that ran out of time may have left something
    shutil.rmtree(folder)


def _with_postgres(folder: Path, cluster: Path) -> Path:
    subprocess.run(["cp", "-a", cluster, folder / "data"], check=True)
    return folder
