"""Days stay, logs go: raw rows leave after their window, and with each day all that knows its visitors again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest

from acceptance.search import Needle, find
from acceptance.server import Clock, Server, until
from headcount.store import embedded
from headcount.visits import Visit

pytestmark = pytest.mark.timeout(240)

DAYS = 40
ZONES = {
    "riga.example": "Europe/Riga",
    "kiritimati.example": "Pacific/Kiritimati",  # the first to have a new day
    "pago.example": "Pacific/Pago_Pago",  # among the last
    "short.example": "Etc/UTC",
}
KEPT = {"riga.example": 30, "kiritimati.example": 30, "pago.example": 30, "short.example": 3}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
TRUSTED = "127.0.0.0/8"

Row = tuple[object, ...]
RawRows = dict[tuple[str, str, date], int]
"""How many there are, by table, site and local day."""


async def test_raw_rows_leave_after_their_window_and_counters_stay(place: Path, clock: Clock) -> None:
    async with Server(place, clock) as server:
        await server.start()
        token = await forty_days(server, clock)
        raw, counters = await raw_rows(server), await counted(server)
        assert len({day for _, _, day in raw}) > DAYS  # one more in some zones

        for later in (0, 1):
            clock.set(clock.now + timedelta(days=later))
            await server.stop()
            await server.start()
            left = {key: count for key, count in raw.items() if in_window(key, clock.now)}
            await until_raw_rows_are(server, left)
            assert await counted(server) == counters
            await record_tells(server, sum(raw.values()) - sum(left.values()))
        await every_day_is_still_counted(server, token)
        await server.stop()


async def test_a_day_that_has_ended_leaves_nothing_of_its_visitors(place: Path, clock: Clock) -> None:
    async with Server(place, clock, trusted_proxies=TRUSTED) as server:
        await server.start()
        secrets = await a_day_with_visitors(server)

        clock.set(datetime(2026, 10, 25, 0, 4, 30, tzinfo=UTC))
        await server.stop()
        await server.start()  # then every job runs at once
        await until(lambda: open_days(server) == key_files(server) == {"Etc/UTC 2026-10-24"}, seconds=60)
        await server.post(view("localhost"), browser(1))
        await until(lambda: "Etc/UTC 2026-10-25" in open_days(server))
        assert key_files(server) == {"Etc/UTC 2026-10-24", "Etc/UTC 2026-10-25"}

        clock.set(datetime(2026, 10, 25, 0, 5, 1, tzinfo=UTC))
        await until(lambda: open_days(server) == key_files(server) == {"Etc/UTC 2026-10-25"}, seconds=60)
        await until(lambda: find(secrets, [server.data_dir, *server.day_key_folders()]) == [])
        await server.stop()
        assert find(secrets, [place]) == []


async def test_a_day_that_ends_while_nothing_runs_is_destroyed_at_the_start(
    place: Path, clock: Clock
) -> None:
    async with Server(place, clock, trusted_proxies=TRUSTED) as server:
        await server.start()
        secrets = await a_day_with_visitors(server)
        await server.stop()

        clock.set(clock.now + timedelta(days=1))
        await server.start()
        await until(lambda: open_days(server) == key_files(server) == set(), seconds=60)
        await server.post(view("localhost"), browser(1))
        await until(lambda: open_days(server) == key_files(server) == {"Etc/UTC 2026-10-25"})
        await until(lambda: find(secrets, [server.data_dir, *server.day_key_folders()]) == [])
        await server.stop()


async def forty_days(server: Server, clock: Clock) -> str:
    """A few events on each site and day, each taken and applied as it comes; a token for everything."""
    for site, zone in ZONES.items():
        days = {"retention_days": str(KEPT[site])} if KEPT[site] != 30 else {}
        await server.add_site(site, timezone=zone, **days)
    token = await server.token("events:write", "stats:read")
    for number in range(DAYS):
        clock.set(clock.now.replace(hour=12) + timedelta(days=number > 0))
        known = [{"ip": f"46.109.1.{visitor}", "user_agent": AGENT} for visitor in range(number % 3 + 1)]
        events = [{**view(site), **who} for site in ZONES for who in known]
        answer = await server.post(events, {"Authorization": f"Bearer {token}"})
        assert answer.status == 202

    async def is_counted() -> bool:
        sent = len(ZONES) * sum(number % 3 + 1 for number in range(DAYS))
        return sum((await raw_rows(server)).values()) == 2 * sent  # a hit and a visit each

    await until(is_counted)
    return token


async def a_day_with_visitors(server: Server) -> list[Needle]:
    """Visitors on two sites, one where the day is nearly over; then what must not outlive it, byte for byte."""
    await server.add_site("kolkata.example", timezone="Asia/Kolkata")
    await server.token("stats:read")
    for visitor in range(20):
        for site in ("localhost", "kolkata.example"):
            assert (await server.post(view(site), browser(visitor))).status == 202
    await until(lambda: len(rows(server, "select body from visit")) == 40)
    assert open_days(server) == key_files(server) == {"Etc/UTC 2026-10-24", "Asia/Kolkata 2026-10-24"}

    (folder,) = server.day_key_folders()
    needles = [Needle("day key", "bytes", file.read_bytes()) for file in folder.glob("*@*")]
    for (body,) in rows(server, "select body from visit"):
        token = msgspec.msgpack.decode(body, type=Visit).token
        needles += [Needle("token", "bytes", token.to_bytes(8, "big", signed=True))]
        needles += [Needle("token", "bytes, turned", token.to_bytes(8, "little", signed=True))]
    for (sketch,) in rows(server, "select sketch from cell where dimension = 'page'"):
        needles += [Needle("sketch", "bytes", sketch)]

    # They are found while the day lasts, in the state file and its log, and never in Postgres.
    assert {what for what, _, _ in find(needles, [server.data_dir])} == {"token", "sketch"}
    assert find(needles, [server.data_dir / "postgres"]) == []
    return needles


def view(site: str) -> dict[str, str]:
    return {"n": "pageview", "u": f"http://{site}/", "d": site}


def browser(visitor: int) -> dict[str, str]:
    return {"User-Agent": AGENT, "X-Forwarded-For": f"46.109.2.{visitor}"}


def in_window(key: tuple[str, str, date], now: datetime) -> bool:
    """Whether the site keeps raw rows of this day: today and the days before it, in its own zone."""
    _, site, day = key
    return day > now.astimezone(ZoneInfo(ZONES[site])).date() - timedelta(days=KEPT[site])


async def until_raw_rows_are(server: Server, expected: RawRows) -> None:
    async def they_are() -> bool:
        return await raw_rows(server) == expected

    await until(they_are)


async def raw_rows(server: Server) -> RawRows:
    found: RawRows = {}
    for table in ("hit", "visit"):
        statement = (
            f"select domain, day, count(*) as rows from {table} join site on site.id = site_id group by 1, 2"
        )
        found |= {(table, row["domain"], row["day"]): row["rows"] for row in await ask(server, statement)}
    return found


async def counted(server: Server) -> list[list[Row]]:
    statements = ("select * from counter order by 1, 3, 2, 4", "select * from hour order by 1, 2, 3")
    return [[tuple(row) for row in await ask(server, statement)] for statement in statements]


async def record_tells(server: Server, removed: int) -> None:
    """What was purged is on record: how many rows, and whether a whole day or those of one site."""
    found = await ask(server, "select kind, domain, rows from purge left join site on site.id = site_id")
    assert sum(row["rows"] for row in found) == removed
    assert {row["domain"] for row in found if row["kind"] == "partition"} == {None}
    assert {row["domain"] for row in found if row["kind"] == "rows"} >= {
        "short.example",
        "kiritimati.example",
    }


async def every_day_is_still_counted(server: Server, token: str) -> None:
    """All days by the counters; a question that needs raw rows is told how far they reach."""
    answer = await server.query(
        token, "riga.example", ["pageviews"], date_range="91d", dimensions=["time:day"]
    )
    assert len(answer["results"]) == DAYS
    asked = {
        "site_id": "riga.example",
        "metrics": ["visits"],
        "date_range": "91d",
        "filters": [["is_not", "visit:browser", ["none"]], ["is_not", "visit:os", ["none"]]],
    }
    headers = {"Authorization": f"Bearer {token}"}
    async with server.http.post(f"{server.origin}/api/v2/query", json=asked, headers=headers) as refused:
        assert refused.status == 400
        assert "reach back to" in json.dumps(await refused.json())


async def ask(server: Server, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(embedded.Embedded(server.data_dir).dsn())
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def rows(server: Server, statement: str) -> list[tuple[Any, ...]]:
    """Of the rollup's state file."""
    with closing(sqlite3.connect(server.data_dir / "state.db")) as connection:
        return connection.execute(statement).fetchall()


def open_days(server: Server) -> set[str]:
    """The zone and day of all that is kept and knows visitors again."""
    found = rows(server, "select zone, day from visit union select zone, day from cell")
    return {f"{zone} {day}" for zone, day in found}


def key_files(server: Server) -> set[str]:
    """The zone and day of each key."""
    files = [file.name for folder in server.day_key_folders() for file in folder.glob("*@*")]
    return {name.replace("~", "/").replace("@", " ") for name in files}
