"""The node's copy of licenses and of the installs that hold a seat: one SQLite file.

The rollup writes it from Postgres twice a second; workers look each check up in it, so that a known install
needs no round trip and no Postgres. What changed is read again from five minutes before the last look on, because
transactions become visible in another order than their time. A damaged copy is as good as none.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from headcount import errors
from headcount.licensed import License
from headcount.store import files, spool

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=5)
"""How far the clocks of machines may be apart, and a change may take, to be seen at once and not minutes later."""
PATIENCE = 10.0
"""Seconds that another process may take to open the copy."""
MAX_LOOKED_UP = 100_000
"""Licenses and seats that a worker keeps in memory between two changes of the copy."""
WHOLE = b""
"""In place of an install: the license as a whole."""

_SCHEMA = """
create table if not exists license (digest blob primary key, id integer not null, body blob not null) without rowid;
create index if not exists license_id on license (id);
create table if not exists seat (license integer, instance blob, primary key (license, instance)) without rowid;
create table if not exists mark (changed_at text not null);
"""
_encode = msgspec.msgpack.Encoder().encode
_license = msgspec.msgpack.Decoder(License)

Seat = tuple[int, bytes, bool]
"""License, install, whether it holds a seat."""


def _opened(path: Path) -> sqlite3.Connection:
    db = spool.connect(path)
    try:
        # A power cut may lose the last transactions, mark included: they are read again.
        db.execute("pragma synchronous = normal")
        db.executescript(_SCHEMA)
        if db.execute("pragma quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
    except sqlite3.Error:
        db.close()
        raise
    return db


class LicenseCopy:
    """The copy on this node's disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._merged: tuple[object, ...] = ()
        self._marked: datetime | None = None
        self._file = -1
        """The inode of the copy; 0: there is none, and what stands in for it is empty."""
        self._version = 0
        self._licenses: dict[bytes, License] = {}
        self._seats: set[tuple[int, bytes]] = set()
        self._open()

    def refresh(self) -> None:
        """Forget what was looked up, if the rollup has changed the copy since. Called several times a second."""
        try:
            replaced = self._path.stat().st_ino != self._file
        except FileNotFoundError:
            replaced = True
        if replaced:
            self._db.close()
            self._open()
        row = self._row("pragma data_version")
        version = row[0] if row else 0
        if version != self._version or len(self._licenses) + len(self._seats) > MAX_LOOKED_UP:
            self._licenses.clear()
            self._seats.clear()
            self._version = version

    def begin_anew(self) -> None:
        """Put an empty copy in place of a damaged one; other processes notice by the file."""
        self._db.close()
        with files.exclusively(self._path.with_suffix(".lock"), PATIENCE):
            self._remove()
        self._open()

    def _open(self) -> None:
        """Open the copy. Where that cannot be done now, as on a full disk, an empty one stands in for it."""
        try:
            with files.exclusively(self._path.with_suffix(".lock"), PATIENCE):
                self._db = self._opened_or_replaced()
                self._file = self._path.stat().st_ino
        except (OSError, sqlite3.OperationalError) as error:
            if self._file:
                log.error("%s cannot be opened, until it can no license is known: %s", self._path, error)
            self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._db.executescript(_SCHEMA)
            self._file = 0
        self._version = 0
        self._licenses.clear()
        self._seats.clear()

    def _opened_or_replaced(self) -> sqlite3.Connection:
        """A damaged one is replaced: the rollup fills it again."""
        try:
            return _opened(self._path)
        except sqlite3.DatabaseError as error:
            if not spool.is_damage(error):
                raise
            log.error("%s is damaged; the rollup writes it anew once it reaches Postgres", self._path)
            self._remove()
            return _opened(self._path)

    def _remove(self) -> None:
        for suffix in (".db", ".db-wal", ".db-shm"):
            self._path.with_suffix(suffix).unlink(missing_ok=True)

    def license(self, digest: bytes) -> License | None:
        """The license of this key, if the copy holds it. Raises ServiceBusy if the copy cannot be read."""
        found = self._licenses.get(digest)
        if found is None and (row := self._row("select body from license where digest = ?", digest)):
            found = self._licenses[digest] = _license.decode(row[0])
        return found

    def holds_seat(self, license: int, instance: bytes) -> bool:
        """Whether the install holds a seat of the license."""
        key = license, instance
        if key in self._seats:
            return True
        if self._row("select 1 from seat where license = ? and instance = ?", *key) is None:
            return False
        self._seats.add(key)
        return True

    def changed_since(self) -> datetime | None:
        """From when on to ask what changed; None: ask for everything."""
        row = self._row("select changed_at from mark")
        return datetime.fromisoformat(row[0]) - OVERLAP if row else None

    def replace(self, licenses: Iterable[License], seats: Iterable[Seat], now: datetime) -> None:
        """Make the copy hold just this; only what differs is written."""
        wanted = {license.digest: license for license in licenses}
        held = {(license, instance) for license, instance, _ in seats}
        with self._db:
            self._db.execute("begin immediate")
            there = {
                digest: _license.decode(b)
                for digest, b in self._db.execute("select digest, body from license")
            }
            seated = set(self._db.execute("select license, instance from seat"))
            gone = [(digest,) for digest in there.keys() - wanted.keys()]
            self._db.executemany("delete from license where digest = ?", gone)
            changed = [license for digest, license in wanted.items() if there.get(digest) != license]
            freed = [(*key, False) for key in seated - held]
            self._put(changed, [*freed, *((*key, True) for key in held - seated)], now)

    def merge(
        self,
        licenses: Sequence[License],
        seats: Sequence[Seat],
        erased: Sequence[tuple[int, bytes]],
        now: datetime,
    ) -> None:
        """Take in what changed. What was erased may have come back since: it is among the changes then."""
        changes = licenses, seats, erased
        if changes == self._merged and self._marked is not None and abs(now - self._marked) < OVERLAP / 2:
            return  # the same as half a second ago
        with self._db:
            self._db.execute("begin immediate")
            for license, instance in erased:
                if instance == WHOLE:
                    self._db.execute("delete from license where id = ?", (license,))
                    self._db.execute("delete from seat where license = ?", (license,))
                else:
                    self._db.execute(
                        "delete from seat where license = ? and instance = ?", (license, instance)
                    )
            self._put(licenses, seats, now)
        self._merged, self._marked = changes, now

    def ask_for_everything(self) -> None:
        """Let the rollup make the next copy whole: the database was restored, and no change tells of that."""
        self._db.execute("delete from mark")

    def close(self) -> None:
        self._db.close()

    def _put(self, licenses: Iterable[License], seats: Iterable[Seat], now: datetime) -> None:
        self._db.executemany(
            "insert or replace into license values (?, ?, ?)",
            [(license.digest, license.id, _encode(license)) for license in licenses],
        )
        held: list[tuple[int, bytes]] = []
        freed: list[tuple[int, bytes]] = []
        for license, instance, seat in seats:
            (held if seat else freed).append((license, instance))
        self._db.executemany("delete from seat where license = ? and instance = ?", freed)
        self._db.executemany("insert or ignore into seat values (?, ?)", held)
        self._db.execute("delete from mark")
        self._db.execute("insert into mark values (?)", (now.astimezone(UTC).isoformat(),))

    def _row(self, query: str, *arguments: object) -> tuple[Any, ...] | None:
        try:
            found: tuple[Any, ...] | None = self._db.execute(query, arguments).fetchone()
        except sqlite3.Error as error:
            raise errors.ServiceBusy("the local copy of licenses cannot be read") from error
        return found
