"""Products: their keys, plans and releases, and the key set that clients believe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from headcount import errors
from headcount.licensing import jws
from headcount.services.products import Products
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import plan as plan_fields
from make import Stopped

if TYPE_CHECKING:
    from make_rows import Connection

SECRET = Secret(bytes(range(32)))
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Stopped:
    return Stopped(NOW)


@pytest.fixture
async def products(dsn: str, clock: Stopped) -> AsyncIterator[Products]:
    database = Database(lambda: dsn)
    yield Products(database, clock, SECRET)
    await database.close()


def plan(**given: Any) -> plan_fields.Fields:
    return fields.read(plan_fields.Fields, given)


def keys_in(key_set: str, root: str) -> list[dict[str, Any]]:
    """The keys of a set that this root key has signed."""
    payload = jws.read(key_set, jws.KEYS, jws.ROOT, jws.decode(root))
    assert payload is not None
    found: list[dict[str, Any]] = payload["keys"]
    return found


async def test_a_product_has_a_root_key_that_certifies_a_key_for_each_use(products: Products) -> None:
    root, product = await products.add("shop")
    assert len(root) == 43
    assert [key["use"] for key in keys_in(product.key_set, root)] == ["check", "file"]
    assert sorted(key.kid for key in product.keys) == sorted(
        key["kid"] for key in keys_in(product.key_set, root)
    )


async def test_a_product_is_kept_as_it_was_added(products: Products) -> None:
    _, shop = await products.add("shop", plan=plan(name="team", seats=5, entitlements={"sso": True, "n": 7}))
    (kept,) = await products.all()
    assert (kept.name, kept.root, kept.key_set, kept.plans) == (
        shop.name,
        shop.root,
        shop.key_set,
        shop.plans,
    )
    assert {key.kid: key for key in kept.keys} == {key.kid: key for key in shop.keys}


async def test_the_keys_lie_encrypted(products: Products, db: Connection) -> None:
    _, product = await products.add("shop")
    for key in product.keys:
        private = SECRET.open(f"product key {key.kid}", key.private)
        assert private not in key.private
        payload = jws.read(
            jws.Signer(private, jws.CHECK, key.kid).sign({"a": 1}), jws.CHECK, key.kid, key.public
        )
        assert payload == {"a": 1}


async def test_a_name_can_be_taken_once(products: Products) -> None:
    await products.add("shop")
    with pytest.raises(errors.Conflict, match="the product shop exists already"):
        await products.add("shop")
    assert len(await products.all()) == 1
