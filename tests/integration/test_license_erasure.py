"""What is forgotten with a license: by a transfer, by an erasure, and by itself; and the export of what is kept."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from headcount import errors
from headcount.licensed import DAY
from headcount.licensing.transitions import Act
from headcount.services.licenses import Licenses
from headcount.services.management import Management
from make import Stopped
from selling import (
    NOW,
    everything,
    install,
    issue,
    rows_of,
    transfer,
)

if TYPE_CHECKING:
    from make_rows import Connection


async def test_a_transferred_license_has_another_customer_and_no_installs(
    management: Management, db: Connection
) -> None:
    await management.products.set("shop", customer_fields=True)
    license = await issue(management.licenses, customer_ref="C-1", customer_name="Erika", seats=9)
    digest = await install(db, license)
    after = await transfer(management.licenses, license, customer_ref="D-1", customer_email="d@a.example")
    assert (after.customer_ref, after.customer_name, after.customer_email) == ("D-1", "", "d@a.example")
    assert (after.used, after.seats, after.digest) == (0, 9, license.digest)
    assert await rows_of(db, license) == {
        "license": 1, "instance": 0, "heartbeat": 0, "sharing": 0, "erasure": 1,
    }  # fmt: skip
    assert await db.fetchval("select instance from erasure") == digest


async def test_a_transfer_needs_the_new_customer(licenses: Licenses, db: Connection) -> None:
    license = await issue(licenses, customer_ref="C-1")
    await install(db, license)
    for given in ({}, {"customer_ref": ""}, {"customer_ref": "D", "customer_name": "Erika"}):
        with pytest.raises(errors.BadInput):
            await transfer(licenses, license, **given)
    assert (await licenses.get(license.id)).customer_ref == "C-1"
    assert (await rows_of(db, license))["instance"] == 1


async def test_an_erased_license_leaves_only_counts(licenses: Licenses, db: Connection) -> None:
    license, other = await issue(licenses, customer_ref="C-1"), await issue(licenses)
    for name in (1, 2):
        await install(db, license, name)
    await install(db, other)
    await db.execute("insert into install_count values ($1, '', $2, '', 2)", license.product_id, NOW.date())
    assert await licenses.erase(license.id) == (2, 2, 1)
    assert await rows_of(db, license) == {
        "license": 0, "instance": 0, "heartbeat": 0, "sharing": 0, "erasure": 3,
    }  # fmt: skip
    kept = await everything(db)
    assert "C-1" not in kept
    assert license.digest.hex() not in kept
    assert await db.fetchval("select installs from install_count") == 2
    assert (await rows_of(db, other))["instance"] == 1
    with pytest.raises(errors.NotFound):
        await licenses.get(license.id)


async def test_local_copies_are_told_what_was_erased(licenses: Licenses, db: Connection) -> None:
    license = await issue(licenses)
    digest = await install(db, license)
    await licenses.erase(license.id)
    rows = await db.fetch("select license_id, instance, erased_at from erasure order by instance")
    assert [tuple(row) for row in rows] == [(license.id, b"", NOW), (license.id, digest, NOW)]


async def test_an_export_holds_every_row(management: Management, db: Connection) -> None:
    license = await issue(management.licenses, customer_ref="C-1")
    digest = await install(db, license, random=-(2**62))
    found = await management.instances.export(license.id)
    assert found["license"]["id"] == str(license.id)
    assert (found["license"]["customer_ref"], found["license"]["digest"]) == ("C-1", license.digest.hex())
    (instance,) = found["instances"]
    assert (instance["instance"], instance["random"]) == (digest.hex(), str(-(2**62)))
    assert instance["last_seen"] == "2026-06-10T12:00:00Z"
    assert found["heartbeats"][0]["day"] == "2026-06-10"
    assert found["sharing"][0]["instances"] == 1
    for table, part in (("license", found["license"]), ("instance", instance)):
        columns = await db.fetch(
            "select column_name from information_schema.columns where table_name = $1", table
        )
        assert {row["column_name"] for row in columns} == part.keys()


# What is forgotten by itself


async def test_a_customer_is_forgotten_a_year_after_the_license(
    management: Management, clock: Stopped, db: Connection
) -> None:
    await management.products.set("shop", customer_fields=True)
    licenses = management.licenses
    ended = await issue(licenses, customer_name="ended", customer_ref="C-1", **{"for": DAY})
    revoked = await issue(licenses, customer_email="revoked@a.example")
    running = await issue(licenses, customer_name="running")
    await licenses.act(revoked.id, Act.REVOKE)
    clock.step(days=365)
    await licenses.release(revoked.id, None)
    await licenses.forget_customers(clock.now())
    names = "select customer_name || customer_email as name from license order by 1"
    assert [row["name"] for row in await db.fetch(names)] == ["ended", "revoked@a.example", "running"]
    clock.step(days=1, seconds=1)
    await licenses.forget_customers(clock.now())
    assert [row["name"] for row in await db.fetch(names)] == ["", "", "running"]
    assert (await licenses.get(ended.id)).customer_ref == "C-1"
    assert (await licenses.get(running.id)).customer_name == "running"


async def test_installs_without_a_seat_are_forgotten_after_400_days(
    licenses: Licenses, clock: Stopped, db: Connection
) -> None:
    license = await issue(licenses)
    gone = await install(db, license, 1, seat=False)
    stays = [
        await install(db, license, 2),
        await install(db, license, 3, seat=False, last_seen=NOW + timedelta(days=1)),
    ]
    clock.step(days=400, hours=1)
    await licenses.forget_installs(clock.now())
    rows = await db.fetch("select instance from instance order by instance")
    assert [row["instance"] for row in rows] == stays
    assert await db.fetchval("select instance from erasure") == gone


async def test_what_is_kept_for_a_time_goes_after_that(
    licenses: Licenses, clock: Stopped, db: Connection
) -> None:
    license = await issue(licenses)
    for day in (date(2026, 6, 9), date(2026, 6, 10)):
        await db.execute(
            "insert into sharing values ($1, $2, $3, 1, 1, 1)", license.product_id, license.id, day
        )
    await db.execute("insert into erasure values (1, 1, '', $1)", NOW)
    await db.execute("insert into token values (1, '', null, '{}', $1, null)", NOW)
    await db.execute("insert into idempotency values (1, '', '', '', $1)", NOW)
    clock.step(days=1)
    await licenses.forget_installs(clock.now())
    counts = "select " + ", ".join(
        f"(select count(*) from {table})" for table in ("erasure", "idempotency", "sharing")
    )
    assert tuple(await db.fetchrow(counts) or ()) == (1, 1, 2)
    clock.step(days=399)
    await licenses.forget_installs(clock.now())
    assert tuple(await db.fetchrow(counts) or ()) == (0, 0, 1)
