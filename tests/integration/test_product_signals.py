"""What a vendor should look at: seats, silent installs, keys that are passed around, installs that are copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import make_rows
from headcount.licensed import License
from headcount.services import product_reports
from headcount.services.product_reports import ProductReports, Seats
from headcount.store.postgres import Database
from make_installs import DAY, NOW, TODAY, Selling, make_product

if TYPE_CHECKING:
    from make_installs import Connection

WEEK = (TODAY - 6 * DAY, TODAY)


@pytest.fixture
async def database(dsn: str, db: Connection) -> AsyncIterator[Database]:
    await make_product(db)
    database = Database(lambda: dsn)
    yield database
    await database.close()


@pytest.fixture
def reports(database: Database) -> ProductReports:
    return ProductReports(database, make_rows.StoppedClock(NOW))


@pytest.fixture
def selling(database: Database) -> Selling:
    return Selling(database)


async def checked(db: Connection, license: License, *sums: int, day: int = 0) -> None:
    """What was seen of a license so many days ago: distinct installs, networks and countries."""
    await db.execute(
        "insert into sharing values (1, $1, $2, $3, $4, $5)", license.id, TODAY - timedelta(days=day), *sums
    )


async def silence(db: Connection, hours: float) -> None:
    """No install has been heard for so long."""
    await db.execute("update uptime set milliseconds = $1", int(hours * 3_600_000))


async def test_seats_are_those_of_licenses_that_are_good(
    reports: ProductReports, db: Connection, selling: Selling
) -> None:
    grace = datetime(2026, 11, 10, tzinfo=UTC)
    for fields in ({}, {"seats": 2}, {"expires_at": grace}, {"expires_at": grace - 8 * DAY}):
        await selling.install(await selling.license())
        license = await selling.license()
        await db.execute(
            "update license set seats = $2, expires_at = $3, used = 1 where id = $1",
            license.id,
            fields.get("seats"),
            fields.get("expires_at"),
        )
    await db.execute("update plan set grace = 14 * 86400")
    suspended = await selling.license()
    await db.execute("update license set standing = 'suspended', used = 4 where id = $1", suspended.id)
    assert await reports.seats(1) == Seats(licenses=7, used=7, sold=32, unlimited=0, used_unlimited=0)


async def test_licenses_without_a_limit_are_counted_apart(
    reports: ProductReports, database: Database, selling: Selling
) -> None:
    await selling.install()
    await Selling(database, name="any", seats=None).install()
    assert await reports.seats(1) == Seats(licenses=2, used=1, sold=5, unlimited=1, used_unlimited=1)


async def test_an_install_is_silent_after_three_intervals_until_its_lease(
    reports: ProductReports, db: Connection, selling: Selling
) -> None:
    license = await selling.install(await selling.license(customer_ref="C-7"))
    for hours, count in ((0.5, 0), (2.5, 0), (3.5, 1), (167, 1), (169, 0)):
        await silence(db, hours)
        assert (await reports.silent(1))[1] == count
    await silence(db, 4)
    ((found,), _) = await reports.silent(1)
    assert (found.license, found.customer_ref, found.plan, found.version) == (
        str(license.id),
        "C-7",
        "team",
        "2.4.1",
    )
    assert found.instance == b"one".hex()
    assert found.last_seen == NOW.replace(second=0)


@pytest.mark.parametrize("change", ["seat = false", "environment = 'staging'", "offline_until = 'infinity'"])
async def test_only_installs_that_hold_a_seat_and_should_be_heard_are_silent(
    reports: ProductReports, db: Connection, selling: Selling, change: str
) -> None:
    await selling.install()
    await silence(db, 4)
    await db.execute(f"update instance set {change}")
    assert await reports.silent(1) == ([], 0)


async def test_the_longest_silent_come_first_and_all_are_counted(
    reports: ProductReports, db: Connection, selling: Selling, monkeypatch: pytest.MonkeyPatch
) -> None:
    license = await selling.license()
    for number in range(4):
        await selling.install(license, b"%d" % number)
        await db.execute(
            "update instance set last_seen = $1 where instance = $2", NOW - number * DAY, b"%d" % number
        )
    await silence(db, 4)
    monkeypatch.setattr(product_reports, "LISTED", 2)
    found, total = await reports.silent(1)
    assert ([one.instance for one in found], total) == ([b"3".hex(), b"2".hex()], 4)


async def test_a_license_is_measured_by_its_seats_on_its_worst_day(
    reports: ProductReports, db: Connection, database: Database, selling: Selling
) -> None:
    fits, twice = await selling.license(), await selling.license(customer_ref="twice")
    solo = await Selling(database, name="solo", seats=1).license(customer_ref="solo")
    await checked(db, fits, 5, 5, 1)
    await checked(db, twice, 10, 2, 1, day=1)
    await checked(db, twice, 3, 11, 1, day=2)
    await checked(db, solo, 1, 1, 3)
    signals = await reports.signals(1, *WEEK)
    assert [
        (one.customer_ref, one.seats, one.instances, one.networks, one.countries) for one in signals.shared
    ] == [
        ("solo", 1, 1, 1, 3),
        ("twice", 5, 10, 11, 1),
    ]
    assert signals.shared_total == 2


async def test_days_outside_the_range_and_licenses_without_a_limit_are_no_sign(
    reports: ProductReports, db: Connection, database: Database, selling: Selling
) -> None:
    await checked(db, await selling.license(), 50, 50, 1, day=7)
    await checked(db, await Selling(database, name="any", seats=None).license(), 50, 50, 1)
    signals = await reports.signals(1, *WEEK)
    assert (signals.shared, signals.shared_total) == ([], 0)


async def test_copied_installs_are_listed_the_most_often_first(
    reports: ProductReports, db: Connection, selling: Selling
) -> None:
    license = await selling.license(customer_ref="C-7")
    for number in range(3):
        await selling.install(license, b"%d" % number)
        await db.execute("update instance set forks = $1 where instance = $2", number, b"%d" % number)
    signals = await reports.signals(1, *WEEK)
    assert [(one.instance, one.forks) for one in signals.forked] == [(b"2".hex(), 2), (b"1".hex(), 1)]
    assert signals.forked_total == 2


async def test_other_products_are_left_out(reports: ProductReports, db: Connection, selling: Selling) -> None:
    await make_product(db, 2, "other")
    license = await selling.install()
    await checked(db, license, 50, 1, 1)
    await db.execute("update instance set forks = 1")
    await silence(db, 4)
    signals = await reports.signals(2, *WEEK)
    assert (signals.shared_total, signals.forked_total, (await reports.silent(2))[1]) == (0, 0, 0)
    assert await reports.seats(2) == Seats(licenses=0, used=0, sold=0, unlimited=0, used_unlimited=0)
