"""The rollup's local state, one SQLite file: positions, open ledgers, and the outbox of flushes.

One transaction takes batches, changes ledgers and appends a flush, so that a kill at any moment leaves all
of it or nothing. The outbox goes to Postgres in order; what was applied is kept 15 minutes, for a database
that is restored from a copy some minutes old.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path

import msgspec

from headcount import tally
from headcount.licensing import sharing
from headcount.model import Flush
from headcount.store import files, spool
from headcount.visits import Visit

log = logging.getLogger(__name__)

KEEP_APPLIED = 15 * 60 * 1000
"""Milliseconds that an applied flush is kept."""

CACHE = 16_000
"""Kilobytes of the file that are kept in memory: the open visits that are busy."""

_SCHEMA = """
create table if not exists source (name text not null, flush integer not null);
create table if not exists position (spool text primary key, number integer not null) without rowid;
create table if not exists visit (
    row integer primary key, site integer not null, zone text not null, day text not null, body blob not null
);
create index if not exists visit_ledger on visit (day, site);
create table if not exists cell (
    row integer primary key, site integer not null, zone text not null, day text not null,
    dimension text not null, value text not null, sketch blob not null, sent integer not null
);
create index if not exists cell_ledger on cell (day, site);
create table if not exists sharing (
    product integer not null, license integer not null, day text not null, what text not null,
    sketch blob not null, sent integer not null,
    primary key (product, license, day, what)
) without rowid;
create table if not exists outbox (
    number integer primary key, made_at integer not null, applied_at integer, body blob not null
);
create index if not exists outbox_waiting on outbox (number) where applied_at is null;
create table if not exists redacted (request integer primary key);
"""

COUNTED_AGAIN = (
    "No event is lost or counted twice; who comes back on a day that is open counts as another visitor."
)
_encode = msgspec.msgpack.Encoder().encode
_visit = msgspec.msgpack.Decoder(Visit)
_flush = msgspec.msgpack.Decoder(Flush)


class State:
    """The state file. Only the rollup opens it; the lock of `state.lock` sees to that."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        was_here = path.with_suffix(".lock").exists()
        self.marks = spool.Marks(path.with_suffix(".lock"))
        if not self.marks.lock():
            self.marks.close()
            raise BlockingIOError(f"{path.name} is in use by another rollup")
        self._lock = threading.RLock()  # the two steps of the drain come from different threads
        self._path = path
        if was_here and not path.exists():
            files.set_aside(path)  # what is left of it
            log.error("the state file is gone. %s", COUNTED_AGAIN)
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as error:
            if not spool.is_damage(error):
                self.marks.close()
                raise
            self._replace(error)
        self._begin()

    def begin_anew(self, why: BaseException) -> None:
        """Set the damaged file aside and go on with an empty one."""
        with self._lock:
            self._db.close()
            self._replace(why)
            self._begin()

    def _replace(self, why: BaseException) -> None:
        aside = files.set_aside(self._path)
        log.error("the state file is damaged (%s), and lies in %s now. %s", why, aside.name, COUNTED_AGAIN)
        self._db = _opened(self._path)

    def _begin(self) -> None:
        if self._db.execute("select count(*) from source").fetchone() == (0,):
            self._db.execute("insert into source values (?, 0)", (secrets.token_hex(16),))
        (self.source,) = self._db.execute("select name from source").fetchone()
        (last,) = self._db.execute(
            "select max(coalesce((select max(row) from visit), 0), coalesce((select max(row) from cell), 0))"
        ).fetchone()
        self._rows = count(last + 1)
        """Rows of visits and cells: those that are new lie side by side, and few pages change in a step."""
        self._waiting_bytes: int | None = None
        """Bytes in the outbox that wait; None: to be added up."""

    def positions(self) -> dict[str, int]:
        """The last batch taken of each spool."""
        with self._lock:
            return dict(self._db.execute("select spool, number from position"))

    def load(self, target: tally.Tally) -> None:
        """Put the stored ledgers into the tally."""
        for row, site, zone, day, dimension, value, sketch, sent in self._db.execute(
            "select row, site, zone, day, dimension, value, sketch, sent from cell"
        ):
            ledger = target.ledger(site, zone, date.fromisoformat(day))
            ledger.cells.setdefault(dimension, {})[value] = tally.Cell(dimension, value, sketch, sent, row)
        for product, license, day, what, sketch, sent in self._db.execute(
            "select product, license, day, what, sketch, sent from sharing"
        ):
            sketches = target.sharing.days.setdefault((product, license, date.fromisoformat(day)), {})
            sketches[what] = sharing.Sketch(sketch, sent)
        for (body,) in self._db.execute("select body from visit"):
            visit = _visit.decode(body)
            ledger = target.ledger(visit.site, visit.zone, visit.day)
            ledger.visits[visit.token] = visit
            ledger.hold_exit(visit)

    def changed(self, target: tally.Tally) -> bool:
        """Whether the tally holds anything that is not stored yet."""
        ledgers = target.ledgers.values()
        return bool(target.sharing.changed) or any(
            one.changed or one.changed_visits or one.ended for one in ledgers
        )

    def save(self, target: tally.Tally, positions: Mapping[str, int], flush: Flush | None, now: int) -> None:
        """One transaction: what changed in the ledgers, how far the spools are taken, the next flush."""
        with self._transaction():
            for key, ledger in target.ledgers.items():
                if ledger.unsaved:
                    self._save_ledger(key, ledger, ledger.changed_visits.values())
            self._save_sharing(target.sharing)
            self._db.executemany("insert or replace into position values (?, ?)", positions.items())
            if flush is not None:
                self._append(flush, now)
        for ledger in target.ledgers.values():
            ledger.stored()
        target.sharing.changed.clear()

    def destroy(self, keys: Iterable[tally.LedgerKey], days: Iterable[sharing.Key] = ()) -> None:
        """Delete ledgers and days of licenses for good: also from the free pages and the write-ahead log."""
        with self._transaction():
            for key in keys:
                self._delete(key)
            self._db.executemany(
                "delete from sharing where product = ? and license = ? and day = ?",
                [(product, license, day.isoformat()) for product, license, day in days],
            )
        self.truncate_log()

    def rewrite(self, target: tally.Tally, site: int, flush: Callable[[Flush], Flush]) -> None:
        """Store the site's open ledgers anew, and every waiting flush as `flush` makes it; drop the applied ones."""
        with self._transaction():
            for key, ledger in target.ledgers.items():
                if key[0] != site:
                    continue
                self._delete(key)
                self._save_ledger(key, ledger, ledger.visits.values())
            self._waiting_bytes = None
            self._db.execute("delete from outbox where applied_at is not null")
            for number, body in self._db.execute("select number, body from outbox").fetchall():
                self._db.execute(
                    "update outbox set body = ? where number = ?",
                    (_encode(flush(_flush.decode(body))), number),
                )
        self.truncate_log()

    def truncate_log(self) -> None:
        with self._lock:
            self._db.execute("pragma wal_checkpoint(truncate)")

    def forget_spool(self, name: str) -> None:
        """Drop the position of a spool that was deleted."""
        with self._lock:
            self._db.execute("delete from position where spool = ?", (name,))

    def waiting(self, limit: int) -> list[tuple[int, Flush]]:
        """The oldest flushes that are not applied yet."""
        with self._lock:
            rows = self._db.execute(
                "select number, body from outbox where applied_at is null order by number limit ?", (limit,)
            ).fetchall()
        return [(number, _flush.decode(body)) for number, body in rows]

    def kept_after(self, number: int) -> int:
        """The oldest flush after this number that is still here, applied or not; 0 if there is none."""
        with self._lock:
            (kept,) = self._db.execute(
                "select min(number) from outbox where number > ?", (number,)
            ).fetchone()
        return kept or 0

    def start_anew(self) -> None:
        """Be another source to Postgres, whose first flush is the first that waits: this file is an older copy."""
        with self._transaction():
            waiting = self._db.execute(
                "select body, made_at from outbox where applied_at is null order by number"
            ).fetchall()
            self._db.execute("delete from outbox")
            self._db.executemany(
                "insert into outbox (number, body, made_at) values (?, ?, ?)",
                [(number, *flush) for number, flush in enumerate(waiting, 1)],
            )
            self._db.execute("update source set name = ?, flush = ?", (secrets.token_hex(16), len(waiting)))
            (self.source,) = self._db.execute("select name from source").fetchone()

    def mark_applied(self, number: int, now: int) -> None:
        """The flush is in Postgres, and so are all before it."""
        with self._lock:
            self._waiting_bytes = None
            self._db.execute(
                "update outbox set applied_at = ? where number <= ? and applied_at is null", (now, number)
            )

    def mark_waiting(self, after: int) -> None:
        """Send everything after this number again: the database came back older than it was."""
        with self._lock:
            self._waiting_bytes = None
            self._db.execute("update outbox set applied_at = null where number > ?", (after,))

    def drop_applied(self, before: int) -> None:
        """Delete the flushes that were applied before this time."""
        with self._lock:
            self._db.execute("delete from outbox where applied_at < ?", (before,))

    def outbox_bytes(self) -> int:
        """Bytes that wait for Postgres."""
        with self._lock:
            if self._waiting_bytes is None:
                (size,) = self._db.execute(
                    "select coalesce(sum(length(body)), 0) from outbox where applied_at is null"
                ).fetchone()
                self._waiting_bytes = int(size)
            return self._waiting_bytes

    def left(self) -> tuple[int, int | None]:
        """How many flushes wait for Postgres, and when the oldest of them was made."""
        with self._lock:
            (number,) = self._db.execute("select count(*) from outbox where applied_at is null").fetchone()
            oldest = self._db.execute(
                "select made_at from outbox where applied_at is null order by number limit 1"
            ).fetchone()
        return number, oldest[0] if oldest else None

    def redacted(self) -> set[int]:
        """The redaction requests that were carried out here."""
        with self._lock:
            return {request for (request,) in self._db.execute("select request from redacted")}

    def note_redacted(self, requests: Iterable[int]) -> None:
        with self._lock:
            self._db.executemany("insert or ignore into redacted values (?)", [(r,) for r in requests])

    def close(self) -> None:
        self._db.close()
        self.marks.close()

    def _save_ledger(self, key: tally.LedgerKey, ledger: tally.Ledger, changed: Iterable[Visit]) -> None:
        site, zone, day = key[0], key[1], key[2].isoformat()
        cells = [cell for cell in ledger.changed if cell.moved]
        open_visits = [visit for visit in changed if ledger.visits.get(visit.token) is visit]
        for cell in cells:
            cell.row = cell.row or next(self._rows)
        for visit in open_visits:
            visit.row = visit.row or next(self._rows)
        self._db.executemany(
            "insert into cell values (?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict (row) do update set sketch = excluded.sketch, sent = excluded.sent",
            [
                (cell.row, site, zone, day, cell.dimension, cell.value, cell.packed(), cell.sent)
                for cell in cells
            ],
        )
        self._db.executemany("delete from visit where row = ?", [(visit.row,) for visit in ledger.ended])
        self._db.executemany(
            "insert into visit values (?, ?, ?, ?, ?) on conflict (row) do update set body = excluded.body",
            [(visit.row, site, zone, day, _encode(visit)) for visit in open_visits],
        )

    def _save_sharing(self, found: sharing.Sharing) -> None:
        self._db.executemany(
            "insert or replace into sharing values (?, ?, ?, ?, ?, ?)",
            [
                (*key[:2], key[2].isoformat(), what, sketch.packed(), sketch.sent)
                for key in found.changed
                for what, sketch in found.days[key].items()
            ],
        )

    def _delete(self, key: tally.LedgerKey) -> None:
        for table in ("visit", "cell"):
            self._db.execute(
                f"delete from {table} where site = ? and zone = ? and day = ?",  # noqa: S608 - two words
                (key[0], key[1], key[2].isoformat()),
            )

    def _append(self, flush: Flush, now: int) -> None:
        (number,) = self._db.execute("update source set flush = flush + 1 returning flush").fetchone()
        body = _encode(flush)
        self._db.execute("insert into outbox (number, body, made_at) values (?, ?, ?)", (number, body, now))
        if self._waiting_bytes is not None:
            self._waiting_bytes += len(body)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                self._waiting_bytes = None
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("rollback")
                raise


def _opened(path: Path) -> sqlite3.Connection:
    db = spool.connect(path)
    try:
        db.execute(f"pragma cache_size = -{CACHE}")
        if db.execute("pragma quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db
