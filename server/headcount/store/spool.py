"""The spool: where an event is durable before it is acknowledged. One SQLite file a worker.

One row is one group commit: while a commit is under way in a thread, events queue; when it returns, the next
takes them all. Beside each file lies a `.lock` file that keeps a second process out and carries two marks of
eight bytes: the worker's (all it received up to this millisecond is committed) and the rollup's (the batches
up to this number are safe elsewhere; the worker deletes them within its next commit). Neither mark needs to
be durable: the worker's matters only while it lives, and the rollup writes its own again at each start.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from headcount import errors
from headcount.model import Record

# Plain row ids start again at 1 once a table is empty; a batch number must never come back.
_SCHEMA = """
create table if not exists batch (
    number integer primary key autoincrement,
    last integer not null,
    body blob not null
)
"""
log = logging.getLogger(__name__)

MAX_COMMIT = 2000
"""Records a commit at the most, so that a crowd cannot make one commit endless."""
MAX_BATCHES = 200
MAX_BYTES = 2 << 20
"""What one step of the rollup takes from one spool at the most, so that a backlog does not fill its memory."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


def connect(path: Path) -> sqlite3.Connection:
    """A durable SQLite file that leaves no trace of what was deleted."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = on")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class Marks:
    """The lock file: whoever holds its lock owns the spool; both sides leave their mark in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self) -> bool:
        """Whether the lock is ours now. A file that was deleted meanwhile is nobody's any more."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(self._fd).st_ino == self.path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            return False

    def unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def read(self, slot: int) -> int:
        return int.from_bytes(os.pread(self._fd, 8, slot * 8), "big")

    def write(self, slot: int, value: int) -> None:
        os.pwrite(self._fd, value.to_bytes(8, "big"), slot * 8)

    def close(self) -> None:
        os.close(self._fd)


RECEIVED, DRAINED = 0, 1


class Spool:
    """A worker's own spool."""

    def __init__(self, folder: Path, limit: int, now: Callable[[], int]) -> None:
        self._now = now
        self._limit = limit
        self._marks, self._db = _claim(folder)
        self._deleted = 0
        self._full = False
        self._waiting: list[tuple[Sequence[Record], asyncio.Future[None]]] = []
        self._oldest: int | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "spool")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Spool:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            await self._commit_next()
        self._thread.shutdown()
        self._db.close()
        self._marks.close()

    @property
    def full(self) -> bool:
        """Whether events are turned away: the bound is reached, or the last commit failed."""
        return self._full

    async def append(self, records: Sequence[Record]) -> None:
        """Returns when the records are on the disk. Raises SpoolFull if they cannot be kept."""
        if self._full:
            self._wake.set()
            raise errors.SpoolFull
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, future))
        if self._oldest is None:
            self._oldest = self._now()
        self._wake.set()
        await future

    async def tick(self) -> None:
        """Called several times a second: tell the rollup how far it may go, forget what it has taken."""
        if self._oldest is None:
            with suppress(OSError):
                self._marks.write(RECEIVED, self._now())
            if self._marks.read(DRAINED) > self._deleted:
                self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._commit_next()
            while self._waiting:
                await self._commit_next()

    async def _commit_next(self) -> None:
        taken, records = self._take()
        loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(loop.run_in_executor(self._thread, self._commit, records))
            failure = None
        except Exception:
            # Whatever it is, it must not end this task: every later event would wait for ever.
            log.exception("a commit to the spool failed")
            failure = errors.SpoolFull()
        for _, future in taken:
            if not future.done():
                future.set_result(None) if failure is None else future.set_exception(failure)
        if not self._waiting:
            self._oldest = None
            with suppress(OSError):  # the disk may be full; the rollup waits half a second then
                self._marks.write(RECEIVED, self._now())

    def _take(self) -> tuple[list[tuple[Sequence[Record], asyncio.Future[None]]], list[Record]]:
        records: list[Record] = []
        count = 0
        for count, (more, _) in enumerate(self._waiting, 1):  # noqa: B007 - the last one counts
            records.extend(more)
            if len(records) >= MAX_COMMIT:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._oldest = self._now() if self._waiting else self._oldest
        return taken, records

    def _commit(self, records: Sequence[Record]) -> None:
        """In the spool's thread: one transaction, fsynced when it returns."""
        drained = self._marks.read(DRAINED)
        self._db.execute("begin immediate")
        try:
            if drained > self._deleted:
                self._db.execute("delete from batch where number <= ?", (drained,))
            if records:
                last = max(getattr(record, "at", 0) for record in records)
                self._db.execute(
                    "insert into batch (last, body) values (?, ?)", (last, _encoder.encode(records))
                )
            self._db.execute("commit")
        except BaseException:
            self._full = True
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        idle = not records and drained > self._deleted
        self._deleted = max(drained, self._deleted)
        self._full = self._size() > self._limit
        if idle:  # nothing is going on: leave no copy of what was deleted in the log either
            self._db.execute("pragma wal_checkpoint(truncate)")

    def _size(self) -> int:
        (pages,) = self._db.execute("pragma page_count").fetchone()
        (free,) = self._db.execute("pragma freelist_count").fetchone()
        return int(pages - free) * 4096


def _claim(folder: Path) -> tuple[Marks, sqlite3.Connection]:
    """A spool that no process owns: one left behind, or a new one. A damaged one is left alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    left_behind = [path.stem for path in sorted(folder.glob("*.db"))]
    for name in left_behind:
        path = folder / f"{name}.db"
        marks = Marks(path.with_suffix(".lock"))
        if marks.lock():
            if path.exists():
                with suppress(sqlite3.DatabaseError):
                    return marks, _opened(path)
            else:  # the rollup has deleted it since we looked
                marks.path.unlink(missing_ok=True)
        marks.close()
    path = folder / f"{secrets.token_hex(8)}.db"
    marks = Marks(path.with_suffix(".lock"))
    marks.lock()
    return marks, _opened(path)


def _opened(path: Path) -> sqlite3.Connection:
    db = connect(path)
    try:
        db.execute(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


class SpoolReader:
    """The rollup's view of one spool: it reads, leaves its mark, and deletes the file of a worker that is gone."""

    def __init__(self, path: Path) -> None:
        self.id = path.stem
        self._path = path
        self._marks = Marks(path.with_suffix(".lock"))
        try:
            self._db = connect(path)
            self._db.execute("pragma query_only = on")
            self._db.execute("select count(*) from sqlite_master")
        except sqlite3.Error:
            self._marks.close()
            raise

    def ahead(self, after: int) -> tuple[list[tuple[int, int, bytes]], bool]:
        """The batches after this number that one step may take, at least one, and whether more are behind them."""
        batches: list[tuple[int, int, bytes]] = []
        size = 0
        for batch in self.read(after, MAX_BATCHES):
            if batches and size + len(batch[2]) > MAX_BYTES:
                return batches, True
            batches.append(batch)
            size += len(batch[2])
        return batches, len(batches) == MAX_BATCHES

    def read(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """(number, time of the last record, body) of the batches after this number, oldest first."""
        try:
            return self._db.execute(
                "select number, last, body from batch where number > ? order by number limit ?",
                (after, limit),
            ).fetchall()
        except sqlite3.OperationalError:
            if self._db.execute("select count(*) from sqlite_master").fetchone() == (0,):
                return []  # its worker is just making it
            raise

    @property
    def received(self) -> int:
        """All that was received up to this millisecond is in the spool."""
        return self._marks.read(RECEIVED)

    def drained(self, number: int) -> None:
        self._marks.write(DRAINED, number)

    def remove_if_orphaned(self, position: int) -> bool:
        """Delete the spool if its worker is gone and every batch was taken; whether it is deleted."""
        if not self._marks.lock():
            return False
        if self.read(position, 1):
            self._marks.unlock()
            return False
        self._db.close()
        # The lock is held to the end, and goes last: a worker that starts meanwhile must find it taken.
        for suffix in (".db", ".db-wal", ".db-shm", ".lock"):
            self._path.with_suffix(suffix).unlink(missing_ok=True)
        self._marks.close()
        return True

    def close(self) -> None:
        self._db.close()
        self._marks.close()


def records(body: bytes) -> Iterable[Record]:
    """What one batch holds."""
    return _decoder.decode(body)
