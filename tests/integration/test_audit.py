"""The nightly audit: counters that agree with their raw rows pass, and any that do not are found."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

import make_hits as make
import selling
from a_node import Node, a_node
from headcount import redaction, tally
from headcount.jobs.audit import LOOK_EVERY, Auditor
from headcount.licensed import HeartbeatRow
from headcount.model import OTHER, Flush, Hit
from headcount.services.audits import HEARTBEATS, SEATS, Audit, Audits, Due
from headcount.services.redactions import Redactions
from headcount.services.sites import Sites
from headcount.store.state import State
from make import Stopped
from terminal import run, said

if TYPE_CHECKING:
    from make_rows import Connection

DAY = timedelta(days=1)
DOMAIN = "a.example"
YESTERDAY = make.today()
"""The day on which everything in these tests happens."""


class Steady(make.Hands):
    """The clock of the audits: hours later, and its seconds go on with it."""

    def monotonic(self) -> float:
        return self.time[0].timestamp()


@pytest.fixture
async def node(tmp_path: Path, dsn: str, db: Connection) -> AsyncIterator[Node]:
    """A node whose day is over after it has counted a mixed crowd, some of it past the limit of values."""
    await db.execute(
        "insert into site (id, domain, timezone, created_at) values ($1, $2, 'Etc/UTC', $3)",
        make.SITE, DOMAIN, make.NOON,
    )  # fmt: skip
    async with a_node(tmp_path, dsn, max_values=6) as one:
        await one.receive(crowd())
        await one.all()
        one.clock.time[0] += DAY
        yield one


def crowd() -> list[Hit]:
    """Pages, events, properties and engagement of eight visitors, one after the other."""
    chance = random.Random(3)
    hits = []
    for second in range(-9000, -9000 + 60 * 120, 60):
        name = chance.choice(["pageview", "pageview", "engagement", "Signup"])
        hits.append(
            make.hit(
                second, chance.randrange(8), name, f"/{chance.randrange(9)}",
                scroll=chance.randrange(100) if name == "engagement" else None,
                props=(("plan", chance.choice(["free", "team"])), ("size", str(second))) if name == "Signup" else (),
                attributes=make.attributes(country=chance.choice(["LV", "DE", ""])),
            )
        )  # fmt: skip
    return hits


def audits_of(node: Node, clock: make.Hands | None = None, retention_days: int = 30) -> Audits:
    clock = clock or node.clock
    return Audits(node.database, Sites(node.database, clock), clock, retention_days)


async def audited(node: Node, day: date = YESTERDAY) -> Audit:
    (site,) = await Sites(node.database, node.clock).all()
    return await audits_of(node).run(Due(site, day))


async def agrees(node: Node) -> bool:
    found = await audited(node)
    return found.compared and found.differences == []


async def test_a_day_that_was_counted_well_agrees(node: Node, db: Connection) -> None:
    assert await db.fetchval("select count(*) from counter where value = $1", OTHER) > 0
    assert await db.fetchval("select count(*) from visit") > 8
    assert await agrees(node)
    assert dict(await db.fetchrow("select site_id, day, compared, differences from audit") or {}) == {
        "site_id": make.SITE, "day": YESTERDAY, "compared": True, "differences": "[]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column", "where", "dimension"),
    [
        ("counter", "pageviews", "dimension = ''", ""),
        ("counter", "visits", "dimension = 'country' and value = ''", "country"),
        ("counter", "bounces", "dimension = 'entry_page'", "entry_page"),
        ("counter", "duration", "dimension = 'page'", "page"),
        ("counter", "events", "dimension = 'props:plan' and value = 'team'", "props:plan"),
        ("hour", "visits", "true", "hour"),
    ],
)
async def test_a_counter_that_was_changed_by_hand_is_found(
    node: Node, db: Connection, caplog: pytest.LogCaptureFixture, table: str, column: str, where: str, dimension: str
) -> None:  # fmt: skip
    changed = await db.fetchval(
        f"with changed as (update {table} set {column} = {column} + 3 where {where} returning 1) "
        "select count(*) from changed"
    )
    with caplog.at_level(logging.ERROR):
        (found,) = (await audited(node)).differences
    assert (found.dimension, found.values) == (dimension, changed)
    place = ("visits", "pageviews", "events", "bounces", "duration").index(column)
    apart = [ours - theirs for ours, theirs in zip(found.counted, found.recounted, strict=True)]
    assert apart == [3 * changed if n == place else 0 for n in range(5)]
    named = dimension or "the site as a whole"
    assert f"counts do not agree: {DOMAIN}, {YESTERDAY}, {named}: {changed} values, counted [" in caplog.text


async def test_counters_that_are_missing_or_too_many_are_found(
    node: Node, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await db.execute("delete from counter where dimension = 'browser'")
    await db.execute(
        "insert into counter select site_id, day, 'props:jane', 'doe', 1, 1, 1, 1, 0, 0, 0, 0 "
        "from counter where dimension = ''"
    )
    await db.execute("update hit set page = '/jane' where name = 'pageview'")
    found = {one.dimension: one for one in (await audited(node)).differences}
    assert found.keys() == {"browser", "props:jane", "page"}
    assert (found["browser"].counted, found["browser"].values) == ([0] * 5, 1)
    assert (found["props:jane"].recounted, found["props:jane"].values) == ([0] * 5, 1)
    assert "/jane" not in caplog.text
    assert "doe" not in caplog.text


# What is no difference


async def test_redactions_raise_no_alarm(node: Node, db: Connection) -> None:
    redactions = Redactions(node.database, node.clock)
    for dimension, pattern in (("page", "/*"), ("name", "Sign*"), ("props:size", "-*"), ("source", "G*")):
        assert await redactions.request(redaction.parse(make.SITE, dimension, pattern)) > 0
    twice = "select (select sum(visits) from counter where dimension = 'page') > (select count(*) from visit)"
    assert await db.fetchval(twice)  # one visit touched several of the pages
    assert await agrees(node)


async def test_a_redacted_value_that_is_counted_wrong_is_found_all_the_same(
    node: Node, db: Connection
) -> None:
    await Redactions(node.database, node.clock).request(redaction.parse(make.SITE, "page", "/*"))
    await db.execute(
        "update counter set pageviews = pageviews - 1 where dimension = 'page' and value = ':redacted'"
    )
    assert [one.dimension for one in (await audited(node)).differences] == ["page"]


async def test_a_redaction_on_the_way_raises_no_alarm(node: Node, db: Connection) -> None:
    request = redaction.parse(make.SITE, "page", "/1*")
    await node.receive([make.hit(60 * n, 20 + n % 2, page=f"/1{n}") for n in range(4)])
    await node.take()

    def replace(target: tally.Tally, state: State) -> None:
        redaction.in_tally(target, request)
        state.rewrite(target, make.SITE, lambda flush: redaction.in_flush(flush, request))

    await node.engine.exclusively(replace)
    await node.all()
    await node.receive([make.hit(600, 20, page="/after")])
    await node.all()
    assert await agrees(node)


async def test_a_reset_site_has_nothing_to_differ(node: Node, db: Connection) -> None:
    await audited(node)
    await Sites(node.database, node.clock).reset(DOMAIN)
    assert await db.fetchval("select count(*) from audit") == 0
    assert await agrees(node)


@pytest.mark.parametrize(
    "missing",
    [
        "insert into purge values (1, now(), 'rows', 7, '2026-03-11', 5)",
        "insert into purge values (1, now(), 'restore', null, '2026-03-12', 0)",
        "insert into gap values ('node', 3, 9, '2026-03-10 23:00+00')",
        "insert into gap values ('node', 3, 9, '2026-03-12 13:00+00')",
    ],
)
async def test_a_day_whose_raw_rows_are_not_all_there_is_not_compared(
    node: Node, db: Connection, missing: str
) -> None:
    await db.execute("update counter set visits = visits + 1")
    await db.execute(missing)
    found = await audited(node)
    assert (found.compared, found.differences) == (False, [])


# Which days, and when


async def days_due(
    node: Node, now: datetime, sent: datetime | None = None, retention_days: int = 30
) -> list[date]:
    node.clock.time[0] = now
    found = await audits_of(node, retention_days=retention_days).due(sent or now)
    return [one.day for one in found if one.site is not None]


async def test_a_day_is_due_when_it_has_ended_and_all_of_it_is_in_postgres(
    node: Node, db: Connection
) -> None:
    await db.execute("update site set timezone = 'America/New_York', created_at = '2026-03-11 00:00+00'")
    end = datetime(2026, 3, 11, 4, tzinfo=UTC)
    assert await days_due(node, end + timedelta(minutes=4)) == []
    assert await days_due(node, end + timedelta(minutes=6)) == [YESTERDAY]
    assert await days_due(node, end + timedelta(minutes=6), sent=end - timedelta(seconds=1)) == []


async def test_days_that_were_missed_are_due_as_long_as_their_raw_rows_are_kept(node: Node) -> None:
    await audited(node)
    later = make.NOON + 40 * DAY
    assert await days_due(node, later, retention_days=3) == [later.date() - 2 * DAY, later.date() - DAY]
    assert await days_due(node, later, retention_days=1) == []
    assert await days_due(node, make.NOON + 2 * DAY) == [YESTERDAY - DAY, YESTERDAY + DAY]


async def test_the_job_audits_each_day_once(node: Node, db: Connection) -> None:
    clock = Steady()
    clock.time[0] = make.NOON + 2 * DAY
    auditor = Auditor(audits_of(node, clock), node.engine, clock)
    node.engine.sent_before = int(clock.now().timestamp() * 1000)
    while await auditor.run():
        pass
    done = "select site_id, day from audit order by day, site_id"
    assert [tuple(row) for row in await db.fetch(done)] == [
        (make.SITE, YESTERDAY - DAY), (make.SITE, YESTERDAY), (0, YESTERDAY + DAY), (make.SITE, YESTERDAY + DAY),
    ]  # fmt: skip
    await db.execute("delete from audit")
    assert not await auditor.run()
    assert await db.fetchval("select count(*) from audit") == 0
    clock.time[0] += timedelta(seconds=LOOK_EVERY)
    assert await auditor.run()


async def test_nothing_is_audited_before_the_node_knows_how_far_it_is(node: Node, db: Connection) -> None:
    clock = Steady()
    node.engine.sent_before = 0
    assert not await Auditor(audits_of(node, clock), node.engine, clock).run()
    assert await db.fetchval("select count(*) from audit") == 0


async def test_results_go_after_400_days(node: Node, db: Connection) -> None:
    await audited(node)
    node.clock.time[0] += 400 * DAY
    await audits_of(node).forget_old()
    assert await db.fetchval("select count(*) from audit") == 1
    node.clock.time[0] += DAY
    await audits_of(node).forget_old()
    assert await db.fetchval("select count(*) from audit") == 0


# Licenses


async def test_seats_that_are_counted_wrong_are_found(node: Node, dsn: str, db: Connection) -> None:
    async with selling.shop(dsn, Stopped(selling.NOW)) as vendor:
        license = await selling.issue(vendor.licenses)
        await selling.install(db, license, 1)
        await selling.install(db, license, 2, seat=False)
    licenses = Due(None, YESTERDAY)
    assert (await audits_of(node).run(licenses)).differences == []
    await db.execute("update license set used = 2")
    (found,) = (await audits_of(node).run(licenses)).differences
    assert (found.dimension, found.values, found.counted, found.recounted) == (SEATS, 1, [2], [1])


async def test_raw_checks_that_were_not_counted_are_found_and_erased_ones_are_right(
    node: Node, dsn: str, db: Connection
) -> None:
    async with selling.shop(dsn, Stopped(make.NOON)) as vendor:
        license = await selling.issue(vendor.licenses)
    await node.heartbeats.tick(make.NOON, heard=True)
    checks = [
        HeartbeatRow(
            product=license.product_id, license=license.id, instance=bytes([n]) * 32, day=YESTERDAY,
            minute=int(make.NOON.timestamp()), version="1", country="LV", environment="production", os="linux",
            arch="x86_64", status="active", chain=0, generation=0, random=0,
        )
        for n in range(3)
    ]  # fmt: skip
    await node.counters.apply("vendor", 1, Flush(heartbeats=checks), make.NOON)
    licenses = Due(None, YESTERDAY)
    assert (await audits_of(node).run(licenses)).differences == []
    await db.execute("update install_count set heartbeats = heartbeats - 1")
    (found,) = (await audits_of(node).run(licenses)).differences
    assert (found.dimension, found.counted, found.recounted) == (HEARTBEATS, [2], [3])
    await db.execute("delete from heartbeat where instance = $1", checks[0].instance)
    assert (await audits_of(node).run(licenses)).differences == []


# The command


@pytest.fixture
def _database(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", dsn)


@pytest.mark.usefixtures("_database")
def test_the_command_audits_every_site_and_the_licenses() -> None:
    said("site", "add", DOMAIN)
    lines = [line.split() for line in said("audit").splitlines()[1:]]
    yesterday = f"{datetime.now(UTC).date() - DAY}"
    assert [(line[0], line[-1]) for line in lines] == [(DOMAIN, "agrees"), ("licenses", "agrees")]
    assert lines[1][1] == yesterday


@pytest.mark.usefixtures("_database")
def test_the_command_says_what_differs_and_fails(dsn: str) -> None:
    said("site", "add", DOMAIN)

    asyncio.run(_miscount(dsn))
    result = run("audit", "--site", DOMAIN, "--day", "2026-03-10")
    assert (result.exit_code, "differs in 1 dimensions" in result.stdout) == (1, True)
    assert [line.split() for line in result.stdout.splitlines() if "[0, 0" in line] == [
        [DOMAIN, "country", "1", "[1,", "2,", "3,", "0,", "4]", "[0,", "0,", "0,", "0,", "0]"]
    ]
    told = json.loads(run("audit", "--site", DOMAIN, "--day", "2026-03-10", "--json").stdout)
    assert told[0]["differences"][0]["counted"] == [1, 2, 3, 0, 4]


async def _miscount(dsn: str) -> None:

    db = await asyncpg.connect(dsn)
    await db.execute(
        "insert into counter select id, '2026-03-10', 'country', 'LV', 1, 1, 2, 3, 0, 4, 0, 0 from site"
    )
    await db.close()
