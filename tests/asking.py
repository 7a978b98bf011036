"""Asks for figures as the API does, of the site that `make_rows` fills."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

import make_rows
from headcount.model import Site
from headcount.services.reports import Reports
from headcount.store.postgres import Database
from headcount.wire import query

SITE = make_rows.site()


class Ask:
    """Asks as the API does."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def reports(self, now: datetime = make_rows.NOW) -> Reports:
        return Reports(self.database, make_rows.StoppedClock(moment=now), retention_days=30)

    async def __call__(
        self,
        *dimensions: str,
        metrics: Any = ("visits",),
        site: Site = SITE,
        date_range: Any = "7d",
        **more: Any,
    ) -> dict[str, Any]:
        asked = {
            "site_id": site.domain,
            "metrics": metrics,
            "date_range": date_range,
            "dimensions": dimensions,
        }
        answer = await self.reports().query(site, query.parse(orjson.dumps({**asked, **more})))
        return answer.as_dict()

    async def rows(self, *dimensions: str, **more: Any) -> list[tuple[Any, ...]]:
        """The rows as (dimensions …, metrics …)."""
        answer = await self(*dimensions, **more)
        return [(*row["dimensions"], *row["metrics"]) for row in answer["results"]]
