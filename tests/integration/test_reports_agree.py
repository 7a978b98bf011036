"""Random visits: counters, raw rows and a slow and obvious count give the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import filtering
import make_rows
from headcount import errors
from headcount.services.reports import Reports
from headcount.stats import dates, plan, shape
from headcount.stats.plan import Plan, Source
from headcount.stats.question import Dimension, Level
from headcount.store.postgres import Database
from headcount.wire import query
from make_rows import TODAY, Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

OLDEST = TODAY - timedelta(days=29)
METRICS = ["visits", "pageviews", "events", "bounce_rate", "visit_duration"]
TIMES = ["time:hour", "time:day", "time:week", "time:month"]
VISIT_LEVEL = ["visit:source", "visit:country", "visit:entry_page", "visit:exit_page"]
EVENT_LEVEL = ["event:page", "event:hostname", "event:name", "event:props:plan"]
VALUES = ["/", "/a", "/b", "Google", "LV", "pageview", "Signup", "one", "two", "o", "Direct / None", ""]

Rows = dict[tuple[str, ...], list[Any]]
"""Dimensions: metrics."""

pages = st.sampled_from(["/", "/a", "/b"])
props = st.sampled_from([(), (("plan", "one"),), (("plan", "two"),)])
events = st.builds(
    Hit,
    name=st.sampled_from(["pageview", "pageview", "Signup"]),
    page=pages,
    hostname=st.sampled_from(["one.example.com", "two.example.com"]),
    props=props,
    after=st.integers(0, 90),
)
depths = st.integers(0, 100) | st.none()
engagements = st.builds(Hit, name=st.just("engagement"), page=pages, scroll=depths, after=st.integers(0, 90))
visits = st.lists(
    st.builds(
        Visit,
        hits=st.tuples(events, st.lists(events | engagements, max_size=3)).map(lambda of: (of[0], *of[1])),
        day=st.sampled_from([TODAY - timedelta(days=days) for days in (0, 1, 8)]),
        hour=st.integers(0, 21),
        visitor=st.integers(0, 2),
        attributes=st.fixed_dictionaries(
            {"source": st.sampled_from(["", "Google", "Bing"]), "country": st.sampled_from(["", "LV"])}
        ),
        duration=st.integers(0, 100),
    ),
    min_size=1,
    max_size=6,
)

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Model:
    """Answers by going through every hit of every visit."""

    def __init__(self, stored: list[Visit], planned: Plan) -> None:
        self.stored, self.plan = stored, planned

    def rows(self) -> Rows:
        keys = {self.key(visit, hit) for visit in self.stored for hit in visit.hits}
        found: Rows = {}
        for key in keys if self.plan.dimensions else {()}:
            if key is not None:
                sums = make_rows.sums(self.stored, partial(self.belongs, key), scrolled=True)
                if sums["visits"] or not key:
                    found[key] = [shape.metric(name, sums) for name in self.plan.query.metrics]
        return found

    def belongs(self, key: tuple[str, ...], visit: Visit, hit: Hit) -> bool:
        """Whether the hit is in the group and all filters hold on it."""
        filters = self.plan.query.filters
        return self.key(visit, hit) == key and all(
            filtering.holds(one, lambda by: self.shown(by, visit, hit)) for one in filters
        )

    def key(self, visit: Visit, hit: Hit) -> tuple[str, ...] | None:
        """The group that the hit is in; None if it lacks a property that is grouped by."""
        if any(one.prop is not None and one.prop not in dict(hit.props) for one in self.plan.dimensions):
            return None
        return tuple(self.shown(one, visit, hit) for one in self.plan.dimensions)

    def shown(self, dimension: Dimension, visit: Visit, hit: Hit) -> str:
        if dimension.key == "time:hour":
            return dates.hour_label(make_rows.ZONE, visit.hour_of(hit))
        if dimension.level is Level.TIME:
            return self.bucket(dimension.counted, visit.day).isoformat()
        if dimension.level is Level.VISIT:
            value = visit.value(dimension.counted)
        elif dimension.prop is not None:
            value = dict(hit.props).get(dimension.prop, "")
        else:
            value = getattr(hit, dimension.counted)
        return value or dimension.unset

    def bucket(self, time: str, day: date) -> date:
        if time == "week":
            return max(day - timedelta(days=day.weekday()), self.plan.period.first)
        return day.replace(day=1) if time == "month" else day


class Three:
    """The same question, answered in three ways."""

    def __init__(self, database: Database, db: Connection) -> None:
        self.reports = Reports(database, make_rows.StoppedClock(), retention_days=30)
        self.db = db
        self.ids: Iterator[int] = count(1)

    async def rows(self, stored: list[Visit], planned: Plan, *sources: Source) -> list[Rows]:
        site = make_rows.site(next(self.ids))
        await make_rows.store(self.db, stored, site.id)
        found = []
        for source in sources:
            answer = await self.reports.carry_out(site, replace(planned, source=source), OLDEST)
            found.append({tuple(row["dimensions"]): row["metrics"] for row in answer.results})
        return found


@pytest.fixture
async def three(dsn: str, db: Connection) -> AsyncIterator[Three]:
    database = Database(lambda: dsn)
    yield Three(database, db)
    await database.close()


def decide(dimensions: list[str], filters: list[Any], metrics: list[str]) -> Plan:
    asked = {"site_id": "example.com", "metrics": metrics, "date_range": ["2026-11-11", "2026-11-22"]}
    parsed = query.parse(orjson.dumps({**asked, "dimensions": dimensions, "filters": filters}))
    period = dates.resolve(parsed.date_range, make_rows.ZONE, make_rows.NOW, None)
    return plan.decide(parsed, period, make_rows.NOW, OLDEST)


@quick
@given(visits, st.data())
async def test_counters_and_raw_rows_agree(three: Three, stored: list[Visit], data: st.DataObject) -> None:
    by = data.draw(st.sampled_from([*VISIT_LEVEL, *EVENT_LEVEL]))
    filters = data.draw(st.lists(filtering.trees([by], VALUES), max_size=2))
    dimensions = [by, *data.draw(st.sampled_from([[], ["time:day"], ["time:week"], ["time:month"]]))]
    metrics = [*METRICS, "scroll_depth"] if by == "event:page" else METRICS
    planned = decide(dimensions, filters, metrics)
    assert planned.source is Source.COUNTERS
    counted, raw = await three.rows(stored, planned, Source.COUNTERS, Source.RAW)
    assert counted == raw == Model(stored, planned).rows()


@quick
@given(visits, st.sampled_from([*VISIT_LEVEL, *EVENT_LEVEL]), st.sampled_from(["(none)", *VALUES]))
async def test_one_filter_gives_the_same_from_its_counter(
    three: Three, stored: list[Visit], by: str, value: str
) -> None:
    planned = decide([], [["is", by, [value]]], METRICS)
    assume(planned.source is Source.COUNTERS)
    counted, raw = await three.rows(stored, planned, Source.COUNTERS, Source.RAW)
    assert counted == raw


@quick
@given(visits)
async def test_hourly_totals_and_raw_rows_agree(three: Three, stored: list[Visit]) -> None:
    planned = decide(["time:hour"], [], METRICS)
    assert planned.source is Source.HOURS
    counted, raw = await three.rows(stored, planned, Source.HOURS, Source.RAW)
    assert counted == raw == Model(stored, planned).rows()


@quick
@given(visits, st.data())
async def test_any_question_over_raw_rows_is_answered_right(
    three: Three, stored: list[Visit], data: st.DataObject
) -> None:
    grouped = st.lists(st.sampled_from([*VISIT_LEVEL, *EVENT_LEVEL]), max_size=2, unique=True)
    times = st.sampled_from([[], *([time] for time in TIMES)])
    filters = data.draw(st.lists(filtering.trees([*VISIT_LEVEL, *EVENT_LEVEL], VALUES), max_size=2))
    dimensions = [*data.draw(times), *data.draw(grouped)]
    try:
        planned = decide(dimensions, filters, [*METRICS, "scroll_depth"])
    except errors.BadInput:
        planned = decide(dimensions, filters, METRICS)
    (raw,) = await three.rows(stored, planned, Source.RAW)
    assert raw == Model(stored, planned).rows()
