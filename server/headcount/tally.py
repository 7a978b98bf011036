"""Turns spooled records into what Postgres has to add: raw rows and counter differences, no tokens.

A *ledger* is what is open of one site, time zone and local day: its visits, and a cell for each value of each
dimension. A cell holds a HyperLogLog sketch of the visitors and the estimate that was already sent on; a
flush carries the difference. When the day has closed, its ledgers are destroyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import datasketches
import msgspec

from headcount import visits
from headcount.licensed import Heartbeat, HeartbeatRow
from headcount.licensing.sharing import Sharing
from headcount.model import (
    NO_SITE,
    NOTHING,
    OTHER,
    VISIT_DIMENSIONS,
    CountRow,
    Counts,
    Dropped,
    Flush,
    Hit,
    Ignored,
    Record,
)
from headcount.visits import Visit

LG_K = 13
"""8,192 registers: 4 KB at most, 0.8 % standard error, exact to several hundred (Apache DataSketches HLL)."""

_CARRIED = [name for name in HeartbeatRow.__struct_fields__ if name != "minute"]
LedgerKey = tuple[int, str, date]


class Cell:
    """One value of one dimension on one open day."""

    __slots__ = ("held", "sent", "sketch")

    def __init__(self, sketch: bytes | None = None, sent: int = 0) -> None:
        self.sketch = (
            datasketches.hll_sketch.deserialize(sketch)
            if sketch
            else datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_4)
        )
        self.sent = sent
        self.held: set[int] | None = None
        """Exit pages only: visitors whose open visit is here now and may still move on. A sketch cannot
        forget, so they enter it when the visit ends."""

    def visitors(self) -> int:
        """Distinct visitors, estimated."""
        if not self.held:
            return round(float(self.sketch.get_estimate()))
        both = datasketches.hll_sketch.deserialize(self.packed())
        for token in self.held:
            both.update(token)
        return round(float(both.get_estimate()))

    def hold(self, token: int) -> None:
        if self.held is None:
            self.held = set()
        self.held.add(token)

    def packed(self) -> bytes:
        """The sketch, to be stored; what is held follows from the open visits."""
        return bytes(self.sketch.serialize_compact())


class Ledger:
    """What is open of one site, zone and day, and what of it changed since it was last stored."""

    def __init__(self) -> None:
        self.visits: dict[int, Visit] = {}
        self.cells: dict[str, dict[str, Cell]] = {}
        self.before: dict[int, dict[visits.Key, Counts]] = {}
        """Token: what its visit contributed before this step."""
        self.changes: dict[visits.Key, list[int]] = {}
        """What to add to each cell, in the order of Counts."""
        self.changed_visits: set[int] = set()
        """Tokens whose visit changed or ended."""

    def cell(self, key: visits.Key) -> Cell:
        """The cell of (dimension, value), made if there is none."""
        values = self.cells.setdefault(key[0], {})
        if key[1] not in values:
            values[key[1]] = Cell()
        return values[key[1]]

    def fold(self, dimension: str, value: str, limit: int) -> str:
        """The value itself, or "(other)" once the day has `limit` others of this dimension."""
        values = self.cells.setdefault(dimension, {})
        if value in values:
            return value
        if len(values) >= limit:
            return OTHER
        values[value] = Cell()
        return value

    def begin(self, hit: Hit, id: int) -> Visit:
        visit = self.visits[hit.token] = visits.begin(hit, id)
        self.before[hit.token] = {}
        return visit

    def note(self, visit: Visit) -> None:
        """Remember what the visit contributes, before it changes."""
        if visit.token not in self.before:
            self.before[visit.token] = visits.contribution(visit)

    def settle(self, visit: Visit) -> None:
        """Take what the visit adds since `note` into the changes, and its visitor into the sketches."""
        before, after = self.before.pop(visit.token), visits.contribution(visit)
        # Most keys stand for the visit as a whole: their difference is one, and computed once.
        whole_before, whole = before.get(visits.WHOLE), after[visits.WHOLE]
        difference = whole.minus(whole_before) if whole_before is not None else whole
        for key, counts in after.items():
            old = before.get(key)
            if old is None:
                self._enter(key, visit.token)
                self._change(key, counts)
            elif old is whole_before and counts is whole:
                self._change(key, difference)
            elif old != counts:
                self._change(key, counts.minus(old))
        for key in before.keys() - after.keys():  # only the exit page moves on
            self._leave(key, visit.token)
            self._change(key, NOTHING.minus(before[key]))
        self.changed_visits.add(visit.token)

    def close(self, visit: Visit) -> None:
        """The visit has ended: its exit page is final."""
        key = ("exit_page", visit.exit_page)
        self._leave(key, visit.token)
        self.cell(key).sketch.update(visit.token)
        del self.visits[visit.token]
        self.changed_visits.add(visit.token)
        self.changes.setdefault(key, list(NOTHING))

    def hold_exit(self, visit: Visit) -> None:
        """Keep the visitor of an open visit beside the sketch of its exit page."""
        self.cell(("exit_page", visit.exit_page)).hold(visit.token)

    def rows(self, site: int, day: date) -> list[CountRow]:
        """The changes with the visitors that came or went, as Postgres will add them."""
        rows = []
        for (dimension, value), counts in self.changes.items():
            cell = self.cell((dimension, value))
            visitors = cell.visitors() - cell.sent
            cell.sent += visitors
            if visitors or any(counts):
                rows.append(CountRow(site, day, dimension, value, visitors, tuple(counts)))
        return rows

    def _enter(self, key: visits.Key, token: int) -> None:
        cell = self.cell(key)
        if key[0] == "exit_page":
            cell.hold(token)
        else:
            cell.sketch.update(token)

    def _leave(self, key: visits.Key, token: int) -> None:
        held = self.cell(key).held
        if held is not None:
            held.discard(token)

    def _change(self, key: visits.Key, by: Counts) -> None:
        sums = self.changes.get(key)
        if sums is None:
            self.changes[key] = list(by)
            return
        for index, number in enumerate(by):
            if number:
                sums[index] += number


class Tally:
    """All open ledgers. `take` changes them; whoever stores them does so before the next step."""

    def __init__(self, max_values: int, new_id: Callable[[], int]) -> None:
        self._max_values = max_values
        self._new_id = new_id
        self.ledgers: dict[LedgerKey, Ledger] = {}
        self.sharing = Sharing()

    def take(self, records: Iterable[Record], known: Callable[[int], bool]) -> Flush:
        """Count the records, in the order of their time. `known` tells whether a site still exists."""
        flush = Flush()
        dropped: dict[tuple[int, date, str], int] = {}
        for record in records:
            if isinstance(record, Heartbeat):
                self._heartbeat(record, flush)
                continue
            reason, count = (record.reason, record.count) if isinstance(record, Dropped) else (None, 1)
            if record.site != NO_SITE and not known(record.site):
                dropped_site, reason = NO_SITE, str(Ignored.DELETED_SITE)
            else:
                dropped_site = record.site
            if reason is None and isinstance(record, Hit):
                reason = self._hit(record, flush)
            if reason is not None:
                key = (dropped_site, record.day, str(reason))
                dropped[key] = dropped.get(key, 0) + count
        for (site, _, day), ledger in self.ledgers.items():
            for token in list(ledger.before):
                visit = ledger.visits[token]
                ledger.settle(visit)
                flush.visits.append(visits.row(visit))
            flush.counts.extend(ledger.rows(site, day))
        flush.sharing.extend(self.sharing.rows())
        flush.dropped.extend(Dropped(*key, count) for key, count in sorted(dropped.items()))
        return flush

    def expire(self, now: int) -> None:
        """Close the visits that have been idle for too long; nothing that is counted changes."""
        for ledger in self.ledgers.values():
            for visit in [visit for visit in ledger.visits.values() if visits.ended(visit, now)]:
                ledger.close(visit)

    def forget(self, keys: Iterable[LedgerKey]) -> None:
        """Destroy these ledgers."""
        for key in keys:
            del self.ledgers[key]

    def _heartbeat(self, heartbeat: Heartbeat, flush: Flush) -> None:
        """Pass it on without the network; of an unknown key only its answer is counted."""
        if heartbeat.license:
            self.sharing.note(heartbeat)
        fields = {name: getattr(heartbeat, name) for name in _CARRIED}
        flush.heartbeats.append(HeartbeatRow(minute=heartbeat.at // 60_000 * 60, **fields))

    def _hit(self, hit: Hit, flush: Flush) -> Ignored | None:
        ledger = self.ledgers.get((hit.site, hit.zone, hit.day))
        visit = ledger.visits.get(hit.token) if ledger is not None else None
        if ledger is not None and visit is not None and visits.ended(visit, hit.at):
            if hit.token in ledger.before:
                ledger.settle(visit)
                flush.visits.append(visits.row(visit))
            ledger.close(visit)
            visit = None
        if visit is None and not visits.begins(hit):
            return Ignored.NO_VISIT
        if ledger is None:
            ledger = self.ledgers[hit.site, hit.zone, hit.day] = Ledger()
        hit = self._folded(hit, ledger, visit)
        if visit is None:
            visit = ledger.begin(hit, self._new_id())
        else:
            ledger.note(visit)
        flush.hits.append(visits.add(visit, hit))
        return None

    def _folded(self, hit: Hit, ledger: Ledger, visit: Visit | None) -> Hit:
        """The hit with every value that is one too many replaced by "(other)"."""
        limit = self._max_values

        def fold(dimension: str, value: str) -> str:
            seen = visit.touched.get(dimension, {}) if visit is not None else {}
            if len(seen) >= visits.MAX_TOUCHED and value not in seen:
                return ledger.fold(dimension, OTHER, limit)
            return ledger.fold(dimension, value, limit)

        if hit.name == visits.ENGAGEMENT:
            page = fold("page", hit.page)
            if visit is not None and len(visit.scroll) >= visits.MAX_TOUCHED and page not in visit.scroll:
                page = OTHER
            return hit if page == hit.page else msgspec.structs.replace(hit, page=page)
        changed: dict[str, object] = {}
        for name in ("page", "hostname", "name"):
            value = getattr(hit, name)
            if (folded := fold(name, value)) != value:
                changed[name] = folded
        if hit.props:
            changed["props"] = tuple((name, fold(f"props:{name}", value)) for name, value in hit.props)
        if visit is None:
            changed["attributes"] = tuple(
                ledger.fold(name, value, limit)
                for name, value in zip(VISIT_DIMENSIONS, hit.attributes, strict=True)
            )
        return msgspec.structs.replace(hit, **changed) if changed else hit
