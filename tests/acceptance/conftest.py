"""Data directories for real servers, and an end for whatever still runs on them."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acceptance.server import Clock, libfaketime
from headcount.store import embedded


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
    folder = ram / secrets.token_hex(4)
    folder.mkdir()
    folder.chmod(0o711)  # Postgres runs under another account when we are root
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(empty_place: Path, cluster: Path) -> Path:
    """A folder for a server, whose Postgres has been made."""
    subprocess.run(["cp", "-a", cluster, empty_place / "data"], check=True)
    return empty_place


@pytest.fixture
def clock(empty_place: Path) -> Clock:
    """The time for a server, which stands still until the test sets it."""
    if libfaketime() is None:
        pytest.skip("needs faketime: apt-get install faketime")
    return Clock(empty_place / "clock", datetime(2026, 10, 24, 18, tzinfo=UTC))
