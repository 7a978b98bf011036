"""Sites: what owners set, by the API and beneath it; what a changed time zone does; that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import make
import make_rows
from headcount import errors
from headcount.model import Site
from headcount.services.sites import Sites
from headcount.store.postgres import Database
from headcount.wire import site as wire
from make import Stopped, Worker
from make_rows import Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

DEFAULTS: dict[str, Any] = {
    "timezone": "Etc/UTC",
    "next_timezone": None,
    "timezone_from": None,
    "hostnames": [],
    "query_params": [],
    "props": [],
    "retention_days": None,
    "gpc": True,
    "fold_digits": True,
}
SETTINGS: dict[str, Any] = {
    "domain": "example.com",
    "timezone": "Europe/Riga",
    "hostnames": ["example.com", "*.example.com", "localhost"],
    "query_params": ["q", "items[]"],
    "props": ["plan", "größe"],
    "retention_days": 7,
    "gpc": False,
    "fold_digits": False,
}


@pytest.fixture
async def worker(tmp_path: Path, dsn: str) -> AsyncIterator[Worker]:
    async with make.managed(tmp_path, dsn) as worker:
        yield worker


@pytest.fixture
def clock() -> Stopped:
    return Stopped(datetime(2026, 6, 10, 12, tzinfo=UTC))


@pytest.fixture
async def sites(dsn: str, clock: Stopped) -> AsyncIterator[Sites]:
    database = Database(lambda: dsn)
    yield Sites(database, clock)
    await database.close()


async def ask(worker: Worker, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
    async with worker.client.request(method, "/api/v1/sites" + path, json=body) as response:
        return response.status, await response.json() if response.status != 204 else None


# By the API


async def test_a_site_needs_nothing_but_a_domain(worker: Worker) -> None:
    status, site = await ask(worker, "POST", body={"domain": "example.com"})
    assert status == 201
    assert site.items() >= DEFAULTS.items()
    assert site["tag"] == f'<script defer src="{make.ORIGIN}/h.js" data-domain="example.com"></script>'
    assert "id" not in site
    assert await ask(worker, "GET", "/example.com") == (200, site)
    assert await ask(worker, "GET") == (200, {"sites": [site]})


async def test_every_setting_can_be_given(worker: Worker) -> None:
    _, site = await ask(worker, "POST", body=SETTINGS)
    assert site.items() >= SETTINGS.items()


async def test_every_setting_can_be_changed_and_the_others_stay(worker: Worker) -> None:
    _, before = await ask(worker, "POST", body={"domain": "example.com"})
    for name, value in SETTINGS.items():
        if name not in ("domain", "timezone"):
            assert await ask(worker, "PUT", "/example.com", {name: value}) == (200, before | {name: value})
            before[name] = value
    assert await ask(worker, "GET", "/example.com") == (200, before)


async def test_a_setting_can_be_taken_back(worker: Worker) -> None:
    await ask(worker, "POST", body=SETTINGS)
    _, site = await ask(worker, "PUT", "/example.com", {"retention_days": None, "hostnames": []})
    assert (site["retention_days"], site["hostnames"]) == (None, [])


async def test_a_new_site_counts_as_soon_as_it_is_acknowledged(worker: Worker) -> None:
    await ask(worker, "POST", body={"domain": "example.com"})
    event = {"name": "pageview", "url": "https://example.com/"}
    assert (await worker.client.post("/api/event", json=event)).status == 202
    await ask(worker, "DELETE", "/example.com")
    assert (await worker.client.post("/api/event", json=event)).status == 400


@pytest.mark.parametrize("given", ["Example.COM", " www.example.com "])
async def test_a_domain_is_written_in_one_way(worker: Worker, given: str) -> None:
    _, site = await ask(worker, "POST", body={"domain": given})
    assert site["domain"] == "example.com"
    assert (await ask(worker, "GET", "/www.Example.com"))[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "domain"),
        ([], "body"),
        ({"domain": "a/b"}, "domain"),
        ({"domain": "a.example", "id": 1}, "id"),
        ({"domain": "a.example", "props": 1}, "props"),
        ({"domain": "a.example", "retention_days": 31}, "retention_days"),
    ],
)
async def test_a_site_with_a_fault_is_not_made(worker: Worker, body: Any, field: str) -> None:
    status, answer = await ask(worker, "POST", body=body)
    assert (status, list(answer["errors"])) == (400, [field])
    assert await ask(worker, "GET") == (200, {"sites": []})


async def test_a_change_with_a_fault_changes_nothing(worker: Worker) -> None:
    _, before = await ask(worker, "POST", body={"domain": "example.com"})
    assert (await ask(worker, "PUT", "/example.com", {"gpc": False, "retention_days": 99}))[0] == 400
    assert await ask(worker, "GET", "/example.com") == (200, before)


@pytest.mark.parametrize("data", [b"{", b" " * 40_000 + b"{}"])
async def test_what_is_no_json_is_refused(worker: Worker, data: bytes) -> None:
    response = await worker.client.post("/api/v1/sites", data=data)
    assert response.status == (413 if len(data) > wire.MAX_BODY else 400)
    assert list((await response.json())["errors"]) == ["body"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/no.example"), ("PUT", "/no.example"), ("DELETE", "/no.example"), ("POST", "/no.example/reset"),
     ("GET", "/%00"), ("GET", "/" + "a" * 3000)],
)  # fmt: skip
async def test_a_site_that_is_not_there_is_not_found(worker: Worker, method: str, path: str) -> None:
    status, answer = await ask(worker, method, path, {} if method == "PUT" else None)
    assert (status, list(answer["errors"])) == (404, ["domain"])


async def test_a_domain_can_be_taken_once(worker: Worker) -> None:
    taken = {"errors": {"domain": ["the site b.example exists already"]}}
    for domain in ("a.example", "b.example"):
        await ask(worker, "POST", body={"domain": domain})
    assert await ask(worker, "POST", body={"domain": "B.example"}) == (409, taken)
    assert await ask(worker, "PUT", "/a.example", {"domain": "b.example"}) == (409, taken)


async def test_of_two_who_add_a_domain_at_once_one_is_told(worker: Worker) -> None:
    answers = await asyncio.gather(*(ask(worker, "POST", body={"domain": "a.example"}) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409]


async def test_a_renamed_site_is_the_same_site(worker: Worker, db: Connection) -> None:
    await ask(worker, "POST", body=SETTINGS)
    before = await db.fetchrow("select * from site")
    status, site = await ask(worker, "PUT", "/example.com", {"domain": "new.example"})
    assert (status, site["domain"], site["props"]) == (200, "new.example", SETTINGS["props"])
    assert dict(await db.fetchrow("select * from site") or {}) == {
        **dict(before or {}),
        "domain": "new.example",
    }
    assert (await ask(worker, "GET", "/example.com"))[0] == 404


async def test_only_a_token_for_sites_may_ask(worker: Worker) -> None:
    made = await worker.client.post("/api/v1/tokens", json={"scopes": ["stats:read", "events:write"]})
    worker.client.session.headers["Authorization"] = f"Bearer {(await made.json())['token']}"
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", "/a"),
        ("PUT", "/a"),
        ("DELETE", "/a"),
        ("POST", "/a/reset"),
    ):
        status, answer = await ask(worker, method, path)
        assert (status, answer) == (
            401,
            {"errors": {"authorization": ["the token has no scope sites:write"]}},
        )


# That nothing is left


async def fill(db: Connection, site: int) -> None:
    """A row at least in every table that has rows of a site."""
    await make_rows.store(db, [Visit((Hit("Signup", props=(("plan", "team"),)),))], site)
    day, now = make_rows.TODAY, make_rows.NOW
    await db.execute("insert into dropped values ($1, $2, 'gpc', 1)", site, day)
    await db.execute("insert into purge values ($1, $2, 'rows', $1, $3, 1)", site, now, day)
    await db.execute("insert into month select * from counter where site_id = $1", site)
    await db.execute("insert into audit values ($1, $2, $3, true, '[]')", site, day, now)
    await db.execute("insert into token values ($1, $2, $1, '{stats:read}', $3)", site, site.to_bytes(8), now)
    await db.execute("insert into redaction values ($1, $1, 'page', '/a', $2)", site, now)


async def rows_of(db: Connection, site: int) -> dict[str, int]:
    """How many rows each table with a column `site_id` holds of the site."""
    tables = await db.fetch(
        "select table_name as name from information_schema.columns"
        " where table_schema = 'public' and column_name = 'site_id'"
    )
    return {
        row["name"]: await db.fetchval(f'select count(*) from "{row["name"]}" where site_id = $1', site)
        for row in tables
    }


async def two_filled_sites(sites: Sites, db: Connection) -> tuple[int, int]:
    ids = [(await sites.add(wire.from_values({"domain": name}))).id for name in ("a.example", "b.example")]
    for id in ids:
        await fill(db, id)
        assert all((await rows_of(db, id)).values())
    return ids[0], ids[1]


async def test_a_deleted_site_leaves_no_row_in_any_table(sites: Sites, db: Connection) -> None:
    gone, stays = await two_filled_sites(sites, db)
    before = await rows_of(db, stays)
    await sites.delete("a.example")
    assert {"counter", "hour", "dropped", "hit", "visit", "purge", "token", "redaction"} <= before.keys()
    assert set((await rows_of(db, gone)).values()) == {0}
    assert await rows_of(db, stays) == before
    assert [site.domain for site in await sites.all()] == ["b.example"]


async def test_a_reset_site_keeps_its_settings_and_tokens_alone(sites: Sites, db: Connection) -> None:
    gone, stays = await two_filled_sites(sites, db)
    before, others = await sites.find("a.example"), await rows_of(db, stays)
    after = await sites.reset("a.example")
    assert set((await rows_of(db, gone)).values()) == {0}
    kept = {name for name, rows in (await rows_of(db, after.id)).items() if rows}
    assert kept == {"token", "redaction"}
    assert after == await sites.find("a.example")
    assert after == msgspec.structs.replace(before, id=after.id)
    assert await rows_of(db, stays) == others


async def test_a_reset_by_the_api_shows_the_site(worker: Worker) -> None:
    _, before = await ask(worker, "POST", body=SETTINGS)
    assert await ask(worker, "POST", "/example.com/reset") == (200, before)


async def test_who_comes_too_late_is_told(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await sites.add(wire.from_values({"domain": "a.example"}))
    await sites.delete("a.example")

    async def find(domain: str) -> Site:
        return site  # as it was a moment ago

    monkeypatch.setattr(sites, "find", find)
    for late in (
        sites.set("a.example", wire.from_values({"gpc": False})),
        sites.reset("a.example"),
        sites.delete("a.example"),
    ):
        with pytest.raises(errors.NotFound):
            await late
    assert await sites.all() == []


# Time zones


@pytest.mark.parametrize(
    ("zone", "now", "midnight"),
    [
        ("Etc/UTC", "2026-06-10T12:00Z", "2026-06-11T00:00Z"),
        ("Etc/UTC", "2026-06-10T00:00Z", "2026-06-11T00:00Z"),
        ("Europe/Riga", "2026-03-28T22:00Z", "2026-03-29T21:00Z"),
        ("Europe/Riga", "2026-10-24T21:00Z", "2026-10-25T22:00Z"),
        ("Asia/Kolkata", "2026-06-10T12:00Z", "2026-06-10T18:30Z"),
        ("Asia/Kathmandu", "2026-06-10T18:15Z", "2026-06-11T18:15Z"),
        ("Pacific/Kiritimati", "2026-06-10T12:00Z", "2026-06-11T10:00Z"),
        ("America/Santiago", "2026-09-06T03:59Z", "2026-09-06T04:00Z"),
    ],
)
async def test_a_new_time_zone_waits_for_the_old_one_s_midnight(
    sites: Sites, clock: Stopped, zone: str, now: str, midnight: str
) -> None:
    clock.moment = datetime.fromisoformat(now)
    await sites.add(wire.from_values({"domain": "a.example", "timezone": zone}))
    site = await sites.set("a.example", wire.from_values({"timezone": "America/New_York"}))
    turn = datetime.fromisoformat(midnight)
    assert (site.timezone, site.next_timezone, site.timezone_from) == (zone, "America/New_York", turn)
    assert [site.zone_at(turn - timedelta(milliseconds=1)), site.zone_at(turn)] == [zone, "America/New_York"]
    assert await sites.find("a.example") == site


async def change(sites: Sites, **given: Any) -> tuple[str, str | None]:
    site = await sites.set("a.example", wire.from_values(given))
    return site.timezone, site.next_timezone


async def test_a_change_that_waits_can_be_cancelled_or_replaced(sites: Sites) -> None:
    await sites.add(wire.from_values({"domain": "a.example", "timezone": "Europe/Riga"}))
    assert await change(sites, timezone="Asia/Tokyo") == ("Europe/Riga", "Asia/Tokyo")
    assert await change(sites, gpc=False) == ("Europe/Riga", "Asia/Tokyo")
    assert await change(sites, timezone="Asia/Seoul") == ("Europe/Riga", "Asia/Seoul")
    assert await change(sites, timezone="Europe/Riga") == ("Europe/Riga", None)


async def test_after_its_midnight_the_new_time_zone_is_the_zone(sites: Sites, clock: Stopped) -> None:
    await sites.add(wire.from_values({"domain": "a.example", "timezone": "Europe/Riga"}))
    await change(sites, timezone="Asia/Tokyo")
    clock.step(days=1)
    site = await sites.find("a.example")
    assert (site.timezone, site.next_timezone, site.timezone_from) == ("Asia/Tokyo", None, None)
    assert await change(sites, timezone="Europe/Riga") == ("Asia/Tokyo", "Europe/Riga")
    assert await change(sites, timezone="Asia/Tokyo") == ("Asia/Tokyo", None)


async def test_the_api_shows_a_change_that_waits(worker: Worker) -> None:
    await ask(worker, "POST", body={"domain": "example.com"})
    _, site = await ask(worker, "PUT", "/example.com", {"timezone": "Europe/Riga"})
    assert (site["timezone"], site["next_timezone"]) == ("Etc/UTC", "Europe/Riga")
    assert datetime.fromisoformat(site["timezone_from"]).time().isoformat() == "00:00:00"
