"""Random installs: the answers are those of a slow and obvious count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import filtering
import make_installs
import make_rows
from headcount.privacy import countries
from headcount.services.product_reports import ProductReports
from headcount.stats import dates
from headcount.stats.question import Dimension, Level, Query, matches
from headcount.store.postgres import Database
from headcount.wire import query
from make_installs import DAY, NOW, TODAY, Install

if TYPE_CHECKING:
    from make_installs import Connection

FIRST = date(2026, 11, 4)
TIMES = ["time:day", "time:week", "time:month"]
ALONE = ["version", "plan", "country", "country_name", "environment", "os", "status", "state"]
TOGETHER = ["install:version", "install:plan", "install:country", "install:country_name"]
VALUES = ["1.0", "2.0", "team", "LV", "Latvia", "EE", "active", "silent", "(not set)", "", "(other)", "o"]
FLOW = ["installs", "new_installs", "returning_installs", "lost_installs"]

Rows = dict[tuple[str, ...], list[int | None]]
"""Dimensions: metrics."""

some_days = st.sets(st.integers(0, (TODAY - FIRST).days), min_size=1, max_size=12)
installs = st.lists(
    st.builds(
        Install,
        on=some_days.map(lambda days: tuple(FIRST + timedelta(days=day) for day in sorted(days))),
        version=st.sampled_from(["1.0", "2.0", ""]),
        plan=st.sampled_from(["team", "solo"]),
        country=st.sampled_from(["LV", "EE", ""]),
        environment=st.sampled_from(["production", "demo"]),
    ),
    max_size=14,
)
ranges = st.tuples(st.integers(-3, 18), st.integers(0, 20)).map(
    lambda of: [(FIRST + of[0] * DAY).isoformat(), (FIRST + (of[0] + of[1]) * DAY).isoformat()]
)
untils = st.integers(-2, (TODAY - FIRST).days).map(lambda number: FIRST + number * DAY)
quick = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Model:
    """Answers by going through every day of every install."""

    stored: list[Install]
    asked: Query
    until: date

    def rows(self) -> Rows:
        first, last = self.range()
        found: dict[tuple[str, ...], dict[str, int | None]] = {}
        zeros: dict[str, int | None] = dict.fromkeys(self.asked.metrics, 0)
        for day in dates.days(first, last):
            for value, sums in self.of_day(day):
                if all(filtering.holds(one, lambda by: shown(by, value)) for one in self.asked.filters):  # noqa: B023 - called at once
                    total = found.setdefault(self.key(day, value), dict(zeros))
                    for name in self.asked.metrics:
                        if name != "installs" or day == self.last_day(day):
                            total[name] = (total[name] or 0) + sums.get(name, 0)
        if not self.asked.dimensions:
            found.setdefault((), dict(zeros))
        for key, total in found.items():
            if "installs" in total and self.last_day(self.day_of(key)) is None:
                total["installs"] = None
        return {
            key: list(total.values())
            for key, total in found.items()
            if any(total.values()) or not self.asked.dimensions
        }

    def of_day(self, day: date) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
        """(values by dimension, counts) of everything that was counted on a day."""
        by = {one.counted for one in self.dimensions()}
        if len(by) > 1:
            folded = make_installs.folded(self.stored, day) if day <= self.until else {}
            for cell, number in folded.items():
                yield dict(zip(("version", "plan", "country"), cell, strict=True)), {"installs": number}
            return
        (dimension,) = by or {""}
        for install in self.stored:
            if day >= min(install.on):
                sums = install.counted(dimension, day)
                if day > self.until:
                    sums = {"heartbeats": sums["heartbeats"]}
                yield {dimension: install.value(dimension, day)}, sums

    def dimensions(self) -> list[Dimension]:

        used = (*self.asked.dimensions, *(match.dimension for match in matches(self.asked.filters)))
        return [one for one in used if one.level is Level.INSTALL]

    def range(self) -> tuple[date, date]:
        assert isinstance(self.asked.date_range, tuple)
        first, last = self.asked.date_range
        return first, min(last, TODAY)

    def key(self, day: date, value: dict[str, str]) -> tuple[str, ...]:
        return tuple(
            self.bucket(day) if one.level is Level.TIME else shown(one, value)
            for one in self.asked.dimensions
        )

    def time(self) -> str:
        return next((one.counted for one in self.asked.dimensions if one.level is Level.TIME), "")

    def bucket(self, day: date) -> str:
        first, _ = self.range()
        begins = {
            "": first,
            "day": day,
            "week": max(first, day - timedelta(days=day.weekday())),
            "month": day.replace(day=1),
        }
        return begins[self.time()].isoformat()

    def last_day(self, day: date) -> date | None:
        """The last counted day of the bucket that a day is in."""
        known = [one for one in dates.days(*self.range()) if FIRST <= one <= self.until]
        return max((one for one in known if self.bucket(one) == self.bucket(day)), default=None)

    def day_of(self, key: tuple[str, ...]) -> date:
        """A day of the range in the bucket of a row."""
        for day in dates.days(*self.range()):
            times = [self.bucket(day) for one in self.asked.dimensions if one.level is Level.TIME]
            if set(times) <= set(key):
                return day
        raise AssertionError(key)


def shown(dimension: Dimension, value: dict[str, str]) -> str:
    stored = value[dimension.counted]
    if not stored:
        return dimension.unset
    return countries.country_name(stored) if dimension.named else stored


class Both:
    """The same question, answered by Postgres and by the model."""

    def __init__(self, database: Database, db: Connection) -> None:
        self.reports = ProductReports(database, make_rows.StoppedClock(NOW))
        self.db = db
        self.ids: Iterator[int] = count(1)

    async def agree(self, stored: list[Install], until: date, **asked: Any) -> None:
        id = next(self.ids)
        await make_installs.make_product(self.db, id, f"product{id}", FIRST)
        await self.db.execute("update uptime set closed_day = $1", until - DAY)
        await make_installs.store(self.db, stored, id, until=until)
        body = {"site_id": "product:any", "order_by": [[asked["metrics"][0], "asc"]], **asked}
        parsed = query.parse(orjson.dumps({**body, "include": {"total_rows": True}}))
        answer = await self.reports.query(id, parsed)
        found = {tuple(row["dimensions"]): row["metrics"] for row in answer.results}
        assert found == Model(stored, parsed, until).rows()
        assert len(answer.results) == answer.meta["total_rows"] == len(found)
        first = [row["metrics"][0] for row in answer.results]
        assert first == sorted(first, key=lambda number: (number is None, number))


@pytest.fixture
async def both(dsn: str, db: Connection) -> AsyncIterator[Both]:
    database = Database(lambda: dsn)
    yield Both(database, db)
    await database.close()


@quick
@given(installs, untils, ranges, st.data())
async def test_one_dimension_is_answered_right(
    both: Both, stored: list[Install], until: date, days: list[str], data: st.DataObject
) -> None:
    by = f"install:{data.draw(st.sampled_from(ALONE))}"
    known = FLOW if by == "install:state" else [*FLOW, "heartbeats"]
    await both.agree(
        stored,
        until,
        metrics=data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True)),
        date_range=days,
        dimensions=[
            *data.draw(st.sampled_from([[], *([time] for time in TIMES)])),
            *data.draw(st.sampled_from([[], [by]])),
        ],
        filters=data.draw(st.lists(filtering.trees([by], VALUES), max_size=2)),
    )


@quick
@given(installs, untils, ranges, st.data())
async def test_version_plan_and_country_together_are_answered_right(
    both: Both, stored: list[Install], until: date, days: list[str], data: st.DataObject
) -> None:
    grouped = data.draw(st.lists(st.sampled_from(TOGETHER), max_size=3, unique=True))
    await both.agree(
        [one for one in stored for _ in range(3)],
        until,
        metrics=["installs"],
        date_range=days,
        dimensions=[*data.draw(st.sampled_from([[], *([time] for time in TIMES)])), *grouped],
        filters=data.draw(st.lists(filtering.trees(TOGETHER, VALUES), max_size=2)),
    )
