"""From checks of real installs to the answers about their product, over midnight."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from asking import AskProduct
from headcount.licensing import keys
from vendor import Vendor, a_vendor

FLOW = ["installs", "new_installs", "returning_installs", "lost_installs", "heartbeats"]


@pytest.fixture
async def vendor(tmp_path: Path, dsn: str) -> AsyncIterator[Vendor]:
    async with a_vendor(tmp_path / "data", dsn, {"trusted_proxies": "127.0.0.1"}) as found:
        yield found


@pytest.fixture
def ask(vendor: Vendor) -> AskProduct:
    return AskProduct(vendor.database, vendor.clock, vendor.product.id)


async def test_a_day_is_told_as_it_was_counted(vendor: Vendor, ask: AskProduct) -> None:
    assert await ask.rows(metrics=FLOW) == [(0, 0, 0, 0, 0)]
    key = await vendor.issue()
    await vendor.check(key, "install-1")
    await vendor.check(key, "install-2", version="2.5.0")
    await vendor.check(key, "install-3", environment="staging")
    await vendor.check(keys.shown(keys.new()))
    await vendor.drain()
    await vendor.count()
    assert await ask.rows(metrics=FLOW) == [(2, 2, 0, 0, 3)]
    assert await ask.rows("install:version") == [("2.4.1", 1), ("2.5.0", 1)]
    assert await ask.rows("install:environment") == [("production", 2), ("staging", 1)]
    assert await ask.rows("install:status", metrics=["heartbeats", "installs"]) == [
        ("active", 3, 2),
        ("unknown", 1, 0),
    ]
    assert await ask.rows("install:version", "install:plan") == [("(other)", "(other)", 2)]


async def test_over_midnight_installs_are_those_of_the_last_day_that_was_counted(
    vendor: Vendor, ask: AskProduct
) -> None:
    key = await vendor.issue()
    await vendor.check(key, "install-1")
    await vendor.check(key, "install-2")
    await vendor.drain()
    await vendor.count()
    vendor.step(timedelta(hours=12, seconds=5))  # nothing has closed the day yet
    assert await ask.rows(metrics=FLOW) == [(2, 2, 0, 0, 2)]
    assert (await ask())["meta"]["installs_on"] == "2026-03-10"
    await vendor.check(key, "install-1")
    await vendor.drain()  # a check of the new day closes the old one, and nothing has counted the new one
    assert await ask.rows(metrics=FLOW) == [(2, 2, 0, 0, 3)]
    assert (await ask())["meta"]["installs_on"] == "2026-03-10"
    assert await ask.rows("time:day", metrics=["heartbeats", "installs"]) == [
        ("2026-03-10", 2, 2),
        ("2026-03-11", 1, None),
    ]
    await vendor.count()
    assert (await ask())["meta"]["installs_on"] == "2026-03-11"
    assert await ask.rows("time:day", metrics=FLOW) == [
        ("2026-03-10", 2, 2, 0, 0, 2),
        ("2026-03-11", 2, 0, 0, 0, 1),
    ]


async def test_an_install_that_falls_silent_is_lost_and_listed(vendor: Vendor, ask: AskProduct) -> None:
    key = await vendor.issue(customer_ref="C-7")
    await vendor.pass_by(hours=11.5)
    await vendor.check(key)
    await vendor.drain()
    heard = vendor.clock.now()
    for hours in (0.6, 4):  # over midnight, and on
        await vendor.pass_by(hours=hours)
        await vendor.count()
    assert await ask.rows(metrics=["installs", "new_installs", "lost_installs"]) == [(0, 1, 1)]
    assert await ask.rows("install:state", metrics=["installs", "lost_installs"]) == [("silent", 1, 1)]
    ((silent,), total) = await ask.reports.silent(ask.product)
    assert (silent.customer_ref, silent.last_seen, total) == ("C-7", heard, 1)


async def test_installs_that_need_no_seat_leave_nothing_to_be_counted(
    vendor: Vendor, ask: AskProduct
) -> None:
    key = await vendor.issue()
    await vendor.check(key, environment="staging")
    await vendor.drain()
    assert await ask.rows(metrics=["installs", "heartbeats"]) == [(0, 1)]
    await vendor.check(key, "install-2")
    await vendor.drain()
    assert await ask.rows(metrics=["installs", "heartbeats"]) == [(None, 2)]
    await vendor.count()
    assert await ask.rows(metrics=["installs", "heartbeats"]) == [(1, 2)]
