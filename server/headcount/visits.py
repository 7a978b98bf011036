"""The visit engine's core: what a visit is, and what it adds to the counts.

A visit ends after 30 minutes without an event, or at local midnight. An engagement event never opens one.
What a visit adds to the counts follows from its state alone: `whole` is added to the values that stand for the
visit as a whole, its bounce and duration also to each value that one of its events touched.
"""

from __future__ import annotations

from datetime import date

import msgspec

from headcount.model import VISIT_DIMENSIONS, Hit, HitRow, VisitRow

TIMEOUT = 30 * 60 * 1000
"""Milliseconds without an event after which a visit has ended."""

MAX_TOUCHED = 300
"""Distinct values of one dimension that a single visit may touch; the rest is (other)."""

PAGEVIEW = "pageview"
ENGAGEMENT = "engagement"
WHOLE = ("", "")
"""The key of the site as a whole."""
HOUR = "hour"
"""The dimension of local hours, as Unix seconds; kept in a table of its own."""

Key = tuple[str, str]
Whole = tuple[int, int, int, int]
"""Page views, events, bounces, and the duration in seconds."""


class Visit(msgspec.Struct, array_like=True, gc=False):
    """An open visit. Lives in the rollup's memory and its state file, until it ends or its day does."""

    site: int
    zone: str
    day: date
    token: int
    id: int
    """Random; the only thing that ties the raw rows of the visit together."""
    started: int
    last: int
    attributes: tuple[str, ...]
    entry_page: str
    exit_page: str
    pageviews: int = 0
    events: int = 0
    interactive: int = 0
    order: int = 0
    touched: dict[str, list[str]] = {}
    """Dimension: the values that events of this visit stand for, each once."""
    scroll: dict[str, int] = {}
    """Page: deepest scroll in percent."""
    row: int = 0
    """Where the state file has it; 0: nowhere yet."""


def begins(hit: Hit) -> bool:
    """Whether this event may open a visit."""
    return hit.name != ENGAGEMENT


def ended(visit: Visit, at: int) -> bool:
    """Whether the visit is over for an event at this time. A clock that stepped back ends nothing."""
    return at - visit.last >= TIMEOUT


def begin(hit: Hit, id: int) -> Visit:
    """The visit that this event opens, still without it: `add` comes next."""
    return Visit(
        site=hit.site,
        zone=hit.zone,
        day=hit.day,
        token=hit.token,
        id=id,
        started=hit.at,
        last=hit.at,
        attributes=hit.attributes,
        entry_page=hit.page,
        exit_page=hit.page,
    )


def add(visit: Visit, hit: Hit) -> HitRow:
    """Take the event into the visit; its raw row."""
    visit.started = min(visit.started, hit.at)
    visit.last = max(visit.last, hit.at)
    row = HitRow(
        site=hit.site,
        day=hit.day,
        visit=visit.id,
        order=visit.order,
        minute=hit.at // 60_000 * 60,
        hour=hit.hour,
        name=hit.name,
        hostname=hit.hostname,
        page=hit.page,
        props=hit.props,
        scroll=hit.scroll,
    )
    visit.order += 1
    if hit.name == ENGAGEMENT:
        if hit.scroll is not None:
            visit.scroll[hit.page] = max(hit.scroll, visit.scroll.get(hit.page, 0))
        return row
    is_view = hit.name == PAGEVIEW
    visit.exit_page = hit.page
    visit.events += 1
    visit.pageviews += is_view
    visit.interactive += hit.interactive and not is_view
    return row


def touch(visit: Visit, dimension: str, value: str) -> bool:
    """An event of the visit stands for this value; whether it is the first."""
    touched = visit.touched.setdefault(dimension, [])
    if value in touched:
        return False
    touched.append(value)
    return True


def is_bounce(visit: Visit) -> bool:
    """One page view and no interactive event."""
    return visit.pageviews == 1 and visit.interactive == 0


def duration(visit: Visit) -> int:
    """Seconds from the first to the last event, engagement included."""
    return (visit.last - visit.started) // 1000


def whole(visit: Visit) -> Whole:
    """What this visit adds to each value that stands for it as a whole, besides one visit."""
    return visit.pageviews, visit.events, is_bounce(visit), duration(visit)


def keys(visit: Visit) -> list[Key]:
    """The values that stand for the visit as a whole."""
    return [
        WHOLE,
        *zip(VISIT_DIMENSIONS, visit.attributes, strict=True),
        ("entry_page", visit.entry_page),
        ("exit_page", visit.exit_page),
    ]


def row(visit: Visit) -> VisitRow:
    """The raw row of the visit as it stands."""
    return VisitRow(
        site=visit.site,
        day=visit.day,
        visit=visit.id,
        minute=visit.started // 60_000 * 60,
        attributes=visit.attributes,
        entry_page=visit.entry_page,
        exit_page=visit.exit_page,
        pageviews=visit.pageviews,
        events=visit.events,
        bounce=is_bounce(visit),
        duration=duration(visit),
    )
