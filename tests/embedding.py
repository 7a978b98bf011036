"""Words and fixtures' types for the tests of the embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import asyncpg

from headcount.store import cluster, embedded, files, postmaster

Process = subprocess.Popen[str]

USER = """
import signal
import sys
from pathlib import Path
from headcount import errors
from headcount.store import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
server = embedded.Embedded(Path(sys.argv[1]))
try:
    print(server.start(), flush=True)
except errors.HeadcountError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
sys.stdin.read()
server.release()
"""
"""A process that uses the server until its input ends: prints the DSN, or the error."""


class Embed(Protocol):
    def __call__(self, data_dir: Path) -> embedded.Embedded: ...


class Start(Protocol):
    def __call__(self, data_dir: Path, *prefix: str, **environment: str) -> Process: ...


def copy(original: Path, target: Path) -> Path:
    subprocess.run(["cp", "-a", original, target], check=True)
    return target


def ask(dsn: str, query: str = "select 1") -> object:
    async def run() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(run())


def pid(data_dir: Path) -> int:
    running = postmaster.find(data_dir / "postgres")
    assert running is not None
    return running.pid


def kill(process: int | Process) -> None:
    """Kill it for good, and wait until it is gone."""
    number = process if isinstance(process, int) else process.pid
    os.kill(number, signal.SIGKILL)
    assert postmaster.gone(number, 5)


def first_line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def cpu_bound(dsn: str, sentinel: str = "busy") -> Iterator[int]:
    """A session in the middle of a query that never waits for anything; gives the pid of its backend."""
    query = f"select count(*), '{sentinel}' from (select generate_series(1, 1e12::bigint)) as numbers"
    psql = [f"{cluster.programs()}/psql", "--no-psqlrc", "--dbname", dsn, "--command", query]
    with subprocess.Popen(psql, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield _backend(dsn, sentinel)
        finally:
            process.kill()


def _backend(dsn: str, sentinel: str) -> int:
    look = f"select pid from pg_stat_activity where query like '%{sentinel}%' and pid <> pg_backend_pid()"
    for _ in files.patiently(5):
        found = ask(dsn, look)
        if isinstance(found, int):
            return found
    raise AssertionError("The session did not begin.")
