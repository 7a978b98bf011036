"""What whoever holds a key may ask: free a seat, see everything, have it erased, see what a check would store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headcount.licensing import keys
from headcount.model import Scope
from headcount.services.licenses import STAYS_FOR_THE_HOLDER
from vendor import NAME, Vendor, question

if TYPE_CHECKING:
    from conftest import Connection


async def checked(vendor: Vendor, **fields: Any) -> str:
    """A key whose install has checked, with everything in Postgres."""
    key = await vendor.issue(**fields)
    await vendor.check(key, os="linux")
    await vendor.drain()
    return key


async def test_an_install_that_ends_frees_its_seat(vendor: Vendor) -> None:
    key = await checked(vendor, seats=1)
    assert (await vendor.check(key, "install-2"))["status"] == "over_seats"
    asked = {"key": key, "product": NAME, "instance": "install-1"}
    assert await vendor.post("release", asked) == (200, {"released": True})
    assert await vendor.post("release", asked) == (200, {"released": False})
    await vendor.settle()
    assert (await vendor.check(key, "install-2"))["status"] == "active"


async def test_a_lost_install_is_freed_by_its_digest_with_the_token_of_the_vendor(vendor: Vendor) -> None:
    key = await checked(vendor)
    asked = {"key": key, "instance_digest": keys.instance_digest(keys.parse(key), "install-1").hex()}
    status, body = await vendor.post("release", asked)
    assert (status, list(body["errors"])) == (401, ["authorization"])
    text, _ = await vendor.sites.add_token(None, (Scope.LICENSES_WRITE,))
    await vendor.settle()
    bearer = {"Authorization": f"Bearer {text}"}
    assert await vendor.post("release", asked, bearer) == (200, {"released": True})


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({}, 400, "instance"),
        ({"instance": "unheard-of"}, 404, "instance"),
        ({"instance_digest": "zz"}, 400, "instance_digest"),
        ({"instance": "install-1", "product": "none"}, 404, "product"),
    ],
)
async def test_a_bad_release_names_the_field(
    vendor: Vendor, more: dict[str, str], status: int, field: str
) -> None:
    answered, body = await vendor.post("release", {"key": await checked(vendor), **more})
    assert (answered, list(body["errors"])) == (status, [field])


@pytest.mark.parametrize("path", ["release", "about", "erase"])
async def test_an_unknown_key_learns_nothing(vendor: Vendor, path: str) -> None:
    asked = {"key": keys.shown(keys.new()), "instance": "install-1"}
    assert await vendor.post(path, asked) == (404, {"errors": {"key": ["there is no such license"]}})


async def test_a_holder_sees_every_field_that_is_kept_with_its_reason(vendor: Vendor, db: Connection) -> None:
    key = await checked(vendor, customer_ref="C-77")
    status, found = await vendor.post("about", {"key": key})
    assert status == 200
    assert found["license"]["customer_ref"] == "C-77"
    assert [len(found[part]) for part in ("instances", "heartbeats", "sharing")] == [1, 1, 1]
    for part, row in (("license", found["license"]), ("instances", found["instances"][0])):
        assert row.keys() == found["why"][part].keys()


async def test_a_holder_can_read_it_as_text(vendor: Vendor) -> None:
    key = await checked(vendor)
    assert vendor.worker is not None
    async with vendor.worker.client.post(
        "/api/license/about", json={"key": key}, headers={"Accept": "text/plain"}
    ) as response:
        text = await response.text()
    assert "everything that Headcount keeps" in text
    assert "os = linux\n      Operating system, one of a list." in text


async def test_an_erasure_leaves_the_license_and_counts(vendor: Vendor, db: Connection) -> None:
    key = await checked(vendor)
    status, body = await vendor.post("erase", {"key": key})
    assert (status, body["stays"]) == (200, STAYS_FOR_THE_HOLDER)
    assert body["erased"] == {"installs": 1, "heartbeats": 1, "sharing": 1}
    for table in ("instance", "heartbeat", "sharing"):
        assert await db.fetchval(f"select count(*) from {table}") == 0
    assert await db.fetchval("select used from license") == 0
    assert await db.fetchval("select sum(heartbeats) from install_count where dimension = ''") == 1
    await vendor.settle()
    assert (await vendor.check(key))["seats"] == {"used": 1, "limit": 5}


async def test_a_dry_run_shows_what_a_check_then_stores(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue()
    asked = question(key, os="Linux", version="2.4.1", hostname="web01.example.com")
    del asked["nonce"]
    status, shown = await vendor.post("dry-run", asked)
    assert (status, shown["dropped_fields"]) == (200, 1)
    await vendor.drain()
    assert await db.fetchval("select count(*) from heartbeat") == 0
    assert await db.fetchval("select used from license") == 0
    await vendor.check(key, os="Linux", hostname="web01.example.com")
    await vendor.drain()
    (row,) = await db.fetch("select * from heartbeat")
    told = shown["heartbeat"]
    for name in ("version", "country", "environment", "os", "arch", "status"):
        assert row[name] == told[name]
    assert row["instance"].hex() == told["instance"]
    assert int(row["minute"].timestamp()) == told["minute"]
    names = {name.removesuffix("_id") for name in row.keys()}  # noqa: SIM118 - a record's keys
    assert names == told.keys() - {"kept"}
