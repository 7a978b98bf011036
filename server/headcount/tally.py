"""Turns spooled records into what Postgres has to add: raw rows and counter differences, no tokens.

A *ledger* is what is open of one site, time zone and local day: its visits, and a cell for each value of each
dimension. A cell holds a HyperLogLog sketch of the visitors and the estimate that was already sent on; a
flush carries the difference. When the day has closed, its ledgers are destroyed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from itertools import chain
from operator import neg, sub

import datasketches
from msgspec.structs import replace

from headcount import visits
from headcount.licensed import Heartbeat, HeartbeatRow
from headcount.licensing.sharing import Sharing
from headcount.model import (
    NO_SITE,
    OTHER,
    VISIT_DIMENSIONS,
    CountRow,
    Dropped,
    Flush,
    Hit,
    HitRow,
    Ignored,
    Record,
)
from headcount.visits import Visit, Whole

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

    def add(self, visits: int, pageviews: int, events: int, bounces: int, duration: int) -> None:
        self.visits += visits
        self.pageviews += pageviews
        self.events += events
        self.bounces += bounces
        self.duration += duration

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
        self.cells: defaultdict[str, dict[str, Cell]] = defaultdict(dict)
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
        values = self.cells[dimension]
        cell = values.get(value)
        if cell is None:
            cell = values[value] = Cell(dimension, value)
        return cell

    def begin(self, hit: Hit, id: int) -> Visit:
        """The visit that this event opens, still without it."""
        page = self._folded("page", hit.page).value
        attributes = [self._folded(*key) for key in zip(VISIT_DIMENSIONS, hit.attributes, strict=True)]
        hit = replace(hit, page=page, attributes=tuple([cell.value for cell in attributes]))
        visit = self.visits[hit.token] = visits.begin(hit, id)
        exit_page = self.cell("exit_page", page)
        whole = [self.cell(*visits.WHOLE), *attributes, self.cell("entry_page", page), exit_page]
        self._places[id] = whole, []
        for cell in whole:
            cell.visits += 1
            cell.moved = True
            if cell is exit_page:
                cell.hold(hit.token)
            else:
                cell.sketch.update(hit.token)
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
        self._release(cell, visit.token)
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

    def _happen(self, visit: Visit, hit: Hit, before: Whole) -> HitRow:
        whole, touched = self._places_of(visit)
        page = self._bounded(visit, "page", hit.page)
        hostname = self._bounded(visit, "hostname", hit.hostname)
        name = self._bounded(visit, "name", hit.name)
        props = [(prop, self._bounded(visit, f"props:{prop}", value)) for prop, value in hit.props]
        hit = replace(
            hit,
            page=page.value,
            hostname=hostname.value,
            name=name.value,
            props=tuple([(prop, cell.value) for prop, cell in props]),
        )
        row = visits.add(visit, hit)
        is_view = hit.name == visits.PAGEVIEW
        hour = self.cell(visits.HOUR, str(hit.hour))
        for cell in (page, hostname, name, hour, *[cell for _, cell in props]):
            if visits.touch(visit, cell.dimension, cell.value):
                touched.append(cell)
                self._enter(cell, visit.token, (0, 0, *before[2:]))
                if cell is page and page.value in visit.scroll:
                    self._scroll(page, visit.scroll[page.value], None)
            cell.pageviews += is_view
            cell.events += 1
        if whole[-1].value != page.value:
            self._leave(whole[-1], visit.token, before)
            whole[-1] = self.cell("exit_page", page.value)
            self._enter(whole[-1], visit.token, before)
        return row

    def _spread(self, visit: Visit, before: Whole, after: Whole) -> None:
        """Add what the visit has gained: to the whole of it, and bounce and duration to all that it stands for."""
        whole, touched = self._places_of(visit)
        pageviews, events, bounces, seconds = map(sub, after, before)
        if events:
            for cell in whole:
                cell.pageviews += pageviews
                cell.events += events
        if bounces:
            for cell in chain(whole, touched):
                cell.bounces += bounces
        if seconds:
            for cell in chain(whole, touched):
                cell.duration += seconds
        self.changed.update(whole, touched)

    def _scroll(self, cell: Cell, depth: int, before: int | None) -> None:
        cell.scroll += depth - (before or 0)
        cell.scroll_visits += before is None

    def _enter(self, cell: Cell, token: int, sofar: Whole) -> None:
        """A visit that is under way comes to this cell with what it has been counted for."""
        cell.add(1, *sofar)
        if cell.dimension == "exit_page":
            cell.hold(token)
        else:
            cell.sketch.update(token)
        cell.moved = True

    def _leave(self, cell: Cell, token: int, sofar: Whole) -> None:
        """A visit goes on from its exit page, and takes along what it was counted for."""
        cell.add(-1, *map(neg, sofar))
        self._release(cell, token)

    def _release(self, cell: Cell, token: int) -> None:
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
        values = self.cells[dimension]
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
        dropped: Counter[tuple[int, date, str]] = Counter()

        def drop(site: int, day: date, reason: str, count: int) -> None:
            dropped[site, day, str(reason)] += count

        for record in records:
            if isinstance(record, Heartbeat):
                self._heartbeat(record, flush)
            elif record.site != NO_SITE and not known(record.site):
                drop(NO_SITE, record.day, Ignored.DELETED_SITE, getattr(record, "count", 1))
            elif isinstance(record, Dropped):
                drop(record.site, record.day, record.reason, record.count)
            elif not self._hit(record, flush):
                drop(record.site, record.day, Ignored.NO_VISIT, 1)
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

    def _hit(self, hit: Hit, flush: Flush) -> bool:
        """Whether it could be counted: an engagement without a visit cannot."""
        ledger = self.ledgers.get((hit.site, hit.zone, hit.day))
        visit = ledger.visits.get(hit.token) if ledger is not None else None
        if ledger is not None and visit is not None and visits.ended(visit, hit.at):
            ledger.close(visit)
            visit = None
        if visit is None and not visits.begins(hit):
            return False
        if ledger is None:
            ledger = self.ledger(hit.site, hit.zone, hit.day)
        if visit is None:
            visit = ledger.begin(hit, self._new_id())
        flush.hits.append(ledger.count(visit, hit))
        return True
