"""Builds what the rollup leaves in Postgres: raw rows, and the counters of the same visits by brute force.

The counting here is slow and obvious on purpose: it is what answers are compared with.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from headcount.clock import Clock
from headcount.model import VISIT_DIMENSIONS, Site

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

ZONE = "Europe/Berlin"
TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 15, 20, 30, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
SUMS = ("visits", "pageviews", "events", "bounces", "duration", "scroll", "scroll_visits")


@dataclass(frozen=True)
class StoppedClock(Clock):
    """A clock that always shows the same moment."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment


@dataclass(frozen=True)
class Hit:
    name: str = "pageview"
    page: str = "/"
    hostname: str = "example.com"
    props: tuple[tuple[str, str], ...] = ()
    scroll: int | None = None
    after: int = 0
    """Minutes after the visit began."""


@dataclass(frozen=True)
class Visit:
    hits: tuple[Hit, ...] = (Hit(),)
    day: date = TODAY
    hour: int = 12
    """Local; with `minute` the beginning of the visit."""
    minute: int = 0
    visitor: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    duration: int = 0
    zone: str = ZONE
    fold: int = 0

    @property
    def began(self) -> datetime:
        return datetime(
            self.day.year, self.day.month, self.day.day, self.hour, self.minute,
            tzinfo=ZoneInfo(self.zone), fold=self.fold,
        ).astimezone(UTC)  # fmt: skip

    @property
    def events(self) -> list[Hit]:
        return [hit for hit in self.hits if hit.name != "engagement"]

    @property
    def pageviews(self) -> int:
        return sum(hit.name == "pageview" for hit in self.hits)

    @property
    def bounce(self) -> bool:
        return len(self.events) == 1 and self.pageviews == 1

    def moment(self, hit: Hit) -> datetime:
        return self.began + timedelta(minutes=hit.after)

    def hour_of(self, hit: Hit) -> datetime:
        local = self.moment(hit).astimezone(ZoneInfo(self.zone))
        return local.replace(minute=0).astimezone(UTC)

    def value(self, dimension: str) -> str:
        """The value of a visit-level dimension."""
        if dimension == "entry_page":
            return self.events[0].page
        return self.events[-1].page if dimension == "exit_page" else self.attributes.get(dimension, "")


def site(id: int = 1, **settings: object) -> Site:
    values = {"domain": "example.com", "timezone": ZONE, "created_at": NOW, **settings}
    return Site(id=id, **values)  # type: ignore[arg-type] # as the test gives them


def values_of(hit: Hit) -> list[tuple[str, str]]:
    """(dimension, value) of everything event-level that a hit touches."""
    return [
        ("page", hit.page),
        ("hostname", hit.hostname),
        ("name", hit.name),
        *((f"props:{name}", value) for name, value in hit.props),
    ]


def sums(visits: Iterable[Visit], touched: Callable[[Visit, Hit], bool], scrolled: bool) -> dict[str, int]:
    """What a counter holds of these visits, given which of their hits belong to it."""
    total = dict.fromkeys(SUMS, 0)
    for visit in visits:
        hits = [hit for hit in visit.hits if touched(visit, hit)]
        events = [hit for hit in hits if hit.name != "engagement"]
        if not events:
            continue
        total["visits"] += 1
        total["pageviews"] += sum(hit.name == "pageview" for hit in events)
        total["events"] += len(events)
        total["bounces"] += visit.bounce
        total["duration"] += visit.duration
        depths = [hit.scroll for hit in hits if hit.scroll is not None]
        if scrolled and depths:
            total["scroll"] += max(depths)
            total["scroll_visits"] += 1
    return total


def counters(visits: Sequence[Visit]) -> dict[tuple[date, str, str], dict[str, int]]:
    """(day, dimension, value): its counts, with visitors."""
    members: dict[tuple[date, str, str], list[Visit]] = defaultdict(list)
    for visit in visits:
        keys = {("", ""), *(value for hit in visit.events for value in values_of(hit))}
        keys |= {(name, visit.value(name)) for name in (*VISIT_DIMENSIONS, "entry_page", "exit_page")}
        for key in keys:
            members[visit.day, *key].append(visit)
    found = {}
    for (day, dimension, value), of in members.items():
        event_level = dimension in ("page", "hostname", "name") or dimension.startswith("props:")

        def touched(visit: Visit, hit: Hit, key: tuple[str, str] = (dimension, value)) -> bool:
            return not event_level or key in values_of(hit)  # noqa: B023 - used within this turn

        counts = sums(of, touched, scrolled=dimension == "page")
        found[day, dimension, value] = {"visitors": len({visit.visitor for visit in of}), **counts}
    return found


def hours(visits: Sequence[Visit]) -> dict[tuple[date, datetime], dict[str, int]]:
    """(day, beginning of the local hour): its counts, with visitors."""
    members: dict[tuple[date, datetime], list[Visit]] = defaultdict(list)
    for visit in visits:
        for hour in {visit.hour_of(hit) for hit in visit.events}:
            members[visit.day, hour].append(visit)
    return {
        (day, hour): {
            "visitors": len({visit.visitor for visit in of}),
            **sums(of, lambda visit, hit, hour=hour: visit.hour_of(hit) == hour, scrolled=False),  # type: ignore[misc] # a default argument has no type
        }
        for (day, hour), of in members.items()
    }


async def partitions(db: Connection, days: Iterable[date]) -> None:
    """The day's partitions of raw rows, as the rollup makes them."""
    for day in days:
        for table in ("hit", "visit"):
            await db.execute(
                f"create table if not exists {table}_{day:%Y%m%d} partition of {table} "
                f"for values from ('{day}') to ('{day + timedelta(days=1)}')"
            )


async def store(
    db: Connection, visits: Sequence[Visit], site: int = 1, *, raw: bool = True, counted: bool = True
) -> None:
    """Put the visits into the raw tables and into the counters."""
    if raw:
        await partitions(db, sorted({visit.day for visit in visits}))
        await db.copy_records_to_table("visit", records=[_visit(site, *item) for item in enumerate(visits)])
        await db.copy_records_to_table(
            "hit", records=[row for item in enumerate(visits) for row in _hits(site, *item)]
        )
    if counted:
        rows = [(site, *key, *counts.values()) for key, counts in counters(visits).items()]
        await db.copy_records_to_table("counter", records=rows)
        by_hour = [(site, *key, *list(counts.values())[:6]) for key, counts in hours(visits).items()]
        await db.copy_records_to_table("hour", records=by_hour)


def _visit(site: int, number: int, visit: Visit) -> tuple[object, ...]:
    attributes = [visit.attributes.get(name, "") for name in VISIT_DIMENSIONS]
    pages = [visit.value("entry_page"), visit.value("exit_page")]
    counts = [visit.pageviews, len(visit.events), visit.bounce, visit.duration]
    return (site, visit.day, number, visit.began, *attributes, *pages, *counts)


def _hits(site: int, number: int, visit: Visit) -> list[tuple[object, ...]]:
    return [
        (
            site,
            visit.day,
            number,
            order,
            visit.moment(hit),
            visit.hour_of(hit),
            hit.name,
            hit.hostname,
            hit.page,
            json.dumps(dict(hit.props)) if hit.props else None,
            hit.scroll,
        )
        for order, hit in enumerate(visit.hits)
    ]
