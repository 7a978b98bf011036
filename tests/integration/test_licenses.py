"""Licenses: issued once, changed by the vendor, and gone when they are erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from headcount import errors
from headcount.licensing import keys
from headcount.services.licenses import Licenses
from headcount.services.products import Products
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import license as license_fields
from headcount.wire import plan as plan_fields
from make import Stopped

SECRET = Secret(bytes(range(32)))
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Stopped:
    return Stopped(NOW)


@pytest.fixture
async def licenses(dsn: str, clock: Stopped) -> AsyncIterator[Licenses]:
    """The licenses of the product shop with the plan team of five seats."""
    database = Database(lambda: dsn)
    team = fields.read(plan_fields.Fields, {"name": "team", "seats": 5})
    await Products(database, clock, SECRET).add("shop", plan=team)
    yield Licenses(database, clock, SECRET)
    await database.close()


def given(**values: Any) -> license_fields.Fields:
    return fields.read(license_fields.Fields, values)


async def test_a_license_is_issued_with_a_key(licenses: Licenses) -> None:
    key, license = await licenses.issue("shop", "team", given(customer_ref="C-17"))
    assert keys.shown(keys.parse(key)) == key
    assert (license.product, license.plan, license.standing) == ("shop", "team", "active")
    assert (license.seats, license.seats_limit, license.used) == (None, 5, 0)
    assert (license.expires_at, license.customer_ref) == (None, "C-17")
    assert await licenses.get(license.id) == license


async def test_a_customer_is_named_only_where_the_product_keeps_that(licenses: Licenses) -> None:
    with pytest.raises(errors.BadInput, match="product set shop --customer-fields"):
        await licenses.issue("shop", "team", given(customer_name="Erika Mustermann"))
