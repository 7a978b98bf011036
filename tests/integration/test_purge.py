"""Logs go, days stay: forty days of data in, and raw rows of exactly the window left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import make_hits as make
from a_node import Node, a_node
from headcount import localtime
from headcount.jobs import purge
from headcount.model import Site
from headcount.services.sites import Sites

DAYS = 40
SITES = [
    make.site(1, "utc.test"),
    make.site(2, "east.test", timezone="Pacific/Kiritimati"),
    make.site(3, "west.test", timezone="Pacific/Pago_Pago"),
    make.site(4, "short.test", retention_days=3),
]


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Any) -> AsyncIterator[Node]:
    for site in SITES:
        await db.execute(
            "insert into site (id, domain, timezone, retention_days, created_at) values ($1, $2, $3, $4, $5)",
            *(site.id, site.domain, site.timezone, site.retention_days, site.created_at),
        )
    async with a_node(tmp_path, dsn, *SITES) as one:
        for day in range(DAYS):
            await one.receive([event(site, day) for site in SITES])
        one.clock.time[0] += timedelta(days=DAYS - 1)
        await one.all()
        yield one


def event(site: Site, day: int) -> Any:
    second = day * 86_400
    zone = site.timezone
    local, hour = localtime.local_hour(zone, make.ms(second))
    return make.hit(second, site=site.id, zone=zone, day=local, hour=hour, token=day)


def sweeper(node: Node, days: int = 30) -> purge.Purge:
    return purge.Purge(node.database, Sites(node.database, node.clock), node.counters, node.clock, days)


async def days_of(db: Any, table: str, site: int) -> list[date]:
    rows = await db.fetch(f"select distinct day from {table} where site_id = $1 order by day", site)
    return [row["day"] for row in rows]


@pytest.mark.parametrize("table", ["hit", "visit"])
async def test_raw_rows_of_exactly_the_window_are_left(node: Node, db: Any, table: str) -> None:
    await sweeper(node).run()
    today = {site.id: localtime.today(site.timezone, node.clock.now()) for site in SITES}
    window = {site.id: reversed(range(site.retention_days or 30)) for site in SITES}
    assert {site.id: await days_of(db, table, site.id) for site in SITES} == {
        id: [today[id] - timedelta(days=n) for n in days] for id, days in window.items()
    }


async def test_counters_and_hours_are_left_untouched(node: Node, db: Any) -> None:
    before = (
        await db.fetch("select * from counter order by 1, 2, 3, 4"),
        await db.fetch("select * from hour order by 1, 2, 3"),
    )
    await sweeper(node).run()
    after = (
        await db.fetch("select * from counter order by 1, 2, 3, 4"),
        await db.fetch("select * from hour order by 1, 2, 3"),
    )
    assert before == after
    assert len(await days_of(db, "counter", 1)) == DAYS


async def test_a_purge_is_recorded_with_what_it_removed(node: Node, db: Any) -> None:
    rows = await db.fetchval("select (select count(*) from hit) + (select count(*) from visit)")
    await sweeper(node).run()
    left = await db.fetchval("select (select count(*) from hit) + (select count(*) from visit)")
    assert await db.fetchval("select sum(rows) from purge") == rows - left


async def test_a_purge_that_is_repeated_does_nothing_more(node: Node, db: Any) -> None:
    await sweeper(node).run()
    once = await db.fetchval("select count(*) from purge")
    await sweeper(node).run()
    assert await db.fetchval("select count(*) from purge") == once


async def test_a_shorter_window_of_the_server_holds_for_all(node: Node, db: Any) -> None:
    await sweeper(node, days=2).run()
    assert await db.fetchval("select count(*) from hit") == 2 * len(SITES)


async def test_late_rows_of_a_purged_day_go_with_the_next_purge(node: Node, db: Any) -> None:
    await sweeper(node).run()
    await node.receive([event(SITES[0], 0)])
    await node.all()
    await sweeper(node).run()
    assert len(await days_of(db, "hit", 1)) == 30


async def test_partitions_for_the_days_to_come_are_there_in_advance(node: Node, db: Any) -> None:
    await sweeper(node).run()
    tomorrow = node.clock.now().date() + timedelta(days=1)
    assert await db.fetchval("select to_regclass($1)", f"hit_{tomorrow:%Y%m%d}") is not None


async def test_a_clock_far_in_the_future_deletes_nothing_until_it_is_believed(
    node: Node, db: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = sweeper(node)
    await one.run()
    kept = await days_of(db, "hit", 1)
    right = node.clock.time[0]
    node.clock.time[0] = right + timedelta(days=365)
    for _ in range(2):
        with pytest.raises(purge.ClockJumped):
            await one.run()
    assert caplog.text.count("the clock has stepped forward by 8760 hours") == 1
    node.clock.time[0] = right
    await one.run()
    assert await days_of(db, "hit", 1) == kept
    node.clock.time[0] = right + timedelta(days=2)
    with pytest.raises(purge.ClockJumped):
        await one.run()
    monkeypatch.setattr(purge, "BELIEVED", 0.0)
    await one.run()
    assert await days_of(db, "hit", 1) == kept[2:]


async def test_a_clock_that_steps_back_or_a_little_stops_no_purge(node: Node, db: Any) -> None:
    one = sweeper(node)
    for hours in (0, -72, 1, 11, -1):
        node.clock.time[0] += timedelta(hours=hours)
        await one.run()
    assert one.purged_at == node.clock.milliseconds()
