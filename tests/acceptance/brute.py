"""Counts by brute force what a crowd has sent: slow, obvious, and without a line of the server's code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from acceptance.crowd import Sent

IDLE = timedelta(minutes=30)
ATTRIBUTES = (
    *("source", "referrer", "channel", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"),
    *("country", "device", "browser", "browser_version", "os", "os_version", "screen", "language"),
)


@dataclass
class Count:
    """What is counted for one value."""

    visitors: set[int] = field(default_factory=set)
    visits: int = 0
    pageviews: int = 0
    events: int = 0
    bounces: int = 0
    duration: int = 0
    scroll: int = 0
    scroll_visits: int = 0

    def numbers(self) -> tuple[int, ...]:
        """All but the visitors, which may be estimated."""
        return (
            self.visits,
            self.pageviews,
            self.events,
            self.bounces,
            self.duration,
            self.scroll,
            self.scroll_visits,
        )


Day = tuple[str, date]
Counted = dict[tuple[str, date, str, str], Count]
"""By site, local day, dimension (empty: the site as a whole) and value."""


class Expected:
    """All that ought to be known about a crowd whose sites have these time zones."""

    def __init__(self, sent: Sequence[Sent], zones: Mapping[str, str]) -> None:
        self._zones = zones
        self.days: Counted = defaultdict(Count)
        self.hours: dict[tuple[str, date, datetime], Count] = defaultdict(Count)
        self.dropped: Counter[tuple[str, date, str]] = Counter()
        self.hits = 0
        """Raw rows: every event of a visit, engagement included."""
        for person, events in self._people(sent).items():
            for visit in self._visits(person, events):
                self.hits += len(visit)
                self._count(person[0], person[2], visit)

    def total(self, site: str, dimension: str, days: Sequence[date]) -> dict[str, Count]:
        """The counts of each value over these days; visitors are told apart by day."""
        found: dict[str, Count] = defaultdict(Count)
        for (of, day, by, value), count in self.days.items():
            if (of, by) == (site, dimension) and day in days:
                _add(found[value], count, {visitor * 1000 + day.day for visitor in count.visitors})
        return found

    def _people(self, sent: Sequence[Sent]) -> dict[tuple[str, int, date], list[Sent]]:
        """Who counts, by site, visitor and local day: nobody is known again on the next."""
        people: dict[tuple[str, int, date], list[Sent]] = defaultdict(list)
        for event in sent:
            day = event.at.astimezone(ZoneInfo(self._zones[event.site])).date()
            if event.visitor.ignored:
                self.dropped[event.site, day, event.visitor.ignored] += 1
            else:
                people[event.site, event.visitor.number, day].append(event)
        return people

    def _visits(self, person: tuple[str, int, date], events: Sequence[Sent]) -> Iterator[list[Sent]]:
        visit: list[Sent] = []
        for event in events:
            if visit and event.at - visit[-1].at >= IDLE:
                yield visit
                visit = []
            if visit or event.shown:
                visit.append(event)
            else:
                self.dropped[person[0], person[2], "engagement_without_visit"] += 1
        if visit:
            yield visit

    def _count(self, site: str, day: date, visit: Sequence[Sent]) -> None:
        shown = [event for event in visit if event.shown]
        traits = {**dict.fromkeys(ATTRIBUTES, ""), **visit[0].visitor.traits, **visit[0].arrival}
        for key in [
            ("", ""),
            *traits.items(),
            ("entry_page", shown[0].page),
            ("exit_page", shown[-1].page),
        ]:
            _add(self.days[site, day, *key], _of(visit, shown))
        for dimension, value in {pair for event in shown for pair in _values(event)}:
            count = _of(visit, [event for event in shown if (dimension, value) in _values(event)])
            depths = _depths(visit, value) if dimension == "page" else []
            if depths:
                count.scroll, count.scroll_visits = max(depths), 1
            _add(self.days[site, day, dimension, value], count)
        for hour in {self._hour(event) for event in shown}:
            within = [event for event in shown if self._hour(event) == hour]
            _add(self.hours[site, day, hour], _of(visit, within))

    def _hour(self, event: Sent) -> datetime:
        """When the local hour of the event began."""
        local = event.at.astimezone(ZoneInfo(self._zones[event.site]))
        return event.at.astimezone(UTC) - timedelta(minutes=local.minute, seconds=local.second)


def _of(visit: Sequence[Sent], events: Sequence[Sent]) -> Count:
    """One visit, as it counts for what these events of it touch."""
    views = [event for event in visit if event.name == "pageview"]
    acts = [event for event in visit if event.shown and event.name != "pageview" and event.interactive]
    return Count(
        visitors={visit[0].visitor.number},
        visits=1,
        pageviews=sum(event.name == "pageview" for event in events),
        events=len(events),
        bounces=int(len(views) == 1 and not acts),
        duration=int((visit[-1].at - visit[0].at).total_seconds()),
    )


def _values(event: Sent) -> list[tuple[str, str]]:
    props = [(f"props:{name}", value) for name, value in event.props.items()]
    return [("page", event.page), ("hostname", event.host), ("name", event.name), *props]


def _depths(visit: Sequence[Sent], page: str) -> list[int]:
    """How far this page was scrolled, each time it was told."""
    return [event.scroll for event in visit if event.page == page and event.scroll is not None]


def _add(to: Count, count: Count, visitors: set[int] | None = None) -> None:
    to.visitors |= count.visitors if visitors is None else visitors
    to.visits += count.visits
    to.pageviews += count.pageviews
    to.events += count.events
    to.bounces += count.bounces
    to.duration += count.duration
    to.scroll += count.scroll
    to.scroll_visits += count.scroll_visits
