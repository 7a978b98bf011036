"""`/api/v2/query` and `/api/v2/realtime` over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

import make_rows
from headcount.model import Scope, Settings, Token
from headcount.services import sites
from headcount.services.reports import Reports
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.web import keys, middleware, stats
from make_rows import Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

    Client = TestClient[web.Request, web.Application]

ASKED = {"site_id": "example.com", "metrics": ["visits"], "date_range": "day"}


@pytest.fixture
async def client(dsn: str, tmp_path: Path) -> AsyncIterator[Client]:
    settings = SettingsFile(tmp_path / "settings")
    token = Token(id=1, digest=sites.digest("secret"), site_id=1, scopes=(Scope.STATS_READ,))
    settings.write(Settings([make_rows.site(1), make_rows.site(2, domain="other.example")], [token]))
    settings.refresh()
    database = Database(lambda: dsn)
    app = web.Application(middlewares=[middleware.say_what_went_wrong])
    app[keys.SETTINGS] = settings
    app[keys.REPORTS] = Reports(database, make_rows.StoppedClock(), 30)
    app.add_routes([web.post("/api/v2/query", stats.query), web.get("/api/v2/realtime", stats.realtime)])
    async with TestClient(TestServer(app), headers={"Authorization": "Bearer secret"}) as client:
        yield client
    await database.close()


async def ask(client: Client, accept: str = "*/*", **more: Any) -> ClientResponse:
    return await client.post("/api/v2/query", json={**ASKED, **more}, headers={"Accept": accept})


async def test_a_question_is_answered_as_json(client: Client, db: Connection) -> None:
    await make_rows.store(db, [Visit()])
    response = await ask(client)
    assert (response.status, response.content_type) == (200, "application/json")
    assert (await response.json())["results"] == [{"metrics": [1], "dimensions": []}]


async def test_a_fault_is_a_400_that_names_the_field(client: Client) -> None:
    response = await ask(client, metrics=["visits", "visits"])
    assert response.status == 400
    assert await response.json() == {"errors": {"metrics": ["names something twice"]}}


async def test_a_question_past_the_raw_rows_is_a_400_that_says_how_far(client: Client) -> None:
    response = await ask(client, date_range="91d", filters=[["contains", "event:page", ["/a"]]])
    assert response.status == 400
    (text,) = (await response.json())["errors"]["date_range"]
    assert text.startswith("these filters reach back to 2026-10-24, because raw rows are kept no longer")


async def test_a_body_past_the_limit_is_a_413(client: Client) -> None:
    response = await ask(client, filters=[["is", "event:page", ["a" * 70_000]]])
    assert response.status == 413


async def test_another_site_is_not_allowed(client: Client) -> None:
    assert (await ask(client, site_id="other.example")).status == 401
    assert (await client.get("/api/v2/realtime", params={"site_id": "other.example"})).status == 401


async def test_csv_has_a_header_row(client: Client, db: Connection) -> None:
    await make_rows.store(db, [Visit((Hit(page='/a,"b"'),))])
    response = await ask(client, "text/csv", dimensions=["event:page"], metrics=["visits", "bounce_rate"])
    assert (response.status, response.content_type) == (200, "text/csv")
    rows = list(csv.reader(io.StringIO(await response.text())))
    assert rows == [["event:page", "visits", "bounce_rate"], ['/a,"b"', "1", "100.0"]]


async def test_csv_says_in_headers_what_was_counted(client: Client) -> None:
    response = await ask(client, "text/csv", metrics=["visitors"], date_range="24h")
    assert response.headers["X-Headcount-Counted-From"] == "raw rows"
    assert response.headers["X-Headcount-Warnings"] == "visitors=visits_not_visitors"


@pytest.mark.parametrize("evil", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
async def test_csv_holds_no_formulas(client: Client, db: Connection, evil: str) -> None:
    await make_rows.store(db, [Visit(attributes={"utm_source": evil})])
    response = await ask(client, "text/csv", dimensions=["visit:utm_source"])
    rows = list(csv.reader(io.StringIO(await response.text(), newline="")))
    assert rows[1] == ["'" + evil, "1"]


async def test_json_is_sent_where_it_is_preferred(client: Client) -> None:
    assert (await ask(client, "application/json, text/csv")).content_type == "application/json"
    assert (await ask(client, "text/csv;q=0.9, */*;q=0.1")).content_type == "text/csv"


async def test_realtime_is_answered(client: Client, db: Connection) -> None:
    await make_rows.store(db, [Visit(hour=15, minute=20)])
    response = await client.get("/api/v2/realtime", params={"site_id": "example.com"})
    now = await response.json()
    assert now["visitors"] == 1
    assert now["pageviews"][-1] == {"minute": "2026-11-22T14:20:00Z", "pageviews": 1}


async def test_realtime_without_a_site_is_refused(client: Client) -> None:
    response = await client.get("/api/v2/realtime")
    assert response.status == 400
    assert list((await response.json())["errors"]) == ["site_id"]


async def test_without_a_token_nothing_is_said_about_the_question(client: Client) -> None:
    response = await client.post("/api/v2/query", data="{", headers={"Authorization": "Bearer wrong"})
    assert (response.status, list((await response.json())["errors"])) == (401, ["authorization"])
