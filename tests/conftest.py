"""One PostgreSQL for the run (one a worker of xdist), one template with the schema, one database a test.

With HEADCOUNT_TEST_DATABASE_URL set, that server is used: its role must be allowed to make databases.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest

from headcount.store import embedded, migrations, postmaster

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

# No test is about the time it takes: these machines are shared.
hypothesis.settings.register_profile("headcount", deadline=None, print_blob=True)
hypothesis.settings.load_profile("headcount")

# What a test run stores need not outlive it.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="the long form of the tests of faults")
    parser.addoption("--soak-seed", type=int, help="the seed that such a test has printed, to repeat it")


@pytest.fixture(scope="session")
def ram() -> Iterator[Path]:
    """A folder of this run, in memory where there is such a thing; others may pass through it."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK | os.X_OK) else None
    _clear_up(Path(where or tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"headcount-test-{os.getpid()}-", dir=where) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _clear_up(where: Path) -> None:
    """Take away what runs have left that were killed: their folders name the process that made them."""
    for folder in where.glob("headcount-test-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            for file in folder.glob("**/postgres/postmaster.pid"):
                postmaster.stop(file.parent)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(ram: Path) -> Iterator[str]:
    """The DSN of a server on which databases can be made."""
    if url := os.environ.get("HEADCOUNT_TEST_DATABASE_URL"):
        yield url
        return
    server = embedded.Embedded(ram / "postgres", FAST)
    try:
        yield server.start()
    finally:
        server.release()


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """The name of a database with the schema, to be cloned."""
    name = f"headcount_template_{secrets.token_hex(6)}"
    _run(_execute(postgres, f"create database {name}"))
    try:
        _run(_migrate(_on(postgres, name)))
        yield name
    finally:
        _run(_execute(postgres, f"drop database {name} with (force)"))


@pytest.fixture
async def dsn(postgres: str, template: str) -> AsyncIterator[str]:
    """The DSN of a database of this test's own, with the schema and without rows."""
    # Copying files takes 8 ms, copying through the log 95.
    async with _database(postgres, f"template {template} strategy file_copy") as dsn:
        yield dsn


@pytest.fixture
async def empty(postgres: str) -> AsyncIterator[str]:
    """The DSN of a database of this test's own, without the schema."""
    async with _database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Connection]:
    """A connection to this test's database."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def _database(server: str, options: str = "strategy file_copy") -> AsyncIterator[str]:
    name = f"headcount_test_{secrets.token_hex(6)}"
    await _execute(server, f"create database {name} {options}")
    try:
        yield _on(server, name)
    finally:
        await _execute(server, f"drop database {name} with (force)")


def _on(dsn: str, database: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await migrations.migrate(connection, datetime.now(UTC))
    finally:
        await connection.close()


def _run(work: Coroutine[object, object, None]) -> None:
    # In a thread: a session's fixture must not touch the loop of the test that asks for it first.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
