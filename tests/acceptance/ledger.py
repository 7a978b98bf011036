"""Page views under load, a ledger of what became of each, and the verdict on what Postgres has of them.

    async with Load(server, ledger) as load:
        await load.acknowledges(100)
        ...                                  # do harm
        await load.acknowledges(100)         # it goes on, or goes on again
    await drained(server)
    print(await verdict(server, ledger))

Each page is looked at once, so that Postgres tells of each view whether it is there, and whether twice. Who
looked at it is known here alone: with that the visits and visitors that there must be are counted by brute
force. They depend on what was stored and not on what was killed meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp
import asyncpg

from acceptance.crowd import AGENTS
from acceptance.server import PATIENCE, Server, until
from headcount.model import OTHER

SETTINGS: Mapping[str, str] = MappingProxyType(
    {"trusted_proxies": "127.0.0.1/32", "rate_limit": "0", "max_values": "1000000"}
)
"""What a server under such a load needs: it believes who the visitors are, and each page has its counter."""
SITE = "localhost"
VISITORS = 150
"""At a time: so few that in a short test the sketches count them exactly."""
EXACT = 200
"""Up to so many visitors; more are counted within two percent."""
PAGES = 200
"""Looked at by one visitor, then another comes: past 300 pages of a visit the server tells them no more apart."""
BATCH = 20
"""Page views in a request, in each ninth request; the others have one."""
MOST = 200_000
"""Page views that one ledger takes, so that a load that nobody stops comes to an end."""


class Outcome(StrEnum):
    """What the sender knows of a page view."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """Answered, but not with 202."""
    IN_FLIGHT = "in flight"
    """On its way, or the connection was lost before an answer: it may be stored or not."""
    UNSENT = "unsent"
    """There was no connection to send it on."""


@dataclass
class Ledger:
    """Every page that anybody was to look at."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    visitors: dict[str, int] = field(default_factory=dict)
    """The page: who looked at it."""
    statuses: Counter[int] = field(default_factory=Counter)
    """How requests were answered."""
    _requests: int = 0
    _seats: list[tuple[int, int]] = field(default_factory=lambda: [(n, 0) for n in range(VISITORS)])
    """Those who are there now, with the number of pages that they have looked at."""

    def next_views(self) -> tuple[int, list[str]]:
        """Whose turn it is, and what they look at next: a page, or several at once."""
        seat = self._requests % VISITORS
        count = 1 if self._requests % 9 else BATCH
        self._requests += 1
        visitor, seen = self._seats[seat]
        if seen + count > PAGES:
            visitor, seen = visitor + VISITORS, 0
        self._seats[seat] = visitor, seen + count
        return visitor, [self.new_page(visitor) for _ in range(count)]

    def new_page(self, visitor: int) -> str:
        """A page that nobody has looked at, in a form that needs no scrubbing."""
        number = len(self.visitors)
        page = f"/view/{number // 1000}/{number % 1000}"
        self.visitors[page] = visitor
        return page

    def note(self, pages: Iterable[str], outcome: Outcome) -> None:
        self.outcomes.update(dict.fromkeys(pages, outcome))

    def of(self, *outcomes: Outcome) -> set[str]:
        """The pages with one of these outcomes."""
        return {page for page, outcome in self.outcomes.items() if outcome in outcomes}

    def count(self, outcome: Outcome) -> int:
        return sum(found is outcome for found in self.outcomes.values())


class Load:
    """Visitors who look at one page after the other, as long as the context lasts."""

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        *,
        rate: float = 200,
        senders: int = 4,
        keep_alive: bool = True,
    ) -> None:
        """`rate`: requests a second in all, 0 for as many as it can. Without `keep_alive` each request has a
        connection of its own."""
        self._server = server
        self._ledger = ledger
        self._pause = senders / rate if rate else 0.0
        self._senders = senders
        self._headers = {} if keep_alive else {"Connection": "close"}
        self._acknowledged = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._send()) for _ in range(self._senders)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what is on its way arrive, then end; a sender that failed fails the test."""
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for failure in filter(None, ended):
                raise failure

    async def acknowledges(self, count: int) -> None:
        """Wait until so many more requests have been acknowledged than when this was called."""
        goal = self._acknowledged + count
        await until(lambda: self._acknowledged >= goal, seconds=PATIENCE + count / 10)

    async def _send(self) -> None:
        while not self._stopping and len(self._ledger.visitors) < MOST:
            await asyncio.sleep(self._pause)
            if self._server.origin:
                await self._request()

    async def _request(self) -> None:
        visitor, pages = self._ledger.next_views()
        views = [{"n": "pageview", "u": f"http://{SITE}{page}", "d": SITE} for page in pages]
        high, low = divmod(visitor // 2, 250)  # two live behind each address
        headers = {
            "X-Forwarded-For": f"28.9.{high}.{low + 1}",
            "User-Agent": AGENTS[visitor % 2][0],
            **self._headers,
        }
        self._ledger.note(pages, Outcome.IN_FLIGHT)
        try:
            answer = await self._server.post(views[0] if len(views) == 1 else views, headers)
        except aiohttp.ClientConnectorError:
            self._ledger.note(pages, Outcome.UNSENT)
            await asyncio.sleep(0.02)
        except (aiohttp.ClientError, TimeoutError):
            pass  # it stays in flight
        else:
            self._ledger.statuses[answer.status] += 1
            accepted = answer.status == 202
            self._acknowledged += accepted
            self._ledger.note(pages, Outcome.ACKNOWLEDGED if accepted else Outcome.REFUSED)


async def drained(server: Server) -> None:
    """Wait until all that was spooled is in Postgres. Some faults leave a large backlog."""

    def is_drained() -> bool:
        # The spools first: what is taken from them in between is then seen in the outbox.
        with suppress(sqlite3.OperationalError):  # a spool is being made or removed
            return left_in_spools(server) == 0 and left_in_the_outbox(server) == 0
        return False

    await until(is_drained, seconds=3 * PATIENCE)


def left_in_spools(server: Server) -> int:
    """Batches that the rollup has not taken."""
    with closing(_read_only(server.data_dir / "state.db")) as state:
        positions = dict(state.execute("select spool, number from position"))
    left = 0
    for file in (server.data_dir / "spool").glob("*.db"):
        with closing(_read_only(file)) as spool:
            after = (positions.get(file.stem, 0),)
            left += spool.execute("select count(*) from batch where number > ?", after).fetchone()[0]
    return left


def left_in_the_outbox(server: Server) -> int:
    """Flushes that Postgres has not got."""
    return _of_state(server, "select count(*) from outbox where applied_at is null")


def kept_flushes(server: Server) -> int:
    """Flushes that are here still, for a Postgres that comes back older than it was."""
    return _of_state(server, "select count(*) from outbox")


def last_flush(server: Server) -> int:
    """The number of the last one."""
    return _of_state(server, "select flush from source")


def _of_state(server: Server, question: str) -> int:
    with closing(_read_only(server.data_dir / "state.db")) as state:
        return int(state.execute(question).fetchone()[0])


def _read_only(file: Path) -> sqlite3.Connection:
    """Else a file that has just been removed would be made anew."""
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)


@dataclass(frozen=True)
class Stored:
    """What Postgres has."""

    hits: list[tuple[str, date, int]]
    """The page, its day, and the visit it belongs to."""
    by_page: dict[str, int]
    """Page views by the daily counters of pages."""
    visits: int
    """These and the next two by the daily counters of the site as a whole."""
    visitors: int
    pageviews: int
    by_hour: int
    """Page views by the hourly totals."""
    raw_visits: int
    """Rows of visits, and the page views that they know of."""
    raw_pageviews: int

    @property
    def pages(self) -> set[str]:
        return {page for page, _, _ in self.hits}


_WHOLE = """
select (select coalesce(sum(visits), 0) from counter where dimension = '')::int as visits,
    (select coalesce(sum(visitors), 0) from counter where dimension = '')::int as visitors,
    (select coalesce(sum(pageviews), 0) from counter where dimension = '')::int as pageviews,
    (select coalesce(sum(pageviews), 0) from hour)::int as by_hour,
    (select count(*) from visit)::int as raw_visits,
    (select coalesce(sum(pageviews), 0) from visit)::int as raw_pageviews
"""


async def stored(server: Server) -> Stored:
    connection = await asyncpg.connect(server.dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            hits = await connection.fetch("select page, day, visit from hit")
            pages = await connection.fetch(
                "select value, sum(pageviews)::int as views from counter where dimension = 'page' group by 1"
            )
            whole = await connection.fetchrow(_WHOLE)
    finally:
        await connection.close()
    return Stored(
        hits=[(row["page"], row["day"], row["visit"]) for row in hits],
        by_page={row["value"]: row["views"] for row in pages},
        **dict(whole or {}),
    )


async def verdict(server: Server, ledger: Ledger) -> str:
    """Assert that nothing acknowledged is lost and nothing counted twice; the figures, in one line."""
    found = await stored(server)
    check_events(ledger, found)
    check_counters(found)
    check_visits(ledger, found)
    counts = [f"{outcome} {ledger.count(outcome)}" for outcome in Outcome]
    return ", ".join([*counts, f"stored {len(found.hits)}", f"visits {found.visits}"])


def check_events(ledger: Ledger, found: Stored) -> None:
    """acknowledged ⊆ stored, none twice, and what else is stored was in flight."""
    assert OTHER not in found.pages, "the server was not told to tell so many pages apart"
    _none("acknowledged and not stored", ledger.of(Outcome.ACKNOWLEDGED) - found.pages)
    _none("stored more than once", [p for p, n in Counter(p for p, _, _ in found.hits).items() if n > 1])
    may_be = ledger.of(Outcome.ACKNOWLEDGED, Outcome.IN_FLIGHT)
    _none("stored, but neither acknowledged nor in flight", found.pages - may_be)


def check_counters(found: Stored) -> None:
    """Counters and raw rows tell the same."""
    _none("counted more than once", [p for p, n in found.by_page.items() if n != 1 and p != OTHER])
    _none("counted and not among the raw rows", found.by_page.keys() - found.pages - {OTHER})
    told = (sum(found.by_page.values()), found.pageviews, found.by_hour, found.raw_pageviews)
    assert told == (len(found.hits),) * 4
    assert found.visits == found.raw_visits


def check_visits(ledger: Ledger, found: Stored) -> None:
    """Each visitor has one visit a day, since none pauses for half an hour; nobody shares one."""
    expected = {(ledger.visitors[page], day) for page, day, _ in found.hits}
    told = {(ledger.visitors[page], day, visit) for page, day, visit in found.hits}
    assert len(told) == len({visit for _, _, visit in told}) == len(expected)
    assert found.visits == len(expected)
    inexact = 0 if len(expected) < EXACT else 0.02 * len(expected)
    assert abs(found.visitors - len(expected)) <= inexact


def _none(what: str, pages: Iterable[str]) -> None:
    there = sorted(pages)
    assert not there, f"{len(there)} {what}, such as {there[:3]}"
