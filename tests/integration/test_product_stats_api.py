"""`/api/v2/query` about products over HTTP: tokens, faults, CSV."""

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
from headcount.licensed import Product
from headcount.model import Scope, Settings, Token
from headcount.services import sites
from headcount.services.product_reports import ProductReports
from headcount.services.reports import Reports
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.web import keys, middleware, stats
from make_installs import MADE, NOW, make_product, since, store

if TYPE_CHECKING:
    from make_installs import Connection

    Client = TestClient[web.Request, web.Application]

ASKED = {"site_id": "product:shop", "metrics": ["installs"], "date_range": "day"}
READ = (Scope.STATS_READ,)
TOKENS = {
    "all": Token(id=1, digest=sites.digest("all"), site_id=None, scopes=READ),
    "shop": Token(id=2, digest=sites.digest("shop"), site_id=None, product_id=1, scopes=READ),
    "other": Token(id=3, digest=sites.digest("other"), site_id=None, product_id=2, scopes=READ),
    "site": Token(id=4, digest=sites.digest("site"), site_id=1, scopes=READ),
    "licenses": Token(id=5, digest=sites.digest("licenses"), site_id=None, scopes=(Scope.LICENSES_WRITE,)),
}


@pytest.fixture
async def client(dsn: str, db: Connection, tmp_path: Path) -> AsyncIterator[Client]:
    await make_product(db)
    settings = SettingsFile(tmp_path / "settings")
    products = [Product(id=id, name=name, root=b"", key_set="") for id, name in ((1, "shop"), (2, "other"))]
    settings.write(Settings([make_rows.site(1)], list(TOKENS.values()), products))
    settings.refresh()
    database, clock = Database(lambda: dsn), make_rows.StoppedClock(NOW)
    app = web.Application(middlewares=[middleware.say_what_went_wrong])
    app[keys.SETTINGS] = settings
    app[keys.REPORTS] = Reports(database, clock, 30)
    app[keys.PRODUCT_REPORTS] = ProductReports(database, clock)
    app.add_routes([web.post("/api/v2/query", stats.query)])
    async with TestClient(TestServer(app)) as client:
        yield client
    await database.close()


async def ask(client: Client, accept: str = "*/*", token: str = "shop", **more: Any) -> ClientResponse:  # noqa: S107 - made up
    headers = {"Accept": accept, "Authorization": f"Bearer {token}"}
    return await client.post("/api/v2/query", json={**ASKED, **more}, headers=headers)


async def fault(response: ClientResponse) -> tuple[int, str, str]:
    """(status, field, sentence)"""
    ((field, (sentence,)),) = (await response.json())["errors"].items()
    return response.status, field, sentence


async def test_a_question_is_answered_as_json(client: Client, db: Connection) -> None:
    await store(db, [since(MADE)])
    response = await ask(client)
    assert (response.status, response.content_type) == (200, "application/json")
    assert (await response.json())["results"] == [{"metrics": [1], "dimensions": []}]


async def test_csv_has_a_header_row_and_says_in_headers_what_was_counted(
    client: Client, db: Connection
) -> None:
    await store(db, [since(MADE), since(MADE, version="2.5.0-beta.1")])
    dimensions = ["install:version", "install:country"]
    response = await ask(client, "text/csv", dimensions=dimensions)
    assert (response.status, response.content_type) == (200, "text/csv")
    assert list(csv.reader(io.StringIO(await response.text()))) == [
        [*dimensions, "installs"],
        ["(other)", "(other)", "2"],
    ]
    assert response.headers["X-Headcount-Counted-From"] == "daily cells of version, plan and country"
    assert response.headers["X-Headcount-Warnings"] == "installs=small_cells_folded"


async def test_csv_leaves_out_what_is_not_known(client: Client) -> None:
    long_ago = ["2020-01-01", "2020-01-31"]
    response = await ask(client, "text/csv", metrics=["installs", "heartbeats"], date_range=long_ago)
    assert (await response.text()).splitlines() == ["installs,heartbeats", ",0"]


@pytest.mark.parametrize(
    ("token", "name", "status"),
    [
        ("all", "shop", 200),
        ("shop", "shop", 200),
        ("other", "shop", 401),
        ("shop", "nothing", 401),
        ("site", "shop", 401),
        ("licenses", "shop", 401),
        ("all", "nothing", 404),
        ("all", "", 404),
    ],
)
async def test_a_token_asks_for_what_it_may(client: Client, token: str, name: str, status: int) -> None:
    assert (await ask(client, token=token, site_id=f"product:{name}")).status == status


async def test_a_token_of_a_product_may_not_ask_for_sites(client: Client) -> None:
    response = await ask(client, site_id="example.com", metrics=["visits"])
    assert (await fault(response))[:2] == (401, "site_id")


@pytest.mark.parametrize(
    ("asked", "field", "part"),
    [
        ({"metrics": ["visitors"]}, "metrics", "visitors is for sites"),
        ({"dimensions": ["visit:country"]}, "dimensions", "visit:country is for sites"),
        ({"filters": [["is", "event:page", ["/"]]]}, "filters", "event:page is for sites"),
        ({"dimensions": ["time:hour"]}, "dimensions", "by the day of UTC"),
        ({"date_range": "24h"}, "date_range", "by the day of UTC"),
        ({"date_range": ["2027-01-01", "2027-01-02"]}, "date_range", "today, which is 2026-11-22"),
        ({"dimensions": ["install:os", "install:plan"]}, "dimensions", "install:plan and install:country"),
        ({"pagination": {"limit": 10_001}}, "pagination", "from 1 to 10000"),
        ({"filters": [["is", "install:os", ["a"] * 201]]}, "filters", "1 to 200 items"),
    ],
)
async def test_a_fault_is_a_400_that_names_field_and_limit(
    client: Client, asked: dict[str, Any], field: str, part: str
) -> None:
    status, found, sentence = await fault(await ask(client, **asked))
    assert (status, found) == (400, field)
    assert part in sentence
