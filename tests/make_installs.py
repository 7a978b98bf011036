"""Builds what the rollup leaves in Postgres of installs: the counts of each day, by brute force.

The counting here is slow and obvious on purpose: it is what answers are compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headcount import errors, licensed
from headcount.licensed import License
from headcount.licensing import cells, keys
from headcount.services.licenses import Licenses
from headcount.services.products import Products
from headcount.stats.dates import days
from headcount.store.installs import Installs
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import license as license_fields
from headcount.wire import plan as plan_fields
from make import Stopped

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

NAME = "shop"
TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 15, 20, 30, tzinfo=UTC)
MADE = date(2026, 9, 1)
DAY = timedelta(days=1)
DIMENSIONS = ("version", "plan", "country", "environment", "os", "status", "state")
SUMS = ("installs", "new_installs", "returning_installs", "lost_installs", "heartbeats")

Key = tuple[date, str, str]
"""(day, dimension, value)"""


@dataclass(frozen=True)
class Install:
    """One that counts on some days, checks once on each of these, and is silent on those after."""

    on: tuple[date, ...] = (TODAY,)
    version: str = "2.4.1"
    plan: str = "team"
    country: str = "LV"
    environment: str = "production"
    os: str = "linux"
    status: str = "active"

    def value(self, dimension: str, day: date) -> str:
        """The value of a dimension on a day; the empty dimension is the product as a whole."""
        if dimension == "state":
            return "active" if day in self.on else "silent"
        return str(getattr(self, dimension)) if dimension else ""

    def counted(self, dimension: str, day: date) -> dict[str, int]:
        """What it adds to the counts of a day."""
        now, before = day in self.on, day - DAY in self.on
        listed = now or (dimension == "state" and day > min(self.on))
        return {
            "installs": int(listed),
            "new_installs": int(now and day == min(self.on)),
            "returning_installs": int(now and not before and day > min(self.on)),
            "lost_installs": int(before and not now),
            "heartbeats": int(now and dimension != "state"),
        }


def since(first: date, last: date = TODAY, **values: str) -> Install:
    """One that counts from the first day to the last."""
    return Install(tuple(days(first, last)), **values)


def counts(installs: Iterable[Install], until: date = TODAY) -> dict[Key, Counter[str]]:
    """What install_count holds today if installs were counted until a day; what is zero throughout has no row.

    Heartbeats are counted as they come, whether installs are or not.
    """
    found: dict[Key, Counter[str]] = {}
    for install in installs:
        for day in days(min(install.on), TODAY):
            for dimension in ("", *DIMENSIONS):
                added = +Counter(install.counted(dimension, day))
                if day > until:
                    added = Counter({"heartbeats": added["heartbeats"]}) & added
                if added:
                    found.setdefault((day, dimension, install.value(dimension, day)), Counter()).update(added)
    return found


def folded(installs: Iterable[Install], day: date) -> dict[cells.Cell, int]:
    """What install_cell holds of a day."""
    return cells.fold(Counter((one.version, one.plan, one.country) for one in installs if day in one.on))


async def make_product(
    db: Connection, id: int = 1, name: str = NAME, made: date = MADE, closed: date | None = TODAY - DAY
) -> None:
    """A product that was made on a day; all days until `closed` were counted for good, or none at all."""
    await db.execute(
        "insert into product values ($1, $2, '', '', '', $3, false, $3)",
        id,
        name,
        datetime(made.year, made.month, made.day, 9, tzinfo=UTC),
    )
    if closed is not None:
        await db.execute("insert into uptime values (1, 0, $1, $2) on conflict (id) do nothing", NOW, closed)


async def store(
    db: Connection, installs: Sequence[Install], product: int = 1, *, until: date = TODAY
) -> None:
    """Put the counts of all days into Postgres, as if installs had been counted until a day."""
    found = counts(installs, until)
    rows = [
        (product, dimension, day, value, *(sums[name] for name in SUMS))
        for (day, dimension, value), sums in found.items()
    ]
    await db.copy_records_to_table("install_count", records=rows)
    by_cell = [
        (product, day, *cell, number)
        for day in _days(installs, until)
        for cell, number in folded(installs, day).items()
    ]
    await db.copy_records_to_table("install_cell", records=by_cell)


def _days(installs: Sequence[Install], until: date) -> Iterator[date]:
    return days(min((min(one.on) for one in installs), default=until), until)


async def count_one(db: Connection, dimension: str, value: str, day: date = TODAY, **sums: Any) -> None:
    """A single row of counts."""
    await db.execute(
        "insert into install_count (product_id, dimension, day, value, installs, new_installs,"
        " returning_installs, lost_installs, heartbeats) values (1, $1, $2, $3, $4, $5, $6, $7, $8)",
        dimension,
        day,
        value,
        *(sums.get(name, 0) for name in SUMS),
    )


class Selling:
    """Licenses of the product, and installs that hold seats of them."""

    def __init__(self, database: Database, **plan: Any) -> None:
        clock, secret = Stopped(NOW), Secret(bytes(range(32)))
        self._products = Products(database, clock, secret)
        self._licenses = Licenses(database, clock, secret)
        self._installs = Installs(database)
        self._database = database
        self._plan = {"name": "team", "seats": 5, "check_interval": 3600, "lease": 7 * 86400, **plan}

    async def license(self, **fields: Any) -> License:
        """A new license of the plan, which is made at first."""
        with suppress(errors.Conflict):
            await self._products.add_plan(NAME, plan_fields.Fields(**self._plan))
        key, _ = await self._licenses.issue(NAME, self._plan["name"], license_fields.Fields(**fields))
        found = await self._installs.find(keys.digest(keys.parse(key)))
        assert found is not None
        return found

    async def install(self, license: License | None = None, instance: bytes = b"one") -> License:
        """A seat that is taken now."""
        license = license or await self.license()
        claimed = licensed.Install(version="2.4.1", environment="production", os="linux", arch="")
        assert (await self._installs.claim(license, instance, claimed, "LV", NOW)).held
        return license
