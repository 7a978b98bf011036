"""Answers questions about a site: plans them, asks Postgres, shapes the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from headcount import errors, localtime
from headcount.clock import Clock
from headcount.model import Site
from headcount.privacy import countries
from headcount.stats import dates, pattern, plan, shape, sql
from headcount.stats.plan import Plan
from headcount.stats.question import DateRange, Dimension, Match, Query, matches, shown
from headcount.stats.shape import Answer
from headcount.store.postgres import Database

MAX_LISTED = 100_000
"""Distinct values that one filter may have to go through."""
CHUNK = 500
"""Values that are matched before the time is looked at."""
MAX_MATCHING = 5.0
"""Seconds that all patterns of a question may take."""
ACTIVE = timedelta(minutes=5)
RECENT_MINUTES = 30

_SHOWN = shown(countries.country_name)


@dataclass(frozen=True, slots=True)
class Realtime:
    """What happens on a site right now."""

    visitors: int
    """Visits with an event in the last five minutes; an event is known to the minute."""
    pageviews: list[tuple[datetime, int]]
    """Page views in each of the last 30 minutes, this one last."""

    def as_dict(self) -> dict[str, Any]:
        series = [
            {"minute": minute.strftime("%Y-%m-%dT%H:%M:%SZ"), "pageviews": count}
            for minute, count in self.pageviews
        ]
        return {"visitors": self.visitors, "pageviews": series}


class Reports:
    """The service behind the stats API and `headcount stats`."""

    def __init__(self, database: Database, clock: Clock, retention_days: int) -> None:
        self._database = database
        self._clock = clock
        self._retention_days = retention_days

    async def query(self, site: Site, query: Query) -> Answer:
        """The answer. Raises BadInput for a question that reaches past what is kept, or DatabaseDown."""
        now = self._clock.now()
        period = await self._period(site, query.date_range, now)
        oldest = await self._oldest_raw(site, localtime.today(period.zone, now))
        return await self.carry_out(site, plan.decide(query, period, now, oldest), oldest)

    async def carry_out(self, site: Site, planned: Plan, oldest_raw: date) -> Answer:
        """The answer to a question that was planned."""
        given = await self._given(site, planned)
        statement = sql.rows(planned, given)
        rows = await self._database.select(statement.text, *statement.arguments)
        total = await self._total(planned, given) if "total_rows" in planned.query.include else None
        return shape.answer(planned, [dict(row) for row in rows], total, oldest_raw)

    async def realtime(self, site: Site) -> Realtime:
        """The last minutes, from raw rows."""
        now = self._clock.now().replace(second=0, microsecond=0)
        today = localtime.today(site.zone_at(now), now)
        days = (today - dates.DAY, today)
        minutes = [now - number * dates.MINUTE for number in reversed(range(RECENT_MINUTES))]
        active = await self._database.rows("report_active_visits", site.id, *days, now - ACTIVE)
        found = await self._database.rows("report_pageviews_by_minute", site.id, *days, minutes[0])
        counts = {row["minute"]: row["pageviews"] for row in found}
        return Realtime(active[0]["visits"], [(minute, counts.get(minute, 0)) for minute in minutes])

    async def dropped(self, site: Site, query: Query) -> list[tuple[str, int]]:
        """(reason, how often) of what was not counted on the days of the question's range."""
        period = await self._period(site, query.date_range, self._clock.now())
        rows = await self._database.rows("report_dropped", site.id, period.first, period.last)
        return [(row["reason"], row["count"]) for row in rows]

    async def _period(self, site: Site, asked: DateRange, now: datetime) -> dates.Period:
        first_day = None
        if asked == "all":
            row = await self._database.row("report_first_day", site.id)
            first_day = row["day"] if row else None
        return dates.resolve(asked, site.zone_at(now), now, first_day)

    async def _oldest_raw(self, site: Site, today: date) -> date:
        """The first day whose raw rows are all there: retention may have been shorter until yesterday."""
        days = site.retention_days or self._retention_days
        row = await self._database.row("report_purged_before", site.id)
        kept = today - timedelta(days=days - 1)
        return max(kept, row["before"]) if row and row["before"] else kept

    async def _total(self, planned: Plan, given: sql.Given) -> int:
        statement = sql.total(planned, given)
        rows = await self._database.select(statement.text, *statement.arguments)
        count: int = rows[0]["total"]
        return count

    async def _given(self, site: Site, planned: Plan) -> sql.Given:
        """Go through the values that exist, for the filters and names that need it."""
        listing = [match for match in matches(planned.query.filters) if match.by_listing]
        named = [one for one in planned.dimensions if one.named]
        values: dict[str, list[str]] = {}
        for one in (*(match.dimension for match in listing), *named):
            if one.counted not in values:
                values[one.counted] = await self._values(site, planned, one)
        deadline = self._clock.monotonic() + MAX_MATCHING
        listed = {
            match: await self._fitting(match, values[match.dimension.counted], deadline)
            for match in dict.fromkeys(listing)
        }
        names = {value: _SHOWN(one, value) for one in named for value in values[one.counted]}
        return sql.Given(site.id, listed, names)

    async def _values(self, site: Site, planned: Plan, dimension: Dimension) -> list[str]:
        """All stored values of the dimension in the range: each value of a raw row has a counter."""
        first, last = planned.period.first, planned.period.last
        rows = await self._database.rows(
            "report_values", site.id, dimension.counted, first, last, MAX_LISTED + 1
        )
        if len(rows) > MAX_LISTED:
            raise errors.BadInput(
                "filters",
                f"{dimension.key} has more than {MAX_LISTED} values in this range, too many to go through: "
                "choose a shorter date_range",
            )
        return sorted({"", *(row["value"] for row in rows)})

    async def _fitting(self, match: Match, values: list[str], deadline: float) -> list[str]:
        found: list[str] = []
        for start in range(0, len(values), CHUNK):
            if self._clock.monotonic() > deadline:
                raise errors.BadInput(
                    "filters", f"these patterns take longer than {MAX_MATCHING:.0f} seconds"
                )
            part = values[start : start + CHUNK]
            found += await asyncio.to_thread(pattern.fitting, match, part, _SHOWN)
        return found
