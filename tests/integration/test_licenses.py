"""Licenses: issued once, and changed by the vendor as the table of transitions allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from headcount import errors
from headcount.licensed import DAY, Standing
from headcount.licensing import keys, versions
from headcount.licensing.transitions import NEXT, Act
from headcount.services.instances import Place
from headcount.services.licenses import Licenses
from headcount.services.management import Management
from headcount.store.installs import Installs
from headcount.store.issued import License
from headcount.store.postgres import Database
from headcount.wire import fields
from headcount.wire import license as wire
from make import NO_POSTGRES, Stopped
from selling import (
    GRACE,
    NOW,
    SECRET,
    Air,
    change,
    everything,
    install,
    issue,
    plan,
    renew,
    sold,
    transfer,
    write,
)

if TYPE_CHECKING:
    from make_rows import Connection


# Issuing


async def test_a_license_is_issued_with_a_key(licenses: Licenses) -> None:
    key, license = await licenses.issue("shop", "team", fields.read(wire.Fields, {"customer_ref": "C-17"}))
    assert keys.shown(keys.parse(key)) == key
    assert (license.product, license.plan, license.status(NOW)) == ("shop", "team", "active")
    assert (license.seats, license.seats_limit, license.used) == (None, 2, 0)
    assert (license.expires_at, license.customer_ref) == (None, "C-17")
    assert await licenses.get(license.id) == license
    assert await licenses.find(key.lower().replace("-", " ")) == license


async def test_the_key_is_nowhere_in_the_database(licenses: Licenses, db: Connection) -> None:
    key, _ = await licenses.issue("shop", "team", wire.Fields())
    plain = keys.parse(key)
    kept = (await everything(db)).upper()
    assert keys.digest(plain).hex().upper() in kept
    for text in (key, plain, plain[2:], plain.encode().hex().upper()):
        assert text not in kept


async def test_seats_and_end_are_the_licenses_own(licenses: Licenses) -> None:
    license = await issue(licenses, seats=0, **{"for": 30 * DAY})
    assert (license.seats, license.seats_limit) == (0, 0)
    assert license.expires_at == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("product", "plan", "given", "field", "says"),
    [
        ("desk", "team", {}, "product", "there is no product desk"),
        ("shop", "gold", {}, "plan", "the product has no plan gold"),
        ("shop", "a\0", {}, "plan", "the product has no plan a?"),
        ("shop", "team", {"seats": -1}, "seats", "from 0 to 1000000"),
        ("shop", "team", {"expires_at": "soon"}, "expires_at", "must be a date such as 2030-12-31"),
        ("shop", "team", {"customer_ref": "x" * 201}, "customer_ref", "at most 200 characters"),
        (
            "shop",
            "team",
            {"customer_name": "E"},
            "customer_name",
            "headcount product set shop --customer-fields",
        ),
        (
            "shop",
            "team",
            {"customer_email": "e@a.example"},
            "customer_email",
            "product set shop --customer-fields",
        ),
    ],
)
async def test_a_license_with_a_fault_is_not_issued(
    licenses: Licenses, product: str, plan: str, given: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(errors.BadInput) as raised:
        await licenses.issue(product, plan, fields.read(wire.Fields, given))
    assert raised.value.field == field
    assert says in raised.value.message
    assert await licenses.page(wire.Filters()) == []


async def test_a_customer_is_named_where_the_product_keeps_that(management: Management) -> None:
    await management.products.set("shop", customer_fields=True)
    license = await issue(management.licenses, customer_name="Erika", customer_email="e@a.example")
    assert (license.customer_name, license.customer_email) == ("Erika", "e@a.example")
    assert "Erika" not in repr(license)


async def test_without_postgres_everything_says_so(clock: Stopped) -> None:
    management = Management(Database(lambda: NO_POSTGRES), clock, SECRET)
    licenses = management.licenses
    request = wire.Request(product="shop", key_digest="0" * 64, instance_digest="0" * 64, version="1")
    for work in (
        licenses.issue("shop", "team", wire.Fields()), licenses.get(1), licenses.find(keys.shown(keys.new())),
        licenses.page(wire.Filters()), licenses.act(1, Act.REVOKE), licenses.erase(1), licenses.release(1, None),
        licenses.forget_customers(NOW), licenses.forget_installs(NOW), management.offline.write(request),
        management.instances.page("shop", None), management.instances.export(1),
    ):  # fmt: skip
        with pytest.raises(errors.DatabaseDown):
            await work


async def test_what_is_not_there_is_not_found(management: Management) -> None:
    licenses, missing = management.licenses, 12
    for work in (
        licenses.get(missing), licenses.get(0), licenses.get(1 << 63), licenses.act(missing, Act.SUSPEND),
        licenses.renew(missing, wire.Term(expires_at=None)), licenses.set(missing, wire.Change()),
        licenses.transfer(missing, wire.Customer(customer_ref="x")), licenses.release(missing, None),
        licenses.erase(missing), management.instances.export(missing), management.instances.page(None, missing),
    ):  # fmt: skip
        with pytest.raises(errors.NotFound, match="there is no such license"):
            await work
    with pytest.raises(errors.NotFound, match="there is no license of this key") as raised:
        await licenses.find(keys.shown(keys.new()))
    assert raised.value.field == "key"


# Standing


async def stand(licenses: Licenses, standing: Standing) -> License:
    license = await issue(licenses)
    ways = {Standing.ACTIVE: None, Standing.SUSPENDED: Act.SUSPEND, Standing.REVOKED: Act.REVOKE}
    act = ways[standing]
    return license if act is None else await licenses.act(license.id, act)


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("act", [Act.SUSPEND, Act.REINSTATE, Act.REVOKE])
async def test_a_license_stands_as_the_table_says(licenses: Licenses, standing: Standing, act: Act) -> None:
    before = await stand(licenses, standing)
    if (standing, act) in NEXT:
        assert (await licenses.act(before.id, act)).standing is NEXT[standing, act]
        return
    with pytest.raises(errors.Conflict) as raised:
        await licenses.act(before.id, act)
    assert raised.value.field == "status"
    assert await licenses.get(before.id) == before


async def test_a_revoked_license_is_not_changed_any_more(licenses: Licenses) -> None:
    license = await stand(licenses, Standing.REVOKED)
    for work in (
        renew(licenses, license, expires_at=None),
        change(licenses, license, seats=9),
        transfer(licenses, license, customer_ref="D-1"),
    ):
        with pytest.raises(errors.Conflict, match="a license that is revoked cannot be"):
            await work
    assert await licenses.get(license.id) == license


async def test_of_two_who_revoke_at_once_one_is_told(licenses: Licenses) -> None:
    license = await issue(licenses)
    done = await asyncio.gather(
        *(licenses.act(license.id, Act.REVOKE) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["Conflict", "Conflict", "Conflict", "License"]


async def test_every_change_reaches_the_local_copies(
    licenses: Licenses, clock: Stopped, db: Connection
) -> None:
    license = await issue(licenses)
    works: list[Callable[[], Awaitable[object]]] = [
        lambda: licenses.act(license.id, Act.SUSPEND),
        lambda: licenses.act(license.id, Act.REINSTATE),
        lambda: renew(licenses, license, expires_at="2030-01-01"),
        lambda: change(licenses, license, seats=3),
        lambda: transfer(licenses, license, customer_ref="D"),
        lambda: licenses.act(license.id, Act.REVOKE),
    ]
    for work in works:
        clock.step(seconds=1)
        await work()
        assert await db.fetchval("select changed_at from license") == clock.now()


# Renewing and changing


async def test_a_renewal_counts_from_the_later_of_now_and_the_old_end(
    licenses: Licenses, clock: Stopped
) -> None:
    license = await issue(licenses, **{"for": 10 * DAY})
    assert (await renew(licenses, license, **{"for": DAY})).expires_at == NOW + timedelta(days=11)
    clock.step(days=30)
    again = await renew(licenses, license, **{"for": DAY})
    assert again.expires_at == NOW + timedelta(days=31)
    assert again.status(clock.now()) == "active"


async def test_a_renewal_may_name_the_end_or_none(licenses: Licenses) -> None:
    license = await issue(licenses, **{"for": 10 * DAY})
    assert (await renew(licenses, license, expires_at="2030-12-31")).expires_at == datetime(
        2031, 1, 1, tzinfo=UTC
    )
    assert (await renew(licenses, license, expires_at=None)).expires_at is None


@pytest.mark.parametrize(
    ("term", "field", "says"),
    [
        ({}, "for", "or expires_at is required"),
        ({"for": 0}, "for", "from 1 to 3153600000 seconds"),
        ({"for": 1, "expires_at": None}, "for", "cannot be given together"),
        ({"expires_at": "2026-06-09"}, "expires_at", "must be later than now"),
    ],
)
async def test_a_renewal_with_a_fault_changes_nothing(
    licenses: Licenses, term: dict[str, Any], field: str, says: str
) -> None:
    before = await issue(licenses, **{"for": DAY})
    with pytest.raises(errors.BadInput, match=says) as raised:
        await renew(licenses, before, **term)
    assert raised.value.field == field
    assert await licenses.get(before.id) == before


async def test_what_never_ends_cannot_last_longer(licenses: Licenses) -> None:
    with pytest.raises(errors.Conflict, match="the license never ends"):
        await renew(licenses, await issue(licenses), **{"for": DAY})


async def test_renewals_at_once_add_up(licenses: Licenses) -> None:
    license = await issue(licenses, **{"for": DAY})
    await asyncio.gather(*(renew(licenses, license, **{"for": DAY}) for _ in range(5)))
    assert (await licenses.get(license.id)).expires_at == NOW + timedelta(days=6)


async def test_plan_seats_and_reference_can_be_changed_and_the_rest_stays(licenses: Licenses) -> None:
    license = await issue(licenses, customer_ref="C-1", **{"for": DAY})
    changed = await change(licenses, license, plan="solo")
    assert (changed.plan, changed.seats_limit, changed.customer_ref) == ("solo", 1, "C-1")
    assert changed.expires_at == license.expires_at
    assert (await change(licenses, license, seats=9, customer_ref="C-2")).seats_limit == 9
    assert (await change(licenses, license, seats=None)).seats_limit == 1
    with pytest.raises(errors.NotFound, match="has no plan gold"):
        await change(licenses, license, plan="gold")
    with pytest.raises(errors.BadInput, match="--customer-fields"):
        await change(licenses, license, customer_name="Erika")


async def test_a_status_follows_the_clock(licenses: Licenses, clock: Stopped) -> None:
    license = await issue(licenses, **{"for": DAY})
    seen = []
    for days in (0.5, 1, GRACE):
        clock.step(days=days)
        status = license.status(clock.now())
        seen.append(status)
        found = await licenses.page(fields.read(wire.Filters, {"status": status}))
        assert [one.id for one in found] == [license.id]
    assert seen == ["active", "grace", "expired"]


# Lists


async def test_pages_walk_through_all_licenses_once(licenses: Licenses) -> None:
    issued = {(await issue(licenses)).id for _ in range(7)}
    seen: list[int] = []
    while page := await licenses.page(wire.Filters(), 3, seen[-1] if seen else 0):
        assert len(page) <= 3
        seen += [license.id for license in page]
    assert seen == sorted(issued)


async def test_a_list_can_be_narrowed(management: Management) -> None:
    licenses = management.licenses
    await management.products.add("desk", plan=plan(name="team"))
    ours = await issue(licenses, customer_ref="C-1")
    solo = await issue(licenses, "solo")
    await licenses.act(solo.id, Act.SUSPEND)
    theirs = (await licenses.issue("desk", "team", wire.Fields()))[1]
    for filters, expected in (
        ({"product": "shop"}, {ours.id, solo.id}),
        ({"plan": "team"}, {ours.id, theirs.id}),
        ({"status": "suspended"}, {solo.id}),
        ({"customer_ref": "C-1"}, {ours.id}),
        ({"product": "desk", "plan": "solo"}, set()),
    ):
        found = await licenses.page(fields.read(wire.Filters, filters))
        assert {license.id for license in found} == expected
    with pytest.raises(errors.BadInput, match="active, grace, expired, suspended, revoked"):
        await licenses.page(wire.Filters(status="unknown"))


async def test_pages_walk_through_all_installs_once(management: Management, db: Connection) -> None:
    both = [await issue(management.licenses), await issue(management.licenses)]
    expected = sorted([(one.id, await install(db, one, name)) for one in both for name in range(5)])
    seen: list[Place] = []
    while page := await management.instances.page("shop", None, 3, seen[-1] if seen else Place()):
        seen += [Place(found.license, found.digest) for found in page]
    assert seen == expected
    of_one = await management.instances.page(None, both[0].id)
    assert {found.license for found in of_one} == {both[0].id}
    with pytest.raises(errors.BadInput, match="or product is required"):
        await management.instances.page(None, None)


async def test_an_install_is_shown_with_its_state(management: Management, db: Connection) -> None:
    license = await issue(management.licenses)
    await install(db, license, forks=2)
    (found,) = await management.instances.page(None, license.id)
    assert (found.seat, found.state, found.version, found.country, found.forks) == (
        True,
        "active",
        "2.4.1",
        "LV",
        2,
    )


# Seats


async def test_one_seat_is_freed_or_all(licenses: Licenses, db: Connection, clock: Stopped) -> None:
    license = await issue(licenses, seats=5)
    first, _, _ = [await install(db, license, name) for name in (1, 2, 3)]
    clock.step(seconds=1)
    assert await licenses.release(license.id, first) == 1
    assert await licenses.release(license.id, first) == 0
    assert (await licenses.get(license.id)).used == 2
    assert await db.fetchval("select changed_at from instance where instance = $1", first) == clock.now()
    assert await licenses.release(license.id, None) == 2
    assert (await licenses.get(license.id)).used == 0
    assert await db.fetchval("select count(*) from instance where not seat") == 3


async def test_the_seat_of_an_install_that_is_not_there_is_not_freed(
    licenses: Licenses, db: Connection
) -> None:
    license, other = await issue(licenses), await issue(licenses)
    digest = await install(db, other)
    with pytest.raises(errors.NotFound, match="the license has no such install") as raised:
        await licenses.release(license.id, digest)
    assert raised.value.field == "instance"
    assert (await licenses.get(other.id)).used == 1


async def test_claims_and_releases_at_once_never_count_wrong(
    management: Management, dsn: str, db: Connection
) -> None:
    license = await issue(management.licenses, seats=3)
    digests = [await install(db, license, name) for name in (1, 2, 3)]
    database = Database(lambda: dsn, 8)
    installs, words = Installs(database), versions.install("1", "production", "", "", ())
    found = await installs.find(license.digest)
    assert found is not None
    results = await asyncio.gather(
        *(installs.claim(found, bytes([name]) * 32, words, "", NOW) for name in range(1, 13)),
        *(management.licenses.release(license.id, digest) for digest in digests * 2),
        *(management.licenses.release(license.id, None) for _ in range(2)),
        transfer(management.licenses, license, customer_ref="D-1"),
        return_exceptions=True,
    )
    await database.close()
    # A release may come after the transfer, which has forgotten the install.
    failed = [result for result in results if isinstance(result, BaseException)]
    assert {type(failure) for failure in failed} <= {errors.NotFound}
    taken = await db.fetchval("select count(*) from instance where seat")
    assert (await management.licenses.get(license.id)).used == taken <= 3


# One product only


async def test_for_one_product_there_are_no_licenses_of_others(management: Management) -> None:
    await management.products.add("desk", plan=plan(name="team"))
    key, root, license = await sold(management)
    theirs = management.limited((await management.products.find("desk")).product.id)
    for work in (
        theirs.licenses.get(license.id), theirs.licenses.find(key), theirs.licenses.act(license.id, Act.REVOKE),
        renew(theirs.licenses, license, expires_at=None), change(theirs.licenses, license, seats=1),
        transfer(theirs.licenses, license, customer_ref="D"), theirs.licenses.release(license.id, None),
        theirs.licenses.erase(license.id), theirs.instances.export(license.id),
        theirs.instances.page(None, license.id), write(theirs, Air(key, root).request),
    ):  # fmt: skip
        with pytest.raises(errors.NotFound):
            await work
    for refused in (
        theirs.instances.page("shop", None), theirs.licenses.issue("shop", "team", wire.Fields()),
    ):  # fmt: skip
        with pytest.raises(errors.NotAllowed, match="the token is for another product"):
            await refused
    assert await theirs.licenses.page(wire.Filters()) == []
    assert await management.licenses.get(license.id) == license
