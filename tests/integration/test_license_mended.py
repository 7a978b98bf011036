"""What was once wrong with checks, seats and the counts of a day: a test for each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headcount import errors
from headcount.jobs.purge import Purge
from headcount.licensing import jws, keys
from headcount.licensing.transitions import Act
from headcount.services import checks
from headcount.store import secret
from headcount.store.license_copy import LicenseCopy
from headcount.web import keys as app_keys
from vendor import Vendor, a_worker, postgres_down, question

if TYPE_CHECKING:
    from conftest import Connection


async def id_of(vendor: Vendor, key: str) -> int:
    return (await vendor.licenses.find(key)).id


async def test_an_install_of_one_license_under_another_stops_no_flush(vendor: Vendor, db: Connection) -> None:
    one, two = await vendor.issue(), await vendor.issue()
    await vendor.check(one, "install-1")
    await vendor.drain()
    digest = keys.instance_digest(keys.parse(one), "install-1")
    await db.execute(
        "insert into instance select product_id, $2, instance, false, first_seen, last_seen, heard, version,"
        " country, environment, os, arch, status, 0, 0, 0, 0, 0, null, false, false, changed_at"
        " from instance where instance = $1",
        digest,
        await id_of(vendor, two),
    )
    await vendor.check(one, "install-1")
    await vendor.check(two, "install-2", environment="staging")
    await vendor.drain()
    assert await db.fetchval("select count(*) from heartbeat") == 3


async def test_a_damaged_copy_is_made_anew(vendor: Vendor, tmp_path: Path) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.settle()
    path = vendor.folder / "licenses.db"
    vendor.copy.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"garbage" * 1000)
    vendor.copy = LicenseCopy(path)
    await vendor.settle()
    async with postgres_down(vendor):
        assert (await vendor.check(key))["conclusive"] is True


async def test_a_worker_notices_that_the_copy_was_made_anew(vendor: Vendor) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    vendor.copy.begin_anew()
    await vendor.settle()
    await vendor.licenses.act(await id_of(vendor, key), Act.SUSPEND)
    await vendor.settle()
    assert (await vendor.check(key))["status"] == "suspended"


@pytest.mark.parametrize("minutes", [0, 5])
@pytest.mark.parametrize("forget", ["erase", "transfer"])
async def test_what_was_checked_before_an_erasure_does_not_come_back(
    vendor: Vendor, db: Connection, forget: str, minutes: int
) -> None:
    key = await vendor.issue()
    await vendor.check(key)  # and it waits in the spool
    vendor.step(timedelta(minutes=minutes, seconds=30))
    if forget == "erase":
        await vendor.post("erase", {"key": key})
    else:
        await db.execute("update license set forgotten_at = $1, used = 0", vendor.clock.now())
        await db.execute("delete from instance")
    await vendor.drain()
    for table in ("instance", "heartbeat", "sharing"):
        assert await db.fetchval(f"select count(*) from {table}") == 0
    assert await db.fetchval("select sum(heartbeats) from install_count where dimension = ''") == 1


async def test_a_change_is_seen_after_the_clock_was_set_back(vendor: Vendor) -> None:
    vendor.step(timedelta(days=1))
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.settle()
    vendor.step(-timedelta(days=1))
    await vendor.settle()
    await vendor.licenses.act(await id_of(vendor, key), Act.SUSPEND)
    await vendor.settle()
    assert (await vendor.check(key))["status"] == "suspended"


async def test_who_was_refused_asks_again_within_the_hour(vendor: Vendor, db: Connection) -> None:
    await db.execute("update plan set check_interval = 86400")
    key = await vendor.issue(seats=0)
    answer = await vendor.check(key)
    assert (answer["status"], answer["check_after"] - answer["server_time"]) == ("over_seats", 3600)


async def test_an_install_is_answered_when_networks_cannot_be_counted(
    vendor: Vendor, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    assert vendor.worker is not None
    service = vendor.worker.app[app_keys.CHECKS]
    key = await vendor.issue()
    monkeypatch.setattr(service, "_lookups", service._lookups.__class__(lambda _: "LV", full, None))  # type: ignore[arg-type] # no agents: a check has none
    assert (await vendor.check(key))["status"] == "active"
    await vendor.drain()
    assert await db.fetchval("select networks from sharing") == 0


async def test_postgres_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 0.01)
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()  # as a connection does that waits for its cancellation to be heard

    with pytest.raises(errors.DatabaseDown):
        await checks._in_time(hang)
    ended.set()


async def test_an_install_that_moves_to_staging_gives_its_seat_to_another(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue(seats=1)
    await vendor.check(key, "install-1")
    await vendor.check(key, "install-1", environment="staging")
    await vendor.drain()
    assert await db.fetchval("select count(*) from install where counts") == 0
    await vendor.free_silent()
    await vendor.settle()
    assert (await vendor.check(key, "install-2"))["status"] == "active"


async def test_a_seat_that_is_taken_again_is_one_of_the_environment_that_asked(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue(seats=1)
    await vendor.check(key, environment="staging")
    await vendor.drain()
    await vendor.check(key)  # its heartbeat waits while the lease job looks
    await vendor.jobs.free_silent()
    assert await db.fetchval("select used from license") == 1


async def test_a_whole_copy_writes_only_what_differs(vendor: Vendor, db: Connection) -> None:
    kept, gone = await vendor.issue(), await vendor.issue()
    await vendor.check(kept)
    await vendor.check(gone)
    await vendor.settle()
    await db.execute("delete from license where digest = $1", keys.digest(keys.parse(gone)))
    await db.execute("update license set standing = 'suspended'")
    before = vendor.copy._db.total_changes
    await vendor.installs.copy_to(vendor.copy, vendor.clock.now(), whole=True)
    assert vendor.copy._db.total_changes - before == 5  # a license and a seat less, one changed, the mark
    assert (await vendor.check(kept))["status"] == "suspended"
    assert (await vendor.check(gone))["status"] == "unknown"


async def test_a_damaged_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("garbage")
    with pytest.raises(errors.BadConfig, match="is damaged"):
        secret.load("", tmp_path)


async def test_what_cannot_be_signed_takes_no_seat(vendor: Vendor, db: Connection, dsn: str) -> None:
    key = await vendor.issue()
    async with a_worker(vendor, dsn, {"secret_key": jws.encode(bytes(32))}) as vendor.worker:
        status, _ = await vendor.post("check", question(key))
    assert (status, await db.fetchval("select used from license")) == (503, 0)


async def test_a_raw_heartbeat_is_gone_when_its_day_is_past_the_window_in_utc(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.drain()
    for hours, left in ((29 * 24 + 11, 1), (1, 0)):  # the last is 30 days on, at midnight UTC
        await vendor.pass_by(hours=hours)
        await Purge(vendor.database, vendor.sites, vendor.node.counters, vendor.clock, 30).run()
        assert await db.fetchval("select count(*) from heartbeat") == left


async def test_a_clock_a_little_behind_at_midnight_reopens_no_day(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.drain()
    vendor.clock.time[0] = datetime(2026, 3, 11, 0, 2, tzinfo=UTC)
    await vendor.count()
    vendor.clock.time[0] = datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC)
    await vendor.count()
    row = await db.fetchrow("select installs, new_installs from install_count where dimension = ''")
    assert row is not None
    assert tuple(row) == (1, 1)


async def test_a_clock_far_ahead_does_not_stop_the_counts(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    vendor.step(timedelta(days=400))
    await vendor.check(key)
    await vendor.drain()
    vendor.step(-timedelta(days=400))
    await vendor.jobs.tick()
    await vendor.count()
    today = vendor.clock.now().date()
    assert await db.fetchval("select closed_day from uptime") == today - timedelta(days=1)


async def test_claims_of_a_seat_stay_within_a_million(vendor: Vendor, db: Connection) -> None:
    await db.execute("update plan set seats = null")
    key = await vendor.issue()
    await db.execute("update license set used = 1000000")
    answer = await vendor.check(key)
    assert answer["status"] == "over_seats"
