"""Carries out planned questions: goes through values where SQL cannot decide, asks Postgres, shapes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from headcount import errors
from headcount.clock import Clock
from headcount.privacy import countries
from headcount.stats import pattern, shape
from headcount.stats.planned import Planned
from headcount.stats.question import Dimension, Match, matches, shown
from headcount.stats.shape import Answer
from headcount.stats.statement import Given, Statement
from headcount.store.postgres import Database

MAX_LISTED = 100_000
"""Distinct values that one filter may have to go through."""
CHUNK = 500
"""Values that are matched before the time is looked at."""
MAX_MATCHING = 5.0
"""Seconds that all patterns of a question may take."""

_SHOWN = shown(countries.country_name)


class Answers:
    """What the questions about sites and those about products share.

    `values`: the named query of the stored values of a dimension, for (subject, dimension, first day, last day,
    limit).
    """

    def __init__(self, database: Database, clock: Clock, values: str) -> None:
        self._database = database
        self._clock = clock
        self._values_query = values

    async def given(self, subject: int, planned: Planned) -> Given:
        """Go through the values that exist, for the filters and names that need it."""
        listing = [match for match in matches(planned.query.filters) if match.by_listing]
        named = [one for one in planned.dimensions if one.named]
        values: dict[str, list[str]] = {}
        for one in (*(match.dimension for match in listing), *named):
            if one.counted not in values:
                values[one.counted] = await self._values(subject, planned, one)
        deadline = self._clock.monotonic() + MAX_MATCHING
        listed = {
            match: await self._fitting(match, values[match.dimension.counted], deadline)
            for match in dict.fromkeys(listing)
        }
        names = {value: _SHOWN(one, value) for one in named for value in values[one.counted]}
        return Given(subject, listed, names)

    async def answer(
        self, planned: Planned, page: Statement, total: Statement, facts: Mapping[str, Any]
    ) -> Answer:
        """The answer from these statements; `facts` is what its `meta` says besides the usual."""
        select = self._database.select_raw if planned.raw else self._database.select
        rows = await select(page.text, *page.arguments)
        count: int | None = None
        if "total_rows" in planned.query.include:
            count = (await select(total.text, *total.arguments))[0]["total"]
        return shape.answer(planned, [dict(row) for row in rows], count, facts)

    async def _values(self, subject: int, planned: Planned, dimension: Dimension) -> list[str]:
        """All stored values of the dimension in the range: each value of a raw row has a counter."""
        first, last = planned.period.first, planned.period.last
        rows = await self._database.rows(
            self._values_query, subject, dimension.counted, first, last, MAX_LISTED + 1
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
