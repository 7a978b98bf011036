"""What a vendor is told of a day: installs, new, returning, lost, heartbeats, sharing, copies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import make_hits
from headcount.jobs.purge import Purge
from headcount.licensing import keys
from vendor import Vendor, a_vendor

if TYPE_CHECKING:
    from conftest import Connection

TODAY = make_hits.NOON.date()


@pytest.fixture
async def vendor(tmp_path: Path, dsn: str) -> AsyncIterator[Vendor]:
    async with a_vendor(tmp_path / "data", dsn, {"trusted_proxies": "127.0.0.1"}) as found:
        yield found


async def counts(db: Connection, dimension: str = "", day: int = 0, what: str = "installs") -> dict[str, int]:
    """What is counted of a day, so many days after the first, where it is not zero."""
    rows = await db.fetch(
        f"select value, {what} as count from install_count where dimension = $1 and day = $2 and {what} <> 0",
        dimension,
        TODAY + timedelta(days=day),
    )
    return {row["value"]: row["count"] for row in rows}


async def flow(db: Connection, day: int) -> tuple[int, ...]:
    """(installs, new, returning, lost) of a day."""
    row = await db.fetchrow(
        "select installs, new_installs, returning_installs, lost_installs from install_count"
        " where dimension = '' and day = $1",
        TODAY + timedelta(days=day),
    )
    return tuple(row) if row else ()


async def signs(db: Connection) -> tuple[int, int]:
    """Distinct installs and networks of the one license and day."""
    (row,) = await db.fetch("select instances, networks from sharing")
    return row["instances"], row["networks"]


async def night(vendor: Vendor) -> None:
    """The server runs on until the next noon, with nothing to do."""
    await vendor.pass_by(days=1)
    await vendor.count()


async def test_installs_are_counted_by_every_dimension(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    await vendor.check(key, "install-1", os="linux")
    await vendor.check(key, "install-2", version="2.5.0", os="windows")
    await vendor.check(key, "install-3", environment="staging")
    await vendor.drain()
    await vendor.count()
    assert await counts(db) == {"": 2}
    assert await counts(db, "version") == {"2.4.1": 1, "2.5.0": 1}
    assert await counts(db, "plan") == {"team": 2}
    assert await counts(db, "os") == {"linux": 1, "windows": 1}
    assert await counts(db, "environment") == {"production": 2, "staging": 1}
    assert await counts(db, "status") == {"active": 2}
    assert await counts(db, "state") == {"active": 2}


async def test_checks_are_counted_by_their_answer_also_of_unknown_keys(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue(seats=1)
    await vendor.check(key, "install-1")
    await vendor.check(key, "install-2")
    await vendor.check(keys.shown(keys.new()))
    await vendor.drain()
    assert await counts(db, "status", what="heartbeats") == {"active": 1, "over_seats": 1, "unknown": 1}
    assert await counts(db, what="heartbeats") == {"": 2}


async def test_states_follow_silence(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.drain()
    for hours, state in ((1, "active"), (1, "late"), (1, "late"), (1, "silent"), (7 * 24, "lapsed")):
        await vendor.pass_by(hours=hours)
        assert await db.fetchval("select state from install") == state


async def test_a_day_is_closed_with_what_came_and_went(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    await vendor.check(key, "install-1")
    await vendor.check(key, "install-2")
    await vendor.drain()
    await vendor.pass_by(hours=11.5)
    for instance in ("install-1", "install-2"):
        await vendor.check(key, instance)
    await vendor.drain()
    await vendor.pass_by(hours=0.6)
    await vendor.count()  # a minute past midnight: the first day is closed
    assert await flow(db, 0) == (2, 2, 0, 0)
    assert await flow(db, 1) == (2, 0, 0, 0)
    await vendor.pass_by(hours=23)
    await vendor.check(key, "install-1")
    await vendor.drain()
    await vendor.pass_by(hours=1)
    await vendor.count()
    assert await flow(db, 1) == (1, 0, 0, 1)
    await vendor.check(key, "install-2")
    await vendor.check(key, "install-3")
    await vendor.drain()
    await vendor.count()
    assert await flow(db, 2) == (3, 1, 1, 0)
    await night(vendor)
    assert await flow(db, 2) == (0, 0, 0, 1)  # all fell silent before midnight; only one had been counted


async def test_a_heartbeat_of_the_next_day_closes_the_day_before_it_first(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    await vendor.check(key, "install-1")
    await vendor.drain()
    vendor.step(timedelta(days=1))  # Postgres was away: the clock of silence stood
    await vendor.check(key, "install-2")
    await vendor.drain()
    assert await flow(db, 0) == (1, 1, 0, 0)
    await vendor.count()
    assert await flow(db, 1) == (2, 1, 0, 0)


async def test_days_without_a_server_repeat_the_last(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.drain()
    await vendor.count()
    vendor.step(timedelta(days=4))
    await vendor.jobs.tick()
    await vendor.count()
    assert [await flow(db, day) for day in range(5)] == [(1, 1, 0, 0), *[(1, 0, 0, 0)] * 4]


async def test_small_cells_are_folded(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue(seats=20)
    for n in range(6):
        await vendor.check(key, f"install-{n}", version="2.4.1")
    await vendor.check(key, "install-6", version="9.9.9")
    await vendor.drain()
    await vendor.count()
    rows = await db.fetch("select version, plan, country, installs from install_cell order by installs desc")
    assert [tuple(row) for row in rows] == [
        ("2.4.1", "team", "", 6),
        ("(other)", "(other)", "(other)", 1),
    ]


async def test_distinct_installs_networks_and_countries_show_that_a_key_is_passed_around(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    for n, address in enumerate(["203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8:1:2::1"]):
        await vendor.post_from(address, key, f"install-{n}")
    await vendor.drain()
    assert await signs(db) == (4, 3)
    await vendor.post_from("203.0.113.9", key, "install-0")
    await vendor.drain()
    assert await signs(db) == (4, 3)


async def test_a_copied_install_is_reported_and_not_refused(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    first = await vendor.check(key)
    for token in (first["token"], first["token"]):  # a lost answer repeats a token once
        second = await vendor.check(key, token=token)
    await vendor.drain()
    assert await db.fetchval("select forks from instance") == 0
    one = await vendor.check(key, token=second["token"])
    copy = await vendor.check(key, token=second["token"])
    await vendor.check(key, token=one["token"])
    answer = await vendor.check(key, token=copy["token"])
    await vendor.drain()
    assert await db.fetchval("select forks from instance") > 0
    assert answer["status"] == "active"


async def test_raw_heartbeats_older_than_the_window_are_gone_and_counts_stay(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    for _ in range(40):
        await vendor.check(key)
        await vendor.drain()
        await vendor.pass_by(days=1)
    await Purge(vendor.database, vendor.sites, vendor.node.counters, vendor.clock, 30).run()
    days = await db.fetch("select distinct day from heartbeat order by day")
    assert [row["day"] for row in days] == [TODAY + timedelta(days=day) for day in range(11, 40)]
    assert await db.fetchval("select sum(heartbeats) from install_count where dimension = ''") == 40


async def test_installs_without_a_seat_are_bounded(
    vendor: Vendor, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headcount.store.heartbeats.MAX_UNSEATED", 3)
    key = await vendor.issue(seats=1)
    for n in range(8):
        await vendor.check(key, f"install-{n}")
    await vendor.drain()
    assert await db.fetchval("select count(*) from instance") == 4
    assert await counts(db, what="heartbeats") == {"": 8}
