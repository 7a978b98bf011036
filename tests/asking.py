"""Asks for figures as the API does: of the site that `make_rows` fills, and of products."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

import make_rows
from headcount.clock import Clock
from headcount.model import Site
from headcount.services.product_reports import ProductReports
from headcount.services.reports import Reports
from headcount.stats.question import Query
from headcount.store.postgres import Database
from headcount.wire import query

SITE = make_rows.site()


class Ask:
    """Asks about the site."""

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
        asked = _query(site.domain, dimensions, metrics=metrics, date_range=date_range, **more)
        return (await self.reports().query(site, asked)).as_dict()

    async def rows(self, *dimensions: str, **more: Any) -> list[tuple[Any, ...]]:
        """The rows as (dimensions …, metrics …)."""
        return _rows(await self(*dimensions, **more))


class AskProduct:
    """Asks about a product."""

    def __init__(self, database: Database, clock: Clock, product: int = 1) -> None:
        self.database = database
        self.reports = ProductReports(database, clock)
        self.product = product

    async def __call__(
        self, *dimensions: str, metrics: Any = ("installs",), date_range: Any = "7d", **more: Any
    ) -> dict[str, Any]:
        asked = _query("product:shop", dimensions, metrics=metrics, date_range=date_range, **more)
        return (await self.reports.query(self.product, asked)).as_dict()

    async def rows(self, *dimensions: str, **more: Any) -> list[tuple[Any, ...]]:
        """The rows as (dimensions …, metrics …)."""
        return _rows(await self(*dimensions, **more))


def _query(subject: str, dimensions: tuple[str, ...], **asked: Any) -> Query:
    return query.parse(orjson.dumps({"site_id": subject, "dimensions": dimensions, **asked}))


def _rows(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(*row["dimensions"], *row["metrics"]) for row in answer["results"]]
