"""From the spools to Postgres, exactly once, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import make_hits as make
from a_node import Node, a_node
from headcount import errors, localtime, redaction, tally
from headcount.jobs import drain
from headcount.store import files, spool
from headcount.store.state import State


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Any) -> AsyncIterator[Node]:
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, 'a.test', 'Etc/UTC', $2)",
        make.SITE,
        make.NOON,
    )
    async with a_node(tmp_path, dsn) as one:
        yield one


async def pageviews(db: Any, dimension: str = "", value: str = "") -> int:
    found = await db.fetchval(
        "select sum(pageviews) from counter where dimension = $1 and value = $2", dimension, value
    )
    return int(found or 0)


async def test_an_event_arrives_in_counters_hours_and_raw_rows(node: Node, db: Any) -> None:
    await node.receive([make.hit(page="/a", props=(("plan", "team"),))])
    await node.all()
    assert (
        await pageviews(db)
        == await pageviews(db, "page", "/a")
        == await pageviews(db, "props:plan", "team")
        == 1
    )
    assert await db.fetchval("select visitors from hour") == 1
    assert dict(await db.fetchrow('select page, "order" from hit')) == {"page": "/a", "order": 0}
    assert dict(await db.fetchrow("select entry_page, country, bounce from visit")) == {
        "entry_page": "/a",
        "country": "LV",
        "bounce": True,
    }


async def test_a_flush_that_was_applied_but_not_noted_counts_once(node: Node, db: Any) -> None:
    await node.receive([make.hit()])
    await node.all()
    node.state.mark_waiting(0)
    await node.all()
    assert await pageviews(db) == await db.fetchval("select count(*) from hit") == 1


async def test_a_rollup_that_dies_between_the_steps_loses_and_doubles_nothing(node: Node, db: Any) -> None:
    await node.receive([make.hit(0)])
    await node.take()
    node.reopen()
    await node.receive([make.hit(5, page="/b")])
    await node.all()
    assert await pageviews(db) == 2
    assert await db.fetchval("select count(*) from visit") == 1


async def test_a_step_that_cannot_be_stored_is_done_again(
    node: Node, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.receive([make.hit()])
    with monkeypatch.context() as patched:
        patched.setattr(State, "_append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await node.engine.take()
    await node.all()
    assert await pageviews(db) == 1


async def test_collecting_goes_on_while_postgres_is_down(node: Node, db: Any) -> None:
    node.dsn, right = "postgresql://nobody@127.0.0.1:1/nothing", node.dsn
    await node.receive([make.hit()])
    await node.take()
    with pytest.raises(errors.DatabaseDown):
        await node.engine.send()
    await node.database.close()
    node.dsn = right
    await node.all()
    assert await pageviews(db) == 1


async def test_a_database_restored_from_a_young_copy_gets_the_flushes_again(node: Node, db: Any) -> None:
    for n in range(3):
        await node.receive([make.hit(n, token=n)])
        await node.all()
    await db.execute("truncate hit, visit, counter, hour; delete from drain")
    await node.receive([make.hit(9, token=9)])
    await node.all()
    assert await pageviews(db) == 4
    assert await db.fetchval("select count(*) from gap") == 0


async def test_a_database_restored_from_an_old_copy_reports_the_gap_with_its_bounds(
    node: Node, db: Any
) -> None:
    for n in range(3):
        await node.receive([make.hit(n, token=n)])
        await node.all()
    node.state.drop_applied(node.clock.milliseconds() + 1)
    await db.execute("truncate hit, visit, counter, hour; update drain set applied = 1")
    await node.receive([make.hit(9, token=9)])
    await node.all()
    assert await pageviews(db) == 1
    assert tuple(await db.fetchrow("select first_missing, last_missing from gap")) == (2, 3)


async def test_two_workers_spools_are_merged_in_the_order_of_time(node: Node, db: Any) -> None:
    folder = node.folder / "spool"
    async with (
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as one,
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as two,
    ):
        for n in range(10):
            await (one, two)[n % 2].append([make.hit(-20 + n, page=f"/{n}")])
        await node.all()
    assert [row["page"] for row in await db.fetch('select page from hit order by "order"')] == [
        f"/{n}" for n in range(10)
    ]


async def test_a_worker_that_is_behind_holds_the_others_back_only_half_a_second(node: Node, db: Any) -> None:
    folder = node.folder / "spool"
    async with (
        spool.Spool(folder, 1 << 30, lambda: make.ms(-1000)),
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as two,
    ):
        await two.append([make.hit()])
        await node.engine.take()
        assert not node.engine.caught_up
        await node.all()
    assert await pageviews(db) == 1


async def test_spools_of_workers_that_are_gone_hold_nothing_back(node: Node, db: Any) -> None:
    for second in range(30):
        await node.receive([make.hit(second)])
    node.clock.time[0] += timedelta(minutes=1)
    await node.engine.take()
    assert node.engine.caught_up


async def test_two_ledgers_of_one_day_add_up_in_one_flush(node: Node, db: Any) -> None:
    await node.receive([make.hit(0), make.hit(1, zone="America/New_York")])
    await node.all()
    assert await pageviews(db) == 2


async def test_two_values_that_get_one_name_add_up_in_one_flush(node: Node, db: Any) -> None:
    await node.receive([make.hit(n, token=n, page=f"/user/{n}") for n in range(3)])
    await node.take()
    request = redaction.parse(make.SITE, "page", "/user/*")

    def replace(target: tally.Tally, state: State) -> None:
        redaction.in_tally(target, request)
        state.rewrite(target, make.SITE, lambda flush: redaction.in_flush(flush, request))

    await node.engine.exclusively(replace)
    await node.all()
    assert await pageviews(db, "page", ":redacted") == 3


async def test_a_damaged_spool_does_not_stop_the_others(node: Node, db: Any) -> None:
    await node.receive([make.hit()])
    (node.folder / "spool" / "0bad.db").write_bytes(b"no database at all" * 1000)
    await node.all()
    assert await pageviews(db) == 1


async def test_a_state_file_that_is_an_older_copy_throws_nothing_away(node: Node, db: Any) -> None:
    await node.receive([make.hit(0)])
    await node.all()
    await db.execute("update drain set applied = 9")
    await node.receive([make.hit(5, token=5)])
    await node.all()
    assert await pageviews(db) == 2


async def test_a_backlog_is_not_overtaken_by_another_spool(
    node: Node, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_BATCHES", 2)
    folder = node.folder / "spool"
    async with (
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as long,
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as short,
    ):
        for second in range(-9000, -8990):
            await long.append([make.hit(second, page="/early")])
        await short.append([make.hit(-60, page="/late")])
        await node.all()
    rows = await db.fetch("select entry_page, exit_page from visit order by minute")
    assert [tuple(row) for row in rows] == [("/early", "/early"), ("/late", "/late")]


async def test_a_spool_that_is_out_of_sight_for_a_while_counts_once(node: Node, db: Any) -> None:
    await node.receive([make.hit(0)])
    await node.all()
    hidden = (node.folder / "spool").rename(node.folder / "elsewhere")
    node.reopen()
    (node.folder / "spool").mkdir()
    await node.take()
    (node.folder / "spool").rmdir()
    hidden.rename(node.folder / "spool")
    await node.all()
    assert await pageviews(db) == 1


async def test_a_state_file_that_is_busy_once_is_used_again(node: Node, db: Any) -> None:
    node.state._db.execute("pragma busy_timeout = 0")
    await node.receive([make.hit()])
    other = sqlite3.connect(node.folder / "state.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(sqlite3.OperationalError):
        await node.engine.take()
    other.execute("rollback")
    other.close()
    await node.all()
    assert await pageviews(db) == 1


async def test_days_that_could_not_be_destroyed_are_destroyed_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.receive([make.hit()])
    await node.all()
    node.clock.time[0] = localtime.day_end("Etc/UTC", make.today()) + timedelta(minutes=6)
    with monkeypatch.context() as patched:
        patched.setattr(State, "_delete", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await node.engine.close_days()
    await node.engine.close_days()
    node.reopen()
    assert node.engine._tally.ledgers == {}


async def test_a_hole_in_the_outbox_is_a_gap_and_no_loop(node: Node, db: Any) -> None:
    for n in range(5):
        await node.receive([make.hit(n, token=n)])
        await node.all()
    node.state._db.execute("delete from outbox where number in (2, 3)")
    await db.execute("truncate hit, visit, counter, hour; update drain set applied = 1")
    await node.receive([make.hit(9, token=9)])
    await node.all()
    assert tuple(await db.fetchrow("select first_missing, last_missing from gap")) == (2, 3)


async def test_late_flushes_of_a_deleted_site_are_dropped(node: Node, db: Any) -> None:
    await node.receive([make.hit()])
    await node.take()
    await db.execute("delete from site")
    await node.all()
    assert await pageviews(db) == await db.fetchval("select count(*) from hit") == 0


async def test_events_of_an_unknown_site_are_counted_for_none(node: Node, db: Any) -> None:
    await node.receive([make.hit(site=99)])
    await node.all()
    assert tuple(await db.fetchrow("select site_id, reason, count from dropped")) == (0, "deleted_site", 1)


async def test_what_is_open_of_a_day_is_destroyed_five_minutes_after_it(node: Node, db: Any) -> None:
    await node.receive([make.hit()])
    await node.all()
    end = localtime.day_end("Etc/UTC", make.today())
    for late, left in ((299, 1), (301, 0)):
        node.clock.time[0] = end + timedelta(seconds=late)
        await node.engine.close_days()
        node.reopen()
        await node.take()
        assert len(node.engine._tally.ledgers) == left
    assert b"Firefox" not in (node.folder / "state.db-wal").read_bytes()


async def test_a_day_is_not_closed_before_all_of_it_was_taken(node: Node, db: Any) -> None:
    await node.receive([make.hit(0)])
    await node.all()
    await node.receive([make.hit(5)])
    node.clock.time[0] += timedelta(days=1)
    node.reopen()
    await node.engine.close_days()
    await node.all()
    assert await db.fetchval("select sum(visitors) from counter where dimension = ''") == 1


async def test_a_spool_whose_worker_is_gone_disappears(node: Node) -> None:
    await node.receive([make.hit()])
    await node.all()
    node.clock.time[0] += timedelta(minutes=1)
    await node.take()
    assert list((node.folder / "spool").iterdir()) == []


async def test_two_rollups_cannot_share_a_state_file(node: Node) -> None:
    with pytest.raises(BlockingIOError):
        State(node.folder / "state.db")


async def test_days_of_half_hour_zones_keep_their_own_hours(node: Node, db: Any) -> None:
    await node.receive([make.hit(zone="Asia/Kolkata")])
    await node.all()
    assert await db.fetchval("select hour from hour") == datetime(2026, 3, 10, 11, 30, tzinfo=UTC)


async def test_a_stop_takes_what_is_held_back(node: Node, db: Any) -> None:
    folder = node.folder / "spool"
    async with (
        spool.Spool(folder, 1 << 30, lambda: make.ms(-1000)),
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as two,
    ):
        await two.append([make.hit()])
        await node.engine.finish()
    assert await pageviews(db) == 1


async def test_a_stop_does_not_wait_for_what_comes_in_meanwhile(node: Node, db: Any) -> None:
    async def go_on(worker: spool.Spool) -> None:
        for n in itertools.count(1):
            await worker.append([make.hit(n / 10)])
            node.clock.time[0] = make.NOON + timedelta(seconds=n / 10)

    folder = node.folder / "spool"
    async with (
        spool.Spool(folder, 1 << 30, lambda: make.ms(-1000)),
        spool.Spool(folder, 1 << 30, node.clock.milliseconds) as worker,
    ):
        await worker.append([make.hit()])
        load = asyncio.create_task(go_on(worker))
        await node.engine.finish()
        load.cancel()
    assert await pageviews(db) >= 1


async def test_a_flush_that_postgres_refuses_again_and_again_is_set_aside_and_reported_as_a_gap(
    node: Node, db: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drain, "REFUSALS", 3)
    await node.receive([make.hit(0, page="/no\0text")])
    await node.take()
    await node.receive([make.hit(1, token=2, page="/good")])
    await node.take()
    for _ in range(2):
        with pytest.raises(errors.FlushRefused, match="flush 1"):
            await node.engine.send()
    assert await pageviews(db) == 0
    await node.all()
    assert await pageviews(db) == 1
    assert tuple(await db.fetchrow("select first_missing, last_missing from gap")) == (1, 1)
    (aside,) = files.damaged(node.folder)
    assert b"no\\u0000text" in aside.read_bytes()
    assert aside.name in caplog.text
    assert "no\0text" not in caplog.text


async def test_a_flush_is_not_set_aside_because_of_a_fault_that_is_not_its_own(
    node: Node, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "REFUSALS", 1)
    await node.receive([make.hit()])
    await node.take()
    await db.execute("alter table counter rename to elsewhere")
    with pytest.raises(Exception, match="counter"):
        await node.engine.send()
    await db.execute("alter table elsewhere rename to counter")
    await node.all()
    assert (await pageviews(db), files.damaged(node.folder)) == (1, [])


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
async def test_each_event_is_counted_in_its_local_hour_when_the_clocks_change(
    node: Node, db: Any, day: date, hours: int
) -> None:
    start = localtime.day_start("Europe/Riga", day)
    node.clock.time[0] = start + timedelta(hours=hours)
    first = round((start - make.NOON).total_seconds())
    seconds = range(first - 3600, first + (hours + 1) * 3600, 600)
    await node.receive([make.hit(s, token=s - first + 9999, zone="Europe/Riga") for s in seconds])
    await node.all()
    found = await db.fetch("select hour, pageviews from hour where day = $1 order by hour", day)
    expected = [(start + timedelta(hours=number), 6) for number in range(hours)]
    assert [tuple(row) for row in found] == expected
    assert await pageviews(db) == len(seconds) == 6 * (hours + 2)


@pytest.mark.parametrize("step", [timedelta(minutes=10), timedelta(hours=3), timedelta(days=1)])
async def test_a_clock_that_steps_forward_and_back_loses_and_doubles_nothing(
    node: Node, db: Any, step: timedelta
) -> None:
    for moved in (0, 1, 0, -1, 0):
        node.clock.time[0] = make.NOON + moved * step
        second = moved * step.total_seconds()
        await node.receive([make.hit(second + n, token=n) for n in range(5)])
        await node.all()
        await node.engine.close_days()
    await node.all()
    assert await pageviews(db) == await db.fetchval("select count(*) from hit") == 25
    assert await db.fetchval("select min(duration) from visit") >= 0
