"""Tokens: shown once, kept as a digest, good for what they were made for and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import make
from headcount.model import Scope
from make import Worker

if TYPE_CHECKING:
    from make_rows import Connection

EVENT = {"name": "pageview", "url": "https://example.com/"}
QUESTION = {"site_id": "example.com", "metrics": ["visits"], "date_range": "day"}


@pytest.fixture
async def worker(tmp_path: Path, dsn: str) -> AsyncIterator[Worker]:
    async with make.managed(tmp_path, dsn) as worker:
        await worker.client.post("/api/v1/sites", json={"domain": "example.com"})
        await worker.client.post("/api/v1/sites", json={"domain": "other.example"})
        yield worker


async def ask(
    worker: Worker, method: str, path: str, body: Any = None, token: str | None = None
) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with worker.client.request(method, path, json=body, headers=headers) as response:
        return response.status, await response.json() if response.content_type == "application/json" else None


async def made(worker: Worker, **given: Any) -> Any:
    status, token = await ask(worker, "POST", "/api/v1/tokens", given)
    assert status == 201, token
    return token


async def listed(worker: Worker) -> list[Any]:
    found = (await ask(worker, "GET", "/api/v1/tokens"))[1]["tokens"]
    return sorted(
        (token for token in found if len(token["scopes"]) < len(Scope)), key=lambda token: token["scopes"]
    )


async def test_a_token_reads_figures_unless_more_is_asked_for(worker: Worker) -> None:
    token = await made(worker, site="example.com")
    assert (token["site"], token["scopes"]) == ("example.com", ["stats:read"])
    assert (await ask(worker, "POST", "/api/v2/query", QUESTION, token["token"]))[0] == 200


async def test_a_token_is_shown_once_and_kept_as_a_digest(worker: Worker, db: Connection) -> None:
    token = await made(worker, site="example.com")
    text = token.pop("token")
    assert text.startswith("hct_")
    assert len(text) == 47
    assert await listed(worker) == [token]
    row = await db.fetchrow("select * from token where id = $1", int(token["id"]))
    assert row is not None
    assert row["digest"] == hashlib.sha256(text.encode()).digest()
    assert text not in repr(row)


async def test_a_token_for_all_sites_names_none(worker: Worker) -> None:
    assert (await made(worker))["site"] is (await made(worker, site=None))["site"] is None


async def test_scopes_are_kept_in_their_order_and_once(worker: Worker) -> None:
    token = await made(worker, scopes=["stats:read", "events:write", "stats:read"])
    assert token["scopes"] == ["stats:read", "events:write"]


@pytest.mark.parametrize(
    ("scopes", "site", "may"),
    [
        (["stats:read"], "example.com", ["query"]),
        (["stats:read"], "other.example", []),
        (["stats:read"], None, ["query"]),
        (["events:write"], "example.com", ["event"]),
        (["events:write"], "other.example", []),
        (["sites:write"], None, ["sites"]),
        (["stats:read", "events:write", "sites:write"], None, ["query", "event", "sites"]),
    ],
)
async def test_a_token_may_do_what_it_was_made_for(
    worker: Worker, scopes: list[str], site: str | None, may: list[str]
) -> None:
    token = (await made(worker, scopes=scopes, site=site))["token"]
    statuses = {
        "query": (await ask(worker, "POST", "/api/v2/query", QUESTION, token))[0],
        "event": (await ask(worker, "POST", "/api/event", EVENT, token))[0],
        "sites": (await ask(worker, "GET", "/api/v1/sites", None, token))[0],
    }
    assert [name for name, status in statuses.items() if status < 300] == may
    assert {status for status in statuses.values() if status >= 300} <= {401}


async def test_a_revoked_token_is_worth_nothing(worker: Worker) -> None:
    token = await made(worker, site="example.com")
    assert (await ask(worker, "DELETE", f"/api/v1/tokens/{token['id']}"))[0] == 204
    assert (await ask(worker, "POST", "/api/v2/query", QUESTION, token["token"]))[0] == 401
    assert await listed(worker) == []


async def test_a_token_goes_with_its_site(worker: Worker) -> None:
    token = await made(worker, site="example.com")
    await made(worker, site="other.example")
    await ask(worker, "DELETE", "/api/v1/sites/example.com")
    assert [token["site"] for token in await listed(worker)] == ["other.example"]
    assert (await ask(worker, "POST", "/api/event", EVENT, token["token"]))[0] == 401


async def test_a_token_stays_with_a_site_that_is_reset_or_renamed(worker: Worker) -> None:
    token = await made(worker, site="example.com", scopes=["events:write"])
    await ask(worker, "POST", "/api/v1/sites/example.com/reset")
    assert (await ask(worker, "POST", "/api/event", EVENT, token["token"]))[0] == 202
    await ask(worker, "PUT", "/api/v1/sites/example.com", {"domain": "new.example"})
    assert [token["site"] for token in await listed(worker)] == ["new.example"]


async def test_nobody_can_make_a_token_that_may_more(worker: Worker) -> None:
    own = (await made(worker, scopes=["sites:write"]))["token"]
    assert (await ask(worker, "POST", "/api/v1/tokens", {"scopes": ["sites:write"]}, own))[0] == 201
    status, answer = await ask(worker, "POST", "/api/v1/tokens", {"scopes": ["stats:read"]}, own)
    assert (status, answer) == (401, {"errors": {"scopes": ["the asking token has no scope stats:read"]}})


@pytest.mark.parametrize(
    ("body", "status", "field", "says"),
    [
        ([], 400, "body", "JSON object"),
        ({"scope": "stats:read"}, 400, "scope", "there is only site, product, scopes"),
        ({"scopes": "stats:read"}, 400, "scopes", "list of events:write, stats:read, sites:write"),
        ({"scopes": ["everything"]}, 400, "scopes", "list of events:write, stats:read, sites:write"),
        ({"scopes": [["stats:read"]]}, 400, "scopes", "list of events:write, stats:read, sites:write"),
        ({"scopes": []}, 400, "scopes", "at least one"),
        ({"scopes": None}, 400, "scopes", "list of events:write, stats:read, sites:write"),
        ({"scopes": ["sites:write"], "site": "example.com"}, 400, "scopes", "for all sites"),
        ({"scopes": ["licenses:write"], "site": "example.com"}, 400, "scopes", "leave the site out"),
        ({"scopes": ["sites:write"], "product": "shop"}, 400, "scopes", "for all sites"),
        ({"scopes": ["events:write"], "product": "shop"}, 400, "scopes", "leave the product out"),
        ({"site": "example.com", "product": "shop"}, 400, "product", "for one of them"),
        ({"product": 1}, 400, "product", "name of a product"),
        ({"product": "shop"}, 404, "product", "there is no product shop"),
        ({"product": "\0"}, 404, "product", "there is no product ?"),
        ({"site": 1}, 400, "site", "domain of a site"),
        ({"site": "nowhere.example"}, 404, "site", "there is no site nowhere.example"),
    ],
)
async def test_a_fault_names_its_field(worker: Worker, body: Any, status: int, field: str, says: str) -> None:
    found, answer = await ask(worker, "POST", "/api/v1/tokens", body)
    assert (found, list(answer["errors"])) == (status, [field])
    assert says in answer["errors"][field][0]
    assert await listed(worker) == []


async def test_a_token_can_be_for_a_product(worker: Worker) -> None:
    assert (await ask(worker, "POST", "/api/v1/products", {"name": "shop"}))[0] == 201
    token = await made(worker, product="shop", scopes=["licenses:write", "stats:read"])
    assert (token["site"], token["product"]) == (None, "shop")
    assert [(one["product"], one["scopes"]) for one in await listed(worker)] == [("shop", token["scopes"])]


async def test_a_token_for_a_product_reads_no_site(worker: Worker) -> None:
    await ask(worker, "POST", "/api/v1/products", {"name": "shop"})
    token = (await made(worker, product="shop", scopes=["stats:read"]))["token"]
    told = {"errors": {"site_id": ["the token is for one product, not for sites"]}}
    assert await ask(worker, "POST", "/api/v2/query", QUESTION, token) == (401, told)
    assert await ask(worker, "GET", "/api/v2/realtime?site_id=example.com", None, token) == (401, told)


@pytest.mark.parametrize(
    "id",
    ["1", "0", "-1", "abc", "9223372036854775807", "9223372036854775808", "9" * 19, "9" * 5000, "%D9%A1"],
)
async def test_a_token_that_is_not_there_is_not_found(worker: Worker, id: str) -> None:
    status, answer = await ask(worker, "DELETE", f"/api/v1/tokens/{id}")
    assert (status, answer) == (404, {"errors": {"token": ["there is no such token"]}})
