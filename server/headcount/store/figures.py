"""What each process has counted, and what only the rollup knows: one small file a process, on the RAM disk.

A hot path adds to plain numbers in memory. Once a second they are written down, for whichever process is asked
for them. A process takes the place of one that has ended and goes on from its figures, so that sums do not
step back; what a killed process had counted in its last second is lost. No field can hold anything of a visitor:
there are numbers, and words of our own.
"""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from itertools import count
from pathlib import Path

import msgspec

from headcount.model import Ignored
from headcount.store import files
from headcount.store.spool import Marks

FOLDER = "figures"
"""Beside the keys of the days."""
SILENCE = 10.0
"""Seconds after which a process that has written nothing counts as gone, or as stuck."""
FLUSH_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds, within which the time of a flush is counted."""

_LICENSE = frozenset(reason for reason in Ignored if reason.startswith("license_"))
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Role(StrEnum):
    """What a process does."""

    WEB = "web"
    ROLLUP = "rollup"


class Figures(msgspec.Struct):
    """What a process has counted, and those in whose place it came: these numbers only grow."""

    received: int = 0
    stored: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=Counter)
    refused: dict[str, int] = msgspec.field(default_factory=Counter)
    checks: dict[str, int] = msgspec.field(default_factory=Counter)
    checks_refused: dict[str, int] = msgspec.field(default_factory=Counter)
    answers: dict[tuple[str, int], int] = msgspec.field(default_factory=Counter)
    """HTTP answers by route and hundreds of the status."""
    flushes: list[int] = msgspec.field(default_factory=lambda: [0] * (len(FLUSH_BUCKETS) + 1))
    """Flushes by FLUSH_BUCKETS; the last is for those that took longer."""
    flush_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def turned_away(self, reason: Ignored, number: int = 1) -> None:
        """Count what was refused before any event of it was read."""
        if reason in _LICENSE:
            self.checks_refused[reason] += number
        else:
            self.received += number
            self.refused[reason] += number

    def flushed(self, seconds: float) -> None:
        """Count a flush that Postgres took in this time."""
        self.flushes[bisect_left(FLUSH_BUCKETS, seconds)] += 1
        self.flush_seconds += seconds


class Progress(msgspec.Struct, frozen=True):
    """How far a rollup is. Moments are milliseconds since 1970."""

    flushes: int
    """That wait in the outbox."""
    bytes: int
    """That wait in the outbox."""
    oldest: int | None
    """When the oldest flush that waits was made."""
    sent_before: int
    """All that was received before this moment is in Postgres; 0: not known yet."""
    purged_at: int | None
    """When raw rows were looked through last; None: not since this rollup began."""
    started_at: int


class Published(msgspec.Struct, frozen=True):
    """What one process has written down."""

    role: Role
    at: float
    """By the machine's clock that never steps, which all its processes share."""
    resident: int
    """Bytes of memory."""
    figures: Figures
    progress: Progress | None = None

    def silence(self, now: float) -> float:
        """Seconds since this was written, at a moment of the same clock."""
        return max(0.0, now - self.at)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Published)


class Board:
    """The figures of this process, and a look at those of all processes of the node."""

    def __init__(self, folder: Path, role: Role, monotonic: Callable[[], float]) -> None:
        self._folder = folder
        self._role = role
        self._monotonic = monotonic
        self._progress: Progress | None = None
        self._place = self._claim()
        before = _read(self._file)
        self.figures = _counting(before.figures) if before is not None else Figures()
        self._cpu_before = self.figures.cpu_seconds

    def publish(self, progress: Progress | None = None) -> None:
        """Write down what was counted so far."""
        if not self._place.lock():  # the RAM disk was cleared: systemd does so when a user logs out
            self._place.close()
            self._place = self._claim()
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.figures.cpu_seconds = self._cpu_before + used.ru_utime + used.ru_stime
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
        self._progress = progress or self._progress
        found = Published(self._role, self._monotonic(), resident, self.figures, self._progress)
        files.write_durably(self._file, _encode(found))

    def read(self) -> list[Published]:
        """What the processes of this node have written, those that ended as well."""
        return read(self._folder)

    def close(self) -> None:
        """Leave the place to the next process, with the last figures in it."""
        with suppress(OSError):
            self.publish()
        self._place.close()

    @property
    def _file(self) -> Path:
        return self._place.path.with_suffix(".figures")

    def _claim(self) -> Marks:
        """The first place of this role that no process holds."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in count():
            place = Marks(self._folder / f"{self._role}-{number}.lock")
            if place.lock():
                return place
            place.close()
        raise AssertionError("there is always a further number")


def read(folder: Path) -> list[Published]:
    """What stands in this folder."""
    found = (_read(path) for path in sorted(folder.glob("*.figures")))
    return [one for one in found if one is not None]


def total(figures: Iterable[Figures]) -> Figures:
    """What all processes have counted together."""
    sums = Figures()
    for one in figures:
        for name in one.__struct_fields__:
            mine, theirs = getattr(sums, name), getattr(one, name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, list):
                setattr(sums, name, [a + b for a, b in zip(mine, theirs, strict=True)])
            else:
                setattr(sums, name, mine + theirs)
    return sums


def _read(path: Path) -> Published | None:
    """What stands in the file; nothing if there is none, or another version wrote it."""
    try:
        found = _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found if len(found.figures.flushes) == len(FLUSH_BUCKETS) + 1 else None


def _counting(figures: Figures) -> Figures:
    """The same, with counters that can be added to."""
    found = {name: getattr(figures, name) for name in figures.__struct_fields__}
    counters = {name: Counter(value) for name, value in found.items() if isinstance(value, dict)}
    return msgspec.structs.replace(figures, **counters)
