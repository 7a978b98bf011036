"""How much waits in the spools of this node, as any process can see it: nothing is locked, made or changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from headcount.store import spool

_LAST = "select coalesce(max(number), 0) from batch"
_OLDEST = "select last from batch where number > ? and last > 0 order by number limit 1"


class Backlog(NamedTuple):
    """What the rollup has not taken yet."""

    spools: int = 0
    batches: int = 0
    bytes: int = 0
    """Of all spools."""
    fullest: int = 0
    """Bytes of the largest spool."""
    oldest: int | None = None
    """Milliseconds since 1970 at which the oldest batch was received; None: nothing waits."""
    unreadable: int = 0
    """Spools that could not be looked into, because they are busy or damaged."""


def look(folder: Path) -> Backlog:
    """Look into every spool."""
    total = Backlog()
    for path in folder.glob("*.db"):
        try:
            total = _plus(total, _look_into(path))
        except (OSError, sqlite3.Error):
            total = total._replace(unreadable=total.unreadable + path.exists())
    return total


def _look_into(path: Path) -> Backlog:
    marks = path.with_suffix(".lock").read_bytes()
    taken = max(spool.mark(marks, slot) for slot in (spool.DRAINED, spool.TAKEN))
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as db:
        (last,) = db.execute(_LAST).fetchone()
        oldest = db.execute(_OLDEST, (taken,)).fetchone()
        (pages,), (free,), (size,) = (
            db.execute(f"pragma {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
    used = (pages - free) * size
    waiting = max(0, last - taken)
    return Backlog(1, waiting, used, used, oldest[0] if oldest and waiting else None)


def _plus(one: Backlog, other: Backlog) -> Backlog:
    return Backlog(
        one.spools + other.spools,
        one.batches + other.batches,
        one.bytes + other.bytes,
        max(one.fullest, other.fullest),
        min((moment for moment in (one.oldest, other.oldest) if moment is not None), default=None),
        one.unreadable + other.unreadable,
    )
