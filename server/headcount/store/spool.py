"""The spool: where an event is durable before it is acknowledged. One SQLite file a worker.

One row is one group commit: while a commit is under way in a thread, events queue; when it returns, the next
takes them all. Beside each file lies a `.lock` file that keeps a second process out and carries the marks that
worker and rollup leave for each other. No mark needs to be durable: one that is lost is behind, never ahead.

A batch is kept until what was counted of it is in Postgres, so that a lost state file loses no event. Batches have
a checksum and their numbers have no holes: so damage is found, what is whole is counted, and the file is set aside.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from headcount import errors
from headcount.model import Record
from headcount.store import files

# Plain row ids start again at 1 once a table is empty; a batch number must never come back.
_SCHEMA = """
create table if not exists batch (
    number integer primary key autoincrement,
    last integer not null,
    body blob not null
)
"""
log = logging.getLogger(__name__)

SUFFIXES = (".db", ".db-wal", ".db-shm", ".lock")
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


def is_damage(error: BaseException) -> bool:
    """Whether the file is to blame, and not the moment: a full disk, or another process that is busy."""
    unreadable = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_READ
    return type(error) is sqlite3.DatabaseError or unreadable


RECEIVED, DRAINED, TAKEN, COMMITTED, CONDEMNED = _MARKS = range(5)
"""The marks: all that the worker received up to this millisecond is committed; what was counted of the batches up to
this number is in Postgres; is in the state file at least; the worker has committed up to this number; the rollup or
the worker has found damage."""


def mark(data: bytes, slot: int) -> int:
    """The mark in the bytes of a lock file; 0 if there is none, or it is damaged."""
    one = data[12 * slot : 12 * slot + 12]
    return int.from_bytes(one[:8], "big") if one[8:] == _checksum(one[:8]) else 0


class Marks:
    """The lock file: whoever holds its lock owns the spool; both sides leave their marks in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self) -> bool:
        """Whether the lock is ours now. A file that was deleted meanwhile is nobody's any more."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self.in_place()
        except BlockingIOError:
            return False

    def unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def in_place(self) -> bool:
        """Whether the file is still where it was."""
        try:
            return os.fstat(self._fd).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False

    def read(self, slot: int) -> int:
        """The mark; 0 if there is none, or it is damaged."""
        return mark(os.pread(self._fd, 12 * len(_MARKS), 0), slot)

    def write(self, slot: int, value: int) -> None:
        data = value.to_bytes(8, "big")
        with suppress(OSError):  # the disk may be full; whoever reads it goes by the older mark
            os.pwrite(self._fd, data + _checksum(data), slot * 12)

    def close(self) -> None:
        os.close(self._fd)


class _File:
    """The file that a worker writes: its own, while it holds the lock."""

    def __init__(self, marks: Marks, db: sqlite3.Connection) -> None:
        self.marks = marks
        self._db = db
        self._deleted = 0
        self._condemned = False
        self.size = self._size()
        """Bytes that the batches take."""

    def lost(self) -> bool:
        """Whether damage was found in it, or somebody has taken it away."""
        return self._condemned or bool(self.marks.read(CONDEMNED)) or not self.marks.in_place()

    def condemn(self) -> None:
        self._condemned = True
        self.marks.write(CONDEMNED, 1)

    def deletable(self, limit: int) -> int:
        """The batches up to this number may go; 0: none that is still there.

        As a rule those that Postgres has. Where they would fill the spool, those that the state file has.
        """
        number = self.marks.read(DRAINED)
        if self.size > limit // 4:
            number = max(number, self.marks.read(TAKEN))
        return number if number > self._deleted else 0

    def commit(self, records: Sequence[Record], deletable: int) -> None:
        """One transaction, fsynced when it returns."""
        number = 0
        self._db.execute("begin immediate")
        try:
            if deletable:
                self._db.execute("delete from batch where number <= ?", (deletable,))
            if records:
                last = max(getattr(record, "at", 0) for record in records)
                row = last, _sealed(last, _encoder.encode(records))
                number = self._db.execute("insert into batch (last, body) values (?, ?)", row).lastrowid or 0
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        self._deleted = max(deletable, self._deleted)
        self.size = self._size()
        if number:
            self.marks.write(COMMITTED, number)
        elif deletable:  # nothing is going on: leave no copy of what was deleted in the log either
            self._db.execute("pragma wal_checkpoint(truncate)")

    def _size(self) -> int:
        (pages,) = self._db.execute("pragma page_count").fetchone()
        (free,) = self._db.execute("pragma freelist_count").fetchone()
        return int(pages - free) * 4096

    def close(self) -> None:
        self._db.close()
        self.marks.close()


class Spool:
    """A worker's own spool. Where it cannot be written now, as on a full disk, the worker runs on and tries again."""

    def __init__(self, folder: Path, limit: int, now: Callable[[], int]) -> None:
        self._now = now
        self._limit = limit
        self._folder = folder
        self._file: _File | None = None
        self._full = False
        self._failing = False
        self._busy = False
        """Whether the thread is at work on the file."""
        self._closing = False
        self._waiting: list[tuple[Sequence[Record], asyncio.Future[None]]] = []
        self._oldest: int | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "spool")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Spool:
        await self._commit_next()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        self._leave()

    @property
    def full(self) -> bool:
        """Whether events are turned away: the bound is reached, or the last could not be written."""
        return self._full or self._failing

    async def append(self, records: Sequence[Record]) -> None:
        """Returns when the records are on the disk. Raises SpoolFull if they cannot be kept."""
        if self._full or self._closing:
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
        if self._busy or self._oldest is not None:
            return
        file = self._file
        if self._full or file is None or file.lost() or file.deletable(self._limit):
            self._wake.set()
        if file is not None:
            file.marks.write(RECEIVED, self._now())

    async def _run(self) -> None:
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            await self._commit_next()
            while self._waiting:
                await self._commit_next()

    async def _commit_next(self) -> None:
        taken, records = self._take()
        loop = asyncio.get_running_loop()
        self._busy = True
        try:
            await loop.run_in_executor(self._thread, self._commit, records)
            failure = None
        except Exception as error:
            # Whatever it is, it must not end this task: every later event would wait for ever.
            self._full = True
            failure = errors.SpoolFull()
            self._say_once(error)
        finally:
            self._busy = False
        for _, future in taken:
            if not future.done():
                future.set_result(None) if failure is None else future.set_exception(failure)
        if not self._waiting:
            self._oldest = None
            if self._file is not None:
                self._file.marks.write(RECEIVED, self._now())

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
        """In the spool's thread: make the records durable, in another file if this one is damaged or gone."""
        if self._file is not None and self._file.lost():
            self._leave()
        if self._file is None:
            self._file = _claim(self._folder)
        try:
            self._file.commit(records, self._file.deletable(self._limit))
            self._full = self._file.size > self._limit
        except sqlite3.Error as error:
            if is_damage(error):
                self._file.condemn()
            raise
        if self._failing and records:
            self._failing = False
            log.info("the spool takes events again")

    def _leave(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _say_once(self, error: Exception) -> None:
        # Once, until it works again: on a full disk each event would add a line.
        if not self._failing:
            log.error("the spool cannot be written, events get 503 until it can: %s", error, exc_info=error)
        self._failing = True


def _claim(folder: Path) -> _File:
    """A spool that no process owns: one left behind, or a new one. A damaged one is for the rollup."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    left_behind = [path.stem for path in sorted(folder.glob("*.db"))]
    for name in left_behind:
        path = folder / f"{name}.db"
        marks = Marks(path.with_suffix(".lock"))
        if marks.lock():
            if not path.exists():  # the rollup has deleted it since we looked
                marks.path.unlink(missing_ok=True)
            elif not marks.read(CONDEMNED) and (db := _continued(path, marks)) is not None:
                return _File(marks, db)
        marks.close()
    path = folder / f"{secrets.token_hex(8)}.db"
    marks = Marks(path.with_suffix(".lock"))
    try:
        marks.lock()
        return _File(marks, _opened(path))
    except BaseException:
        # Nobody was told of it: leave nothing behind, or a full disk collects them.
        for suffix in SUFFIXES:
            path.with_suffix(suffix).unlink(missing_ok=True)
        marks.close()
        raise


def _continued(path: Path, marks: Marks) -> sqlite3.Connection | None:
    """The spool that was left behind, if it can be gone on with."""
    try:
        db = _opened(path)
    except sqlite3.DatabaseError:
        return None
    if _newest(db) >= max(marks.read(slot) for slot in (DRAINED, TAKEN, COMMITTED)):
        return db
    db.close()  # it lacks batches: their numbers would come again, and pass for taken
    return None


def _opened(path: Path) -> sqlite3.Connection:
    db = connect(path)
    try:
        db.execute(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _newest(db: sqlite3.Connection) -> int:
    """The number of the last batch that was ever in the file."""
    row = db.execute("select seq from sqlite_sequence where name = 'batch'").fetchone()
    return int(row[0]) if row else 0


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def _sealed(last: int, body: bytes) -> bytes:
    return _checksum(last.to_bytes(8, "big", signed=True) + body) + body


def _unsealed(last: int, sealed: bytes) -> bytes | None:
    """The body; None: it is not what was written."""
    try:
        return sealed[4:] if _sealed(last, sealed[4:]) == sealed else None
    except (TypeError, AttributeError):  # of another type
        return None


Batch = tuple[int, int, bytes | None]
"""Number, time of the last record, body. None: this batch is lost, and so are those between it and the one before."""


class SpoolReader:
    """The rollup's view of one spool: it reads, leaves its marks, and removes the file of a worker that is gone."""

    def __init__(self, path: Path) -> None:
        self.id = path.stem
        self._path = path
        self._marks = Marks(path.with_suffix(".lock"))
        self._db: sqlite3.Connection | None = None
        self._said = False
        try:
            self._db = connect(path)
            self._db.execute("pragma query_only = on")
            self._db.execute("select count(*) from sqlite_master")
        except sqlite3.Error as error:
            if is_damage(error):
                self._condemn(str(error))
                return
            self._marks.close()
            raise

    def ahead(self, after: int) -> tuple[list[Batch], bool]:
        """The batches after this number that one step may take, at least one, and whether more are behind them."""
        batches: list[Batch] = []
        size = 0
        found = self.read(after, MAX_BATCHES)
        for batch in found:
            if batches and size + len(batch[2] or b"") > MAX_BYTES:
                return batches, True
            batches.append(batch)
            size += len(batch[2] or b"")
        return batches, len(batches) >= MAX_BATCHES

    def read(self, after: int, limit: int) -> list[Batch]:
        """The batches after this number, oldest first; where some are lost, the next of them says so."""
        committed = self._marks.read(COMMITTED)  # first: what it counts is then among the rows
        rows = self._rows(after, committed, limit)
        found: list[Batch] = []
        known, last = max(after, self.sent), 0
        if not after and not committed:  # the lock file is new, and nobody knows where the spool begins
            known = rows[0][0] - 1 if rows else 0
        for number, when, sealed in rows:
            body = _unsealed(when, sealed)
            last = when if body is not None else last
            if number > known + 1:
                found.append((number - 1, last, None))
            found.append((number, last, body))
            known = max(known, number)
        if len(rows) < limit and known < committed:
            found.append((committed, last, None))
        if any(body is None for _, _, body in found):
            self._condemn("batches are missing, or are not what was written")
        return found

    def _rows(self, after: int, committed: int, limit: int) -> list[tuple[int, int, bytes]]:
        if self._db is None:
            return []
        query = "select number, last, body from batch where number > ? order by number limit ?"
        try:
            return self._db.execute(query, (after, limit)).fetchall()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._condemn(str(error))
                return _one_by_one(self._db, after, committed, limit)
            if self._db.execute("select count(*) from sqlite_master").fetchone() == (0,):
                return []  # its worker is just making it
            raise

    def _condemn(self, why: str) -> None:
        """Have the worker take another spool, and say so."""
        if not self._said:
            log.error("the spool %s is damaged (%s): what can be read of it is counted", self.id, why)
        self._said = True
        self._marks.write(CONDEMNED, 1)

    @property
    def received(self) -> int:
        """All that was received up to this millisecond is in the spool."""
        return self._marks.read(RECEIVED)

    @property
    def sent(self) -> int:
        """What was counted of the batches up to this number is in Postgres."""
        return self._marks.read(DRAINED)

    def drained(self, number: int) -> None:
        """What was counted of the batches up to this number is in Postgres: they may go."""
        self._marks.write(DRAINED, number)

    def taken(self, number: int) -> None:
        """The batches up to this number are in the state file: they may go if they would fill the spool."""
        self._marks.write(TAKEN, number)

    def remove_if_orphaned(self, position: int) -> bool:
        """Delete or set aside a spool whose worker is gone and that was taken whole; whether that was done."""
        if not self._marks.lock():
            return False
        if self.read(position, 1):
            self._marks.unlock()
            return False
        if self._db is not None:
            self._db.close()
        if self._marks.read(CONDEMNED):
            log.error("the damaged spool %s was set aside as %s", self.id, files.set_aside(self._path).name)
        # The lock is held to the end, and goes last: a worker that starts meanwhile must find it taken.
        for suffix in SUFFIXES:
            self._path.with_suffix(suffix).unlink(missing_ok=True)
        self._marks.close()
        return True

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._marks.close()


def records(body: bytes | None) -> Iterable[Record]:
    """What one batch holds."""
    return _decoder.decode(body) if body is not None else ()


def _one_by_one(
    db: sqlite3.Connection, after: int, committed: int, limit: int
) -> list[tuple[int, int, bytes]]:
    """What can be read of a damaged file, without what lies on damaged pages."""
    with suppress(sqlite3.Error):
        committed = max(committed, _newest(db))
    found: list[tuple[int, int, bytes]] = []
    for number in range(after + 1, committed + 1):
        with suppress(sqlite3.Error):
            found += db.execute("select number, last, body from batch where number = ?", (number,)).fetchall()
        if len(found) == limit:
            break
    return found
