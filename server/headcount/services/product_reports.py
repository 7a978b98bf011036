"""Answers questions about a product: its installs by the day, and what a vendor should look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from headcount import errors
from headcount.clock import Clock
from headcount.licensed import UTC_ZONE
from headcount.services.answers import Answers
from headcount.stats import dates, product, product_sql
from headcount.stats.product import CountedDays
from headcount.stats.question import Query
from headcount.stats.shape import Answer
from headcount.store.postgres import Database
from headcount.wire import check, fields

LISTED = 100
"""Licenses or installs that a list of signals holds at most."""


@dataclass(frozen=True, slots=True)
class Seats:
    """The seats of the licenses that are good today, in their grace included."""

    licenses: int
    used: int
    sold: int
    """Of licenses with a limit, like `used`."""
    unlimited: int
    """Licenses without a limit."""
    used_unlimited: int
    """Installs that hold a seat of these."""


@dataclass(frozen=True, slots=True)
class SeenInstall:
    """An install that a vendor should look at."""

    license: str
    """Its id, as the API writes it."""
    customer_ref: str
    plan: str
    instance: str
    """Its digest in hex."""
    version: str
    last_seen: datetime
    forks: int = 0
    """How often two installs turned out to share this identity."""


@dataclass(frozen=True, slots=True)
class SharedLicense:
    """A license that checked from more places on a day than it has seats. The figures are the most of any one day."""

    license: str
    customer_ref: str
    plan: str
    seats: int
    instances: int
    networks: int
    countries: int


@dataclass(frozen=True, slots=True)
class Signals:
    """Signs that keys are passed around or installs copied, the strongest first; no proof of it."""

    shared: list[SharedLicense]
    shared_total: int
    """How many there are, also past the end of the list."""
    forked: list[SeenInstall]
    forked_total: int


class ProductReports:
    """The service behind the stats API and `headcount product stats`. Every method raises DatabaseDown."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._answers = Answers(database, clock, "product_values")

    async def find(self, name: str) -> int:
        """The id of the product of this name. Raises NotFound."""
        row = await self._database.row("product_id", name) if check.PRODUCT.fullmatch(name) else None
        if row is None:
            raise errors.NotFound("product", f"there is no product {fields.quoted(name)}")
        id: int = row["id"]
        return id

    async def query(self, id: int, query: Query) -> Answer:
        """The answer. Raises BadInput for what is not counted."""
        counted = await self._counted_days(id)
        period = dates.resolve(query.date_range, UTC_ZONE, self._clock.now(), counted.first)
        planned = product.decide(query, period, counted)
        given = await self._answers.given(id, planned)
        page, total = product_sql.rows(planned, given), product_sql.total(planned, given)
        return await self._answers.answer(planned, page, total, planned.facts)

    async def seats(self, id: int) -> Seats:
        """The seats of the product now."""
        row = await self._database.row("product_seats", id, self._clock.now())
        assert row is not None  # noqa: S101 - sums are always one row
        return Seats(**row)

    async def silent(self, id: int) -> tuple[list[SeenInstall], int]:
        """Installs that hold a seat and are silent now, the longest first; and how many there are."""
        return _installs(await self._database.rows("product_silent", id, LISTED))

    async def signals(self, id: int, first: date, last: date) -> Signals:
        """What shows that keys are passed around on these days, or that installs were ever copied."""
        rows = await self._database.rows("product_shared", id, first, last, LISTED)
        shared = [
            SharedLicense(
                license=str(row["id"]),
                customer_ref=row["customer_ref"],
                plan=row["plan"],
                seats=row["seats_limit"],
                instances=row["instances"],
                networks=row["networks"],
                countries=row["countries"],
            )
            for row in rows
        ]
        forked = _installs(await self._database.rows("product_forked", id, LISTED))
        return Signals(shared, rows[0]["total"] if rows else 0, *forked)

    async def _counted_days(self, id: int) -> CountedDays:
        row = await self._database.row("product_counted_days", id)
        if row is None:
            raise errors.NotFound("site_id", "there is no such product")
        known = row["last"] is not None and row["last"] >= row["first"]
        return CountedDays(row["first"], row["last"] if known else None)


def _installs(rows: list[asyncpg.Record]) -> tuple[list[SeenInstall], int]:
    found = [
        SeenInstall(
            license=str(row["license_id"]),
            customer_ref=row["customer_ref"],
            plan=row["plan"],
            instance=row["instance"].hex(),
            version=row["version"],
            last_seen=row["last_seen"],
            forks=row["forks"],
        )
        for row in rows
    ]
    return found, rows[0]["total"] if rows else 0
