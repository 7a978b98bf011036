"""Products: their keys, plans and releases, and the key set that clients believe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from headcount import errors
from headcount.licensed import DAY, Product
from headcount.licensing import jws
from headcount.services.management import Management
from headcount.services.products import Products
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import license as license_fields
from headcount.wire import plan as plan_fields
from headcount.wire import release as release_fields
from make import NO_POSTGRES, Stopped

if TYPE_CHECKING:
    from make_rows import Connection

SECRET = Secret(bytes(range(32)))
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
AT = int(NOW.timestamp())


@pytest.fixture
def clock() -> Stopped:
    return Stopped(NOW)


@pytest.fixture
async def management(dsn: str, clock: Stopped) -> AsyncIterator[Management]:
    database = Database(lambda: dsn)
    yield Management(database, clock, SECRET)
    await database.close()


@pytest.fixture
def products(management: Management) -> Products:
    return management.products


def plan(**given: Any) -> plan_fields.Fields:
    return fields.read(plan_fields.Fields, given)


def release(**given: Any) -> release_fields.Fields:
    return fields.read(release_fields.Fields, given)


async def only(products: Products) -> Product:
    (product,) = await products.all()
    return product


def keys_in(product: Product) -> dict[str, dict[str, Any]]:
    """The keys of the set that the root key has signed, by kid."""
    payload = jws.read(product.key_set, jws.KEYS, jws.ROOT, product.root)
    assert payload is not None
    assert payload["product"] == product.name
    return {key["kid"]: key for key in payload["keys"]}


def believed(product: Product, text: str) -> dict[str, Any] | None:
    """The payload of an answer, if a key of the set has signed it that may."""
    for key in keys_in(product).values():
        payload = jws.read(text, jws.CHECK, key["kid"], jws.decode(key["x"]))
        if payload is not None and key["use"] == "check":
            return payload if payload["server_time"] <= key["not_after"] else None
    return None


def answer(product: Product, at: int = AT) -> str:
    """What a worker signs with the key in use."""
    key = next(key for key in product.keys if key.use == "check" and key.not_after is None)
    private = SECRET.open(f"product key {key.kid}", key.private)
    return jws.Signer(private, jws.CHECK, key.kid).sign({"server_time": at})


# Adding


async def test_a_product_has_a_root_key_that_certifies_a_key_for_each_use(products: Products) -> None:
    root, product = await products.add("shop")
    assert (len(root), jws.decode(root)) == (43, product.root)
    assert sorted(key["use"] for key in keys_in(product).values()) == ["check", "file"]
    assert keys_in(product).keys() == {key.kid for key in product.keys}
    assert believed(product, answer(product)) == {"server_time": AT}


async def test_a_product_is_kept_as_it_was_added(products: Products) -> None:
    _, shop = await products.add(
        "shop", plan=plan(name="team", seats=5, entitlements={"sso": True, "n": 7, "t": "x"})
    )
    kept = await only(products)
    assert (kept.name, kept.root, kept.key_set, kept.plans) == (
        shop.name,
        shop.root,
        shop.key_set,
        shop.plans,
    )
    assert {key.kid: key for key in kept.keys} == {key.kid: key for key in shop.keys}


async def test_private_keys_lie_encrypted(products: Products, db: Connection) -> None:
    _, product = await products.add("shop")
    stored = await db.fetchval("select root_private from product")
    for private in (
        SECRET.open(f"root key {product.id}", stored),
        *(SECRET.open(f"product key {key.kid}", key.private) for key in product.keys),
    ):
        assert len(private) == 32
        for table in ("product", "product_key"):
            assert private.hex() not in repr(
                [
                    [value.hex() if isinstance(value, bytes) else value for value in row.values()]
                    for row in await db.fetch(f"select * from {table}")
                ]
            )
    with pytest.raises(errors.BadConfig, match="HEADCOUNT_SECRET_KEY is not the one"):
        Secret(bytes(32)).open(f"root key {product.id}", stored)


async def test_a_name_can_be_taken_once(products: Products) -> None:
    await products.add("shop")
    with pytest.raises(errors.Conflict, match="the product shop exists already"):
        await products.add("shop")
    assert (await only(products)).plans == ()


@pytest.mark.parametrize("name", ["", "Shop", "a b", "-a", "a" * 64, "a\0"])
async def test_a_product_with_a_bad_name_is_not_made(products: Products, name: str) -> None:
    with pytest.raises(errors.BadInput, match="1 to 63 of the characters") as raised:
        await products.add(name)
    assert raised.value.field == "name"
    assert await products.all() == []


async def test_a_product_whose_first_plan_has_a_fault_is_not_made(products: Products) -> None:
    with pytest.raises(errors.BadInput, match="from 0 to 1000000"):
        await products.add("shop", plan=plan(name="team", seats=-1))
    assert await products.all() == []


async def test_what_is_not_there_is_not_found(products: Products) -> None:
    for name in ("shop", "a\0b", "\ud800", "x" * 5000):
        with pytest.raises(errors.NotFound, match="there is no product") as raised:
            await products.find(name)
        assert len(raised.value.message) < 100


async def test_without_postgres_everything_says_so(clock: Stopped) -> None:
    products = Products(Database(lambda: NO_POSTGRES), clock, SECRET)
    for work in (
        products.all(),
        products.add("shop"),
        products.rotate_key("shop"),
        products.renew_key_sets(),
    ):
        with pytest.raises(errors.DatabaseDown):
            await work


# Keys


async def test_after_a_rotation_both_keys_are_believed_until_the_overlap_ends(
    products: Products, clock: Stopped
) -> None:
    _, before = await products.add("shop")
    clock.step(days=1)
    await products.rotate_key("shop", 30)
    after = await only(products)
    old = before.keys[0].kid
    assert len(keys_in(after)) == 4
    assert keys_in(after)[old]["not_after"] == AT + 31 * DAY
    assert believed(after, answer(before)) is not None
    assert believed(after, answer(after)) is not None
    assert believed(before, answer(after)) is None


async def test_a_retired_key_can_sign_no_more(products: Products) -> None:
    await products.add("shop")
    await products.rotate_key("shop")
    assert sorted((key.not_after is None, key.private == b"") for key in (await only(products)).keys) == [
        (False, True), (False, True), (True, False), (True, False),
    ]  # fmt: skip


async def test_after_a_rotation_at_once_the_old_keys_are_believed_no_more(
    products: Products, clock: Stopped
) -> None:
    _, before = await products.add("shop")
    clock.step(days=1)
    await products.rotate_key("shop")
    clock.step(days=1)
    await products.rotate_key("shop", at_once=True)
    after = await only(products)
    assert len(keys_in(after)) == len(after.keys) == 2
    assert believed(after, answer(before)) is None
    assert believed(after, answer(after)) is not None


async def test_the_root_key_stays_and_the_sequence_rises(products: Products, clock: Stopped) -> None:
    _, before = await products.add("shop")
    clock.step(days=-1)
    await products.rotate_key("shop")
    after = await only(products)
    sequences = [
        (jws.read(one.key_set, jws.KEYS, jws.ROOT, before.root) or {})["sequence"] for one in (before, after)
    ]
    assert after.root == before.root
    assert sequences[1] > sequences[0]


async def test_rotations_at_once_leave_one_set_that_knows_all_its_keys(products: Products) -> None:
    await products.add("shop")
    await asyncio.gather(*(products.rotate_key("shop") for _ in range(4)))
    after = await only(products)
    assert keys_in(after).keys() == {key.kid for key in after.keys}
    assert len([key for key in after.keys if key.not_after is None]) == 2


@pytest.mark.parametrize("days", [0, 366, -1])
async def test_an_overlap_has_limits(products: Products, days: int) -> None:
    _, before = await products.add("shop")
    with pytest.raises(errors.BadInput, match="from 1 to 365") as raised:
        await products.rotate_key("shop", days)
    assert raised.value.field == "overlap_days"
    assert (await only(products)).key_set == before.key_set


async def test_a_key_set_is_signed_anew_when_it_is_older_than_a_day(
    products: Products, clock: Stopped
) -> None:
    _, first = await products.add("shop")
    clock.step(hours=23)
    await products.renew_key_sets()
    assert (await only(products)).key_set == first.key_set
    clock.step(hours=2)
    await products.renew_key_sets()
    assert {key["not_after"] for key in keys_in(await only(products)).values()} == {AT + 25 * 3600 + 90 * DAY}


async def test_a_key_goes_when_its_overlap_has_ended(products: Products, clock: Stopped) -> None:
    await products.add("shop")
    await products.rotate_key("shop", 2)
    clock.step(days=2)
    await products.renew_key_sets()
    after = await only(products)
    assert len(keys_in(after)) == len(after.keys) == 2


# Plans


async def test_a_plan_is_added_and_changed_and_what_is_not_given_stays(products: Products) -> None:
    await products.add("shop")
    team = await products.add_plan("shop", plan(name="team", seats=5, grace=0))
    assert (await only(products)).plans == (team,)
    changed = await products.set_plan("shop", "team", plan(seats=None, environments=["test"]))
    assert (changed.id, changed.seats, changed.grace, changed.environments) == (team.id, None, 0, ("test",))
    assert (await only(products)).plans == (changed,)


async def test_a_plan_with_a_fault_is_not_changed(products: Products) -> None:
    _, before = await products.add("shop", plan=plan(name="team"))
    for given, field in (({"seats": -1}, "seats"), ({"lease": 1}, "lease"), ({"name": "other"}, "name")):
        with pytest.raises(errors.BadInput) as raised:
            await products.set_plan("shop", "team", plan(**given))
        assert raised.value.field == field
    assert (await only(products)).plans == before.plans


async def test_a_plan_has_a_name_of_its_own_in_each_product(products: Products) -> None:
    for name in ("shop", "desk"):
        await products.add(name, plan=plan(name="team"))
    with pytest.raises(errors.Conflict, match="the plan team exists already"):
        await products.add_plan("shop", plan(name="team"))
    with pytest.raises(errors.NotFound, match="the product has no plan solo"):
        await products.set_plan("shop", "solo", plan(seats=1))
    with pytest.raises(errors.BadInput, match="is required"):
        await products.add_plan("shop", plan(seats=1))


async def test_two_changes_of_a_plan_at_once_are_both_there(products: Products) -> None:
    await products.add("shop", plan=plan(name="team"))
    changes = plan(seats=7), plan(grace=0), plan(entitlements={"sso": True}), plan(environments=["ci"])
    await asyncio.gather(*(products.set_plan("shop", "team", change) for change in changes))
    (team,) = (await only(products)).plans
    assert (team.seats, team.grace, team.entitlements, team.environments) == (7, 0, {"sso": True}, ("ci",))


# Releases


async def test_a_release_is_listed_replaced_and_withdrawn(products: Products) -> None:
    await products.add("shop", plan=plan(name="team"))
    await products.release("shop", release(version="2.4", url="https://a.example/2.4"))
    again = await products.release(
        "shop", release(version="2.4", notes="Mends it", security=True, plans=["team"])
    )
    beta = await products.release("shop", release(version="2.5-beta.1", channel="beta", minimum="2.0"))
    assert set((await only(products)).releases) == {again, beta}
    await products.withdraw("shop", "stable", "v2.4")
    assert (await only(products)).releases == (beta,)
    with pytest.raises(errors.NotFound, match=r"the channel stable has no release 2.4"):
        await products.withdraw("shop", "stable", "2.4")


async def test_a_release_for_a_plan_that_is_not_there_is_refused(products: Products) -> None:
    await products.add("shop")
    with pytest.raises(errors.BadInput, match="has no plan team") as raised:
        await products.release("shop", release(version="1", plans=["team"]))
    assert raised.value.field == "plans"
    assert (await only(products)).releases == ()


async def test_a_product_has_at_most_so_many_releases(
    products: Products, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_fields, "MAX_RELEASES", 2)
    await products.add("shop")
    for version in ("1", "2", "2"):
        await products.release("shop", release(version=version))
    with pytest.raises(errors.BadInput, match="at most 2 releases"):
        await products.release("shop", release(version="3"))


# Customer fields


async def test_switched_off_the_customer_fields_are_emptied(management: Management, db: Connection) -> None:
    await management.products.add("shop", customer_fields=True, plan=plan(name="team"))
    named = fields.read(
        license_fields.Fields,
        {"customer_name": "Erika", "customer_email": "e@a.example", "customer_ref": "C-1"},
    )
    await management.licenses.issue("shop", "team", named)
    assert await management.products.set("shop", customer_fields=True) == 0
    assert await management.products.set("shop", customer_fields=False) == 1
    kept = await db.fetchrow("select customer_ref, customer_name, customer_email from license")
    assert tuple(kept or ()) == ("C-1", "", "")
    assert (await management.products.find("shop")).customer_fields is False


# One product only


async def test_for_one_product_there_are_no_others(management: Management) -> None:
    _, shop = await management.products.add("shop", plan=plan(name="team"))
    await management.products.add("desk", plan=plan(name="team"))
    products = management.limited(shop.id).products
    assert [product.name for product in await products.all()] == ["shop"]
    for work in (
        products.find("desk"),
        products.rotate_key("desk"),
        products.add_plan("desk", plan(name="solo")),
        products.set_plan("desk", "team", plan(seats=1)),
        products.release("desk", release(version="1")),
        products.withdraw("desk", "stable", "1"),
        products.set("desk", customer_fields=True),
        products.add("third"),
    ):
        with pytest.raises(errors.NotAllowed):
            await work
    assert len(await management.products.all()) == 2
