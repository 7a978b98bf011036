"""Turns spooled records into what Postgres has to add: raw rows and counter differences, no tokens.

A *ledger* is what is open of one site, time zone and local day: its visits, and a cell for each value of each
dimension. A cell holds a HyperLogLog sketch of the visitors and the estimate that was already sent on; a
flush carries the difference. When the day has closed, its ledgers are destroyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from itertools import chain

import datasketches
from msgspec.structs import replace

from headcount import visits
from headcount.licensed import Heartbeat, HeartbeatRow
from headcount.licensing.sharing import Sharing
from headcount.model import (
    EVENT_DIMENSIONS,
    NO_SITE,
    NOTHING,
    OTHER,
    VISIT_DIMENSIONS,
    CountRow,
    Counts,
    Dropped,
    Flush,
    Hit,
    HitRow,
    Ignored,
    Record,
)
from headcount.visits import Visit

LG_K = 13
"""8,192 registers: 4 KB at most, 0.8 % standard error, exact to several hundred (Apache DataSketches HLL)."""

_CARRIED = [name for name in HeartbeatRow.__struct_fields__ if name != "minute"]
LedgerKey = tuple[int, str, date]


class Cell:
    """One value of one dimension on one open day, and what the open step adds to its counts."""

    __slots__ = (
        "bounces",
        "dimension",
        "duration",
        "events",
        "held",
        "moved",
        "pageviews",
        "row",
        "scroll",
        "scroll_visits",
        "sent",
        "sketch",
        "value",
        "visits",
    )

    def __init__(
        self, dimension: str, value: str, sketch: bytes | None = None, sent: int = 0, row: int = 0
    ) -> None:
        self.dimension = dimension
        self.value = value
        self.row = row
        """Where the state file has it; 0: nowhere yet."""
        self.sketch = (
            datasketches.hll_sketch.deserialize(sketch)
            if sketch
            else datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_4)
        )
        self.sent = sent
        self.moved = False
        """Whether visitors came or went since it was stored."""
        self.held: set[int] | None = None
        """Exit pages only: visitors whose open visit is here now and may still move on. A sketch cannot
        forget, so they enter it when the visit ends."""
        self._begin()

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

    def flush(self, site: int, day: date) -> CountRow | None:
        """What the step has added, as Postgres will add it; None: nothing."""
        visitors = self.visitors() - self.sent if self.moved else 0
        counts = (
            self.visits,
            self.pageviews,
            self.events,
            self.bounces,
            self.duration,
            self.scroll,
            self.scroll_visits,
        )
        self.sent += visitors
        self._begin()
        if not visitors and not any(counts):
            return None
        return CountRow(site, day, self.dimension, self.value, visitors, counts)

    def _begin(self) -> None:
        self.visits = self.pageviews = self.events = self.bounces = self.duration = 0
        self.scroll = self.scroll_visits = 0


class Ledger:
    """What is open of one site, zone and day, and what of it changed since it was last stored."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self.visits: dict[int, Visit] = {}
        """Token: its open visit."""
        self.cells: dict[str, dict[str, Cell]] = {}
        """Dimension, value: its cell."""
        self.changed: set[Cell] = set()
        self.changed_visits: dict[int, Visit] = {}
        """By their number: also visits that have ended since they changed."""
        self.ended: list[Visit] = []
        self._places: dict[int, tuple[list[Cell], list[Cell]]] = {}
        """Number of an open visit: the cells of the visit as a whole, the exit page last, and those that its events
        have touched. They follow from the visit, and are kept because each event needs them."""

    def cell(self, dimension: str, value: str) -> Cell:
        """The cell of this value, made if there is none."""
        values = self.cells.setdefault(dimension, {})
        cell = values.get(value)
        if cell is None:
            cell = values[value] = Cell(dimension, value)
        return cell

    def begin(self, hit: Hit, id: int) -> Visit:
        """The visit that this event opens, still without it."""
        attributes = tuple([cell.value for cell in map(self._folded, VISIT_DIMENSIONS, hit.attributes)])
        page = self._folded("page", hit.page).value
        visit = self.visits[hit.token] = visits.begin(replace(hit, page=page, attributes=attributes), id)
        whole, _ = self._places_of(visit)
        for cell in whole:
            self._enter(cell, visit.token)
        return visit

    def count(self, visit: Visit, hit: Hit) -> HitRow:
        """Take the event into the visit, and what the visit adds by that into the cells; its raw row.

        A value that is one too many becomes "(other)". All strings are those of the cells, so that visits share them.
        """
        before = visits.whole(visit)
        row = self._engage(visit, hit) if hit.name == visits.ENGAGEMENT else self._happen(visit, hit, before)
        self._spread(visit, before, visits.whole(visit))
        self.changed_visits[visit.id] = visit
        return row

    def close(self, visit: Visit) -> None:
        """The visit has ended: its exit page is final."""
        cell = self.cell("exit_page", visit.exit_page)
        self._leave(cell, visit.token, NOTHING)
        cell.sketch.update(visit.token)
        del self.visits[visit.token]
        self._places.pop(visit.id, None)
        self.ended.append(visit)

    def hold_exit(self, visit: Visit) -> None:
        """Keep the visitor of an open visit beside the sketch of its exit page."""
        self.cell("exit_page", visit.exit_page).hold(visit.token)

    def change_all(self) -> None:
        """Values were replaced: every cell may have changed, and visits may stand elsewhere."""
        self._places.clear()
        for values in self.cells.values():
            for cell in values.values():
                cell.moved = True
            self.changed.update(values.values())

    @property
    def unsaved(self) -> bool:
        """Whether anything has changed since it was last stored."""
        return bool(self.changed or self.changed_visits or self.ended)

    def flush(self, site: int, day: date, flush: Flush) -> None:
        """Put the changes into the flush."""
        flush.visits.extend(map(visits.row, self.changed_visits.values()))
        flush.counts.extend(row for cell in self.changed if (row := cell.flush(site, day)) is not None)

    def stored(self) -> None:
        """What has changed is on the disk."""
        for cell in self.changed:
            cell.moved = False
        self.changed.clear()
        self.changed_visits.clear()
        self.ended.clear()

    def _engage(self, visit: Visit, hit: Hit) -> HitRow:
        cell = self._bounded(visit, "page", hit.page)
        if len(visit.scroll) >= visits.MAX_TOUCHED and cell.value not in visit.scroll:
            cell = self.cell("page", OTHER)
        page, depth = cell.value, visit.scroll.get(cell.value)
        row = visits.add(visit, replace(hit, page=page))
        if hit.scroll is not None and page in visit.touched.get("page", ()):
            self._scroll(cell, visit.scroll[page], depth)
        return row

    def _happen(self, visit: Visit, hit: Hit, before: Counts) -> HitRow:
        whole, touched = self._places_of(visit)
        cells = [self._bounded(visit, dimension, getattr(hit, dimension)) for dimension in EVENT_DIMENSIONS]
        props = [self._bounded(visit, f"props:{name}", value) for name, value in hit.props]
        page, hostname, name = [cell.value for cell in cells]
        named = [(prop, cell.value) for (prop, _), cell in zip(hit.props, props, strict=True)]
        row = visits.add(visit, replace(hit, page=page, hostname=hostname, name=name, props=tuple(named)))
        is_view = name == visits.PAGEVIEW
        for cell in (*cells, *props, self.cell(visits.HOUR, str(hit.hour))):
            if visits.touch(visit, cell.dimension, cell.value):
                touched.append(cell)
                self._enter(cell, visit.token, before._replace(pageviews=0, events=0))
                if cell.dimension == "page" and page in visit.scroll:
                    self._scroll(cell, visit.scroll[page], None)
            cell.pageviews += is_view
            cell.events += 1
        if whole[-1].value != page:
            self._leave(whole[-1], visit.token, before)
            whole[-1] = self.cell("exit_page", page)
            self._enter(whole[-1], visit.token, before)
        return row

    def _spread(self, visit: Visit, before: Counts, after: Counts) -> None:
        """Add what the visit has gained: to the whole of it, and bounce and duration to all that it stands for."""
        whole, touched = self._places_of(visit)
        if events := after.events - before.events:
            pageviews = after.pageviews - before.pageviews
            for cell in whole:
                cell.pageviews += pageviews
                cell.events += events
        if bounces := after.bounces - before.bounces:
            for cell in chain(whole, touched):
                cell.bounces += bounces
        if seconds := after.duration - before.duration:
            for cell in chain(whole, touched):
                cell.duration += seconds
        self.changed.update(whole, touched)

    def _scroll(self, cell: Cell, depth: int, before: int | None) -> None:
        cell.scroll += depth - (before or 0)
        cell.scroll_visits += before is None

    def _enter(self, cell: Cell, token: int, counts: Counts = visits.NEW) -> None:
        """A visit comes to this cell with what it has been counted for so far."""
        cell.visits += 1
        cell.pageviews += counts.pageviews
        cell.events += counts.events
        cell.bounces += counts.bounces
        cell.duration += counts.duration
        if cell.dimension == "exit_page":
            cell.hold(token)
        else:
            cell.sketch.update(token)
        cell.moved = True

    def _leave(self, cell: Cell, token: int, counts: Counts) -> None:
        """A visit takes what it was counted for away from its exit page; nothing, if it has ended here."""
        cell.visits -= counts.visits
        cell.pageviews -= counts.pageviews
        cell.events -= counts.events
        cell.bounces -= counts.bounces
        cell.duration -= counts.duration
        if cell.held is not None:
            cell.held.discard(token)
        cell.moved = True
        self.changed.add(cell)

    def _places_of(self, visit: Visit) -> tuple[list[Cell], list[Cell]]:
        places = self._places.get(visit.id)
        if places is None:
            whole = [self.cell(*key) for key in visits.keys(visit)]
            touched = [self.cell(name, value) for name, values in visit.touched.items() for value in values]
            places = self._places[visit.id] = whole, touched
        return places

    def _bounded(self, visit: Visit, dimension: str, value: str) -> Cell:
        """The cell of a value that the visit touches, or of "(other)" if the visit or the day has too many."""
        touched = visit.touched.get(dimension, ())
        if len(touched) >= visits.MAX_TOUCHED and value not in touched:
            value = OTHER
        return self._folded(dimension, value)

    def _folded(self, dimension: str, value: str) -> Cell:
        """The cell of the value, or of "(other)" once the day has as many values of this dimension as it may."""
        values = self.cells.get(dimension, {})
        cell = values.get(value)
        if cell is None:
            cell = self.cell(dimension, value if len(values) < self._max_values else OTHER)
        return cell


class Tally:
    """All open ledgers. `take` changes them; whoever stores them does so before the next step."""

    def __init__(self, max_values: int, new_id: Callable[[], int]) -> None:
        self._max_values = max_values
        self._new_id = new_id
        self.ledgers: dict[LedgerKey, Ledger] = {}
        self.sharing = Sharing()

    def ledger(self, *key: *LedgerKey) -> Ledger:
        """The ledger of a site, zone and day, made if there is none."""
        return self.ledgers.setdefault(key, Ledger(self._max_values))

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
            ledger.flush(site, day, flush)
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
            ledger.close(visit)
            visit = None
        if visit is None and not visits.begins(hit):
            return Ignored.NO_VISIT
        if ledger is None:
            ledger = self.ledger(hit.site, hit.zone, hit.day)
        if visit is None:
            visit = ledger.begin(hit, self._new_id())
        flush.hits.append(ledger.count(visit, hit))
        return None
