"""Answers questions about a site: plans them, asks Postgres, shapes the answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from headcount import localtime
from headcount.clock import Clock
from headcount.model import Site
from headcount.services.answers import Answers
from headcount.stats import dates, plan, sql
from headcount.stats.plan import Plan, Source
from headcount.stats.question import DateRange, Query
from headcount.stats.shape import Answer
from headcount.store.postgres import Database

ACTIVE = timedelta(minutes=5)
RECENT_MINUTES = 30


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
        self._answers = Answers(database, clock, "report_values")

    async def query(self, site: Site, query: Query) -> Answer:
        """The answer. Raises BadInput for a question that reaches past what is kept, or DatabaseDown."""
        now = self._clock.now()
        period = await self._period(site, query.date_range, now)
        oldest = await self._oldest_raw(site, localtime.today(period.zone, now))
        return await self.carry_out(site, plan.decide(query, period, now, oldest), oldest)

    async def carry_out(self, site: Site, planned: Plan, oldest_raw: date) -> Answer:
        """The answer to a question that was planned."""
        given = await self._answers.given(site.id, planned)
        facts = {"raw_rows_since": oldest_raw.isoformat()} if planned.source is Source.RAW else {}
        return await self._answers.answer(planned, sql.rows(planned, given), sql.total(planned, given), facts)

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
