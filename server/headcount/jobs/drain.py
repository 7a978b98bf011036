"""From the spools to Postgres, in two steps that can be killed anywhere.

Step 1 is local: one SQLite transaction takes batches, counts them and appends a flush to the outbox. It runs
on while Postgres is down. Step 2 sends the outbox on, each flush behind a fence, so that it counts once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import msgspec

from headcount import errors, localtime, tally
from headcount.clock import Clock
from headcount.licensed import UTC_ZONE
from headcount.model import Flush, Ignored, Record
from headcount.store import daykeys, files, spool
from headcount.store.counters import Applied, Counters
from headcount.store.figures import Figures, Progress
from headcount.store.settings import SettingsFile
from headcount.store.state import KEEP_APPLIED, State

log = logging.getLogger(__name__)

HOLD_BACK = 0.5
"""Seconds that a batch waits at most for a spool that is behind."""
MAX_FLUSHES = 4
"""Flushes that are read from the outbox at once: each may be 20 MB in memory."""
REFUSALS = 60
"""How often Postgres has to refuse a flush, a second apart, until the flush is set aside."""
EXPIRE_EVERY = 10_000
"""Milliseconds between two looks for visits that have ended."""
SILENCE = 5_000
"""Milliseconds after which a spool without a sign of its worker counts as left alone."""
USUAL_COMMIT = 2_000
"""Milliseconds from receiving an event until it is in its spool, as a rule."""
COMMIT = 60_000
"""Milliseconds from receiving an event until it is seen in its spool, at the very most."""

_DECIDED_HERE = (Ignored.NO_VISIT, Ignored.DELETED_SITE)
"""Why something that a worker has kept is not counted after all."""

T = TypeVar("T")


class Drain:
    """The rollup's engine. What touches files runs in a thread, one at a time; the rest on the loop."""

    def __init__(
        self,
        state: State,
        counters: Counters,
        settings: SettingsFile,
        spools: Path,
        clock: Clock,
        max_values: int,
        outbox_limit: int,
        new_id: Callable[[], int],
        figures: Figures,
    ) -> None:
        self._state = state
        self._counters = counters
        self._settings = settings
        self._folder = spools
        self._clock = clock
        self._outbox_limit = outbox_limit
        self._max_values = max_values
        self._new_id = new_id
        self._figures = figures
        self._tally = tally.Tally(max_values, new_id)
        self._positions = state.positions()
        self._damage: BaseException | None = None
        """What was wrong with the state file, as soon as something is."""
        try:
            state.load(self._tally)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # whatever cannot be understood is damage
            state.begin_anew(error)
            self._positions, self._tally = {}, tally.Tally(max_values, new_id)
        self._readers: dict[str, spool.SpoolReader] = {}
        self._sent: dict[str, int] = {}
        """The last batch of each spool that is in Postgres."""
        self._refused = (0, 0)
        """The flush that Postgres refused last, and how often in a row."""
        self._stale = False
        self._seen: dict[tuple[str, int], float] = {}
        self._expired = 0
        self._caught_up = False
        self._looked_at: dict[str, tuple[list[spool.Batch], bool]] = {}
        self._taken_before = 0
        self.sent_before = 0
        """All that was received before this millisecond is in Postgres."""
        self._alone = asyncio.Lock()

    async def take(self) -> bool:
        """Step 1 once. True: there is more to take."""
        if not self._settings.loaded:
            return False
        async with self._alone:
            more = await _finish(self._step)
        return more

    async def send(self) -> bool:
        """Step 2 for what waits in the outbox. True: there is more to send."""
        taken_before, positions = self._taken_before, dict(self._positions)
        try:
            waiting = await _finish(self._state.waiting, MAX_FLUSHES)
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            self._note_failure(error, isinstance(error, msgspec.DecodeError) or spool.is_damage(error))
            raise
        for number, flush in waiting:
            began = self._clock.monotonic()
            try:
                applied = await self._counters.apply(self._state.source, number, flush, self._clock.now())
            except errors.FlushRefused as error:
                await self._refused_again(number, flush, error)
                return True
            if applied is Applied.BEHIND:
                await self._go_back(number)
                return True
            if applied is Applied.AHEAD:
                log.error("the state file is an older copy than the database: what it holds may count again")
                await _finish(self._state.start_anew)
                return True
            await _finish(self._state.mark_applied, number, self._clock.milliseconds())
            self._figures.flushed(self._clock.monotonic() - began)
        if len(waiting) == MAX_FLUSHES:
            return True
        self.sent_before, self._sent = taken_before, positions
        return False

    async def close_days(self) -> None:
        """Destroy the ledgers of days that ended five minutes ago, once everything of them was taken."""
        async with self._alone:
            if self._settings.loaded and not self._stale:
                await _finish(self._close_days)

    async def forget_sent(self) -> None:
        """Drop applied flushes that are older than 15 minutes."""
        await _finish(self._state.drop_applied, self._clock.milliseconds() - KEEP_APPLIED)

    async def finish(self) -> None:
        """Take and send what is there, before the process ends: also what waits for a spool that is behind.

        Workers may go on: what they receive from now on is for the next rollup, which waits for this one to end.
        """
        received_before = self._clock.milliseconds() - USUAL_COMMIT
        while await self.take() or (self._settings.loaded and not self._caught_up):
            if self._taken_before > received_before:
                break
        while await self.send():
            pass
        async with self._alone:
            await _finish(self._leave_nothing)

    async def progress(self, purged_at: int | None, started_at: int) -> Progress:
        """How far all this is, for the figures."""
        flushes, oldest = await _finish(self._state.left)
        size = await _finish(self._state.outbox_bytes)
        return Progress(flushes, size, oldest, self.sent_before, purged_at, started_at)

    async def exclusively(self, work: Callable[[tally.Tally, State], None]) -> None:
        """Let `work` change the open ledgers and the state while nothing else does."""
        async with self._alone:
            try:
                await _finish(self._with_fresh_memory, work)
            except BaseException:
                self._stale = True
                raise

    def hears(self) -> bool:
        """Whether a web worker has written to its spool within the last few seconds: then checks can arrive."""
        now = self._clock.milliseconds()
        return any(abs(now - reader.received) < SILENCE for reader in list(self._readers.values()))

    @property
    def caught_up(self) -> bool:
        """Whether the last step left nothing in the spools."""
        return self._caught_up

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._state.close()

    def _leave_nothing(self) -> None:
        self._tell_sent()
        self._remove_orphans()

    def _with_fresh_memory(self, work: Callable[[tally.Tally, State], None]) -> None:
        self._reload_if_stale()
        work(self._tally, self._state)

    def _step(self) -> bool:
        self._reload_if_stale()
        now = self._clock.milliseconds()
        self._tell_sent()
        if self._state.outbox_bytes() > self._outbox_limit:
            return False  # the spools fill up, and their bound tells the clients
        self._open_new()
        taken, waiting = self._due()
        if now - self._expired >= EXPIRE_EVERY or now < self._expired:
            self._expired = now
            self._tally.expire(self._taken_until(now))
            self._remove_orphans()
        try:
            flush = self._tally.take(_merge(taken), self._settings.knows)
            positions = {name: batches[-1][0] for name, batches in taken.items()}
            if positions or self._state.changed(self._tally):
                self._state.save(self._tally, positions, flush if _holds_something(flush) else None, now)
        except BaseException as error:
            self._note_failure(error, spool.is_damage(error))
            raise
        for dropped in flush.dropped:
            if dropped.reason in _DECIDED_HERE:
                self._figures.ignored[dropped.reason] += dropped.count
        for name, batches in taken.items():
            _report_lost(name, self._position(name), batches)
        self._positions.update(positions)
        for name, number in positions.items():
            self._readers[name].taken(number)
        self._seen = {
            key: then for key, then in self._seen.items() if key[1] > self._positions.get(key[0], 0)
        }
        self._caught_up = not waiting
        self._taken_before = self._earliest(taken, now)
        return waiting and bool(positions)

    def _earliest(self, taken: dict[str, list[spool.Batch]], now: int) -> int:
        """The millisecond before which nothing waits in a spool that was there when these batches were taken."""
        left = [
            batches[len(taken.get(name, ()))][1]
            for name, (batches, _) in self._looked_at.items()
            if len(taken.get(name, ())) < len(batches)
        ]
        return min([now, *left]) - USUAL_COMMIT

    def _open_new(self) -> None:
        for path in self._folder.glob("*.db"):
            name = path.stem
            if name in self._readers:
                continue
            with suppress(sqlite3.OperationalError):  # busy, or just being made: next time
                self._readers[name] = spool.SpoolReader(path)

    def _ahead(self) -> dict[str, tuple[list[spool.Batch], bool]]:
        """What each spool holds after its position, as much as a step may take, and whether there is more."""
        return {name: reader.ahead(self._position(name)) for name, reader in self._readers.items()}

    def _position(self, name: str) -> int:
        """The last batch that was taken of this spool. Of one that a lost state file knew, the last in Postgres."""
        return self._positions.get(name) or self._readers[name].sent

    def _due(self) -> tuple[dict[str, list[spool.Batch]], bool]:
        """The batches that may be taken, and whether others wait.

        In the order of their time: what came in before the slowest spool's mark, or has waited long enough. That
        is told by the clock, for a spool whose worker is gone, and by the time we have seen it, for a clock that
        stepped back.
        """
        # The marks first: what they vouch for is then among what is read. The other way round, a spool that was
        # looked into too early could be passed by a later event of the same visitor.
        mark = min((reader.received for reader in self._readers.values()), default=0)
        mark = max(mark, self._clock.milliseconds() - round(HOLD_BACK * 1000))
        ahead = self._looked_at = self._ahead()
        # A spool with a backlog is not overtaken by one without: a step ends where the first of them was cut.
        horizon = min((batches[-1][1] for batches, more in ahead.values() if more), default=None)
        now = self._clock.monotonic()
        due: dict[str, list[spool.Batch]] = {}
        for name, (batches, _) in ahead.items():
            seen = [self._seen.setdefault((name, number), now) for number, _, _ in batches]
            for batch, first_seen in zip(batches, seen, strict=True):
                late = batch[1] > mark and now - first_seen < HOLD_BACK
                if late or (horizon is not None and batch[1] > horizon):
                    break
                due.setdefault(name, []).append(batch)
        taken = sum(map(len, due.values()))
        return due, horizon is not None or taken < sum(len(batches) for batches, _ in ahead.values())

    def _tell_sent(self) -> None:
        """Let the workers delete what Postgres has."""
        for name, number in self._sent.items():
            reader = self._readers.get(name)
            if reader is not None and number > reader.sent:
                reader.drained(number)

    def _remove_orphans(self) -> None:
        for name, reader in list(self._readers.items()):
            position = self._position(name)
            if position == reader.sent and reader.remove_if_orphaned(position):
                del self._readers[name]
                self._state.forget_spool(name)
                self._positions.pop(name, None)

    def _taken_until(self, now: int) -> int:
        """All that was received before this millisecond has been taken, however far we are behind."""
        self._open_new()
        firsts = [batches[0][1] for batches, _ in self._ahead().values() if batches]
        return min([now, *firsts]) - COMMIT

    def _close_days(self) -> None:
        now = self._clock.now()
        taken = datetime.fromtimestamp(self._taken_until(self._clock.milliseconds()) / 1000, UTC)

        def is_over(key: tally.LedgerKey) -> bool:
            end = localtime.day_end(key[1], key[2])
            return now >= end + daykeys.GRACE and taken >= end

        keys = {key for key in self._tally.ledgers if is_over(key) or not self._settings.knows(key[0])}
        shared = {key for key in self._tally.sharing.days if is_over((key[1], UTC_ZONE, key[2]))}
        if keys or shared:
            self._state.destroy(keys, shared)  # the disk first: what fails there is tried again
            self._tally.forget(keys)
            self._tally.sharing.forget(shared)

    def _note_failure(self, error: BaseException, damage: bool) -> None:
        """What is in memory may be half done. If the state file is to blame, the next step begins with another."""
        self._stale = True
        if damage:
            self._damage = error

    def _reload_if_stale(self) -> None:
        """After a failure what is in memory may be half done: what is on the disk is not."""
        if self._damage is not None:
            self._state.begin_anew(self._damage)
            self._damage = None
        if self._stale:
            fresh = tally.Tally(self._max_values, self._new_id)
            self._state.load(fresh)
            self._positions = self._state.positions()
            self._tally, self._stale = fresh, False

    async def _refused_again(self, number: int, flush: Flush, error: errors.FlushRefused) -> None:
        """Try once more, by raising the error; in the end set the flush aside as a gap: the others wait behind it."""
        self._refused = (number, self._refused[1] + 1 if self._refused[0] == number else 1)
        if self._refused[1] < REFUSALS:
            raise error
        aside = files.aside(self._folder.parent / f"flush-{number}.json")
        await _finish(files.write_durably, aside, msgspec.json.encode(flush))
        await self._counters.skip(self._state.source, number, number, self._clock.now())
        await _finish(self._state.mark_applied, number, self._clock.milliseconds())
        log.error("%s, %d times: it lies in %s, and is missing in the counts", error, REFUSALS, aside.name)

    async def _go_back(self, number: int) -> None:
        """The database lacks flushes before this one: send them again if they are here, else report the gap."""
        applied = max(await self._counters.applied(self._state.source), 0)
        self._counters.forget_partitions()
        oldest = await _finish(self._state.kept_after, applied)
        if oldest > applied + 1:
            log.error(
                "the database was restored from a copy that is too old: flushes %d to %d are missing",
                applied + 1,
                oldest - 1,
            )
            await self._counters.skip(self._state.source, oldest - 1, applied + 1, self._clock.now())
            applied = oldest - 1
        log.warning("the database is behind: flushes %d to %d are sent again", applied + 1, number - 1)
        await _finish(self._state.mark_waiting, applied)


async def _finish(work: Callable[..., T], *arguments: object) -> T:
    """Work in a thread, to its end even when cancelled: it may be within a transaction."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _merge(taken: dict[str, list[spool.Batch]]) -> list[Record]:
    """All records of the batches in the order of their time; those without one go with their batch."""
    if len(taken) == 1:
        return [record for _, _, body in next(iter(taken.values())) for record in spool.records(body)]
    timed = [_timed(name, batches) for name, batches in taken.items()]
    return [record for _, _, record in heapq.merge(*timed, key=itemgetter(0, 1))]


def _timed(name: str, batches: list[spool.Batch]) -> list[tuple[int, str, Record]]:
    return [
        (getattr(record, "at", last), name, record)
        for _, last, body in batches
        for record in spool.records(body)
    ]


def _report_lost(name: str, position: int, batches: list[spool.Batch]) -> None:
    for number, _, body in batches:
        if body is None:
            log.error("lost with the damaged spool %s: its batches %d to %d", name, position + 1, number)
        position = number


def _holds_something(flush: Flush) -> bool:
    return any(getattr(flush, part) for part in flush.__struct_fields__)
