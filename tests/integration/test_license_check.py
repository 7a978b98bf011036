"""License checks on a real worker, a real Postgres and a real rollup, step by step."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import make
from headcount.licensing import jws, keys
from headcount.web import keys as web_keys
from vendor import NAME, Vendor, a_worker, postgres_down, question

if TYPE_CHECKING:
    from conftest import Connection


# What is answered


async def test_an_answer_says_what_was_asked_and_until_when_it_holds(vendor: Vendor) -> None:
    key = await vendor.issue()
    asked = question(key, keys=True)
    status, body = await vendor.post("check", asked)
    answer = vendor.verified(body, asked["nonce"])
    plain, now = keys.parse(key), int(vendor.clock.now().timestamp())
    token = answer.pop("token")
    assert (status, len(token) > 20) == (200, True)
    assert answer == {
        "status": "active",
        "conclusive": True,
        "key_digest": keys.digest(plain).hex(),
        "product": NAME,
        "instance_digest": keys.instance_digest(plain, "install-1").hex(),
        "nonce": asked["nonce"],
        "plan": "team",
        "entitlements": {},
        "seats": {"used": 1, "limit": 5},
        "server_time": now,
        "check_after": now + 3600,
        "valid_until": now + 7 * 86400,
        "grace_until": now + 21 * 86400,
        "expires_at": None,
        "sequence": now * 1_000_000,
    }


async def test_an_unknown_key_gets_an_answer_of_the_same_shape(vendor: Vendor) -> None:
    known = await vendor.check(await vendor.issue())
    unknown = await vendor.check(keys.shown(keys.new()))
    assert unknown["status"] == "unknown"
    assert unknown.keys() == known.keys()
    assert unknown["valid_until"] == unknown["grace_until"] == unknown["server_time"]


async def test_a_key_of_another_product_opens_nothing(vendor: Vendor) -> None:
    key = await vendor.issue()
    text, _ = await vendor.products.add("other")
    await vendor.settle()
    vendor.root = jws.decode(text)
    other = vendor.node.settings.product("other")
    assert other is not None
    asked = {**question(key), "product": "other", "keys": True}
    _, body = await vendor.post("check", asked)
    answer = vendor.verified(body, asked["nonce"])
    assert (answer["status"], answer["product"], answer["plan"]) == ("wrong_product", "other", None)


@pytest.mark.parametrize("status", ["suspended", "revoked"])
async def test_what_the_vendor_has_stopped_is_refused_at_once(
    vendor: Vendor, db: Connection, status: str
) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await db.execute("update license set standing = $1, changed_at = $2", status, vendor.clock.now())
    await vendor.settle()
    answer = await vendor.check(key)
    assert (answer["status"], answer["valid_until"]) == (status, answer["server_time"])


async def test_a_license_ends_after_its_grace(vendor: Vendor) -> None:
    ends = int(vendor.clock.now().timestamp()) + 60
    key = await vendor.issue(expires_at=ends)
    assert (await vendor.check(key))["status"] == "active"
    vendor.step(timedelta(minutes=1))
    late = await vendor.check(key)
    assert (late["status"], late["grace_until"]) == ("grace", ends + 14 * 86400)
    vendor.step(timedelta(days=14))
    assert (await vendor.check(key))["status"] == "expired"


async def test_the_server_answers_that_a_mistyped_key_is_one(vendor: Vendor) -> None:
    key = await vendor.issue()
    typo = key[:-1] + ("0" if key[-1] != "0" else "1")
    status, body = await vendor.post("check", question(typo))
    assert (status, list(body["errors"])) == (400, ["key"])
    assert typo not in str(body)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"key": None}, 400, "key"),
        ({"key": 7}, 400, "key"),
        ({"product": "none"}, 404, "product"),
        ({"product": "A B"}, 400, "product"),
        ({"instance": "short"}, 400, "instance"),
        ({"instance": "x" * 201}, 400, "instance"),
        ({"instance": "nul\0" * 4}, 400, "instance"),
        ({"version": None}, 400, "version"),
        ({"version": "9" * 101}, 400, "version"),
        ({"nonce": "short"}, 400, "nonce"),
        ({"nonce": "ä" * 30}, 400, "nonce"),
        ({"nonce": None}, 400, "nonce"),
        ({"environment": 1}, 400, "environment"),
        ({"keys": "yes"}, 400, "keys"),
        ({"token": "x" * 201}, 400, "token"),
        ({"more": "x" * 9000}, 413, "body"),
    ],
)
async def test_a_bad_question_names_the_field(
    vendor: Vendor, change: dict[str, Any], status: int, field: str
) -> None:
    answered, body = await vendor.post("check", {**question(await vendor.issue()), **change})
    assert (answered, list(body["errors"])) == (status, [field])


async def test_words_that_nobody_knows_change_nothing_but_what_is_kept(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    answer = await vendor.check(
        key, version="mine", os="Plan 9", arch="pdp11", environment="web01.example.com"
    )
    await vendor.drain()
    (row,) = await db.fetch("select version, os, arch, environment, status from heartbeat")
    assert (answer["status"], tuple(row)) == ("active", ("", "other", "other", "other", "active"))


async def test_fields_that_have_no_place_are_dropped_and_counted(vendor: Vendor, db: Connection) -> None:
    await vendor.check(await vendor.issue(), hostname="web01.example.com", email="a@example.com")
    await vendor.check(await vendor.issue(), unknown=0)
    await vendor.drain()
    count = await db.fetchval("select count from dropped where reason = 'license_unknown_field'")
    assert count == 3


async def test_an_install_is_told_of_a_newer_release(vendor: Vendor, db: Connection) -> None:
    await db.execute(
        "insert into release values ($1, 'stable', '2.5.0', 'https://a.example', 'Better', true, '2.0', '{}', $2)",
        vendor.product.id,
        vendor.clock.now(),
    )
    await vendor.settle()
    key = await vendor.issue()
    told = (await vendor.check(key))["update"]
    assert told == {
        "version": "2.5.0",
        "url": "https://a.example",
        "notes": "Better",
        "security": True,
        "minimum": "2.0",
    }
    assert "update" not in await vendor.check(key, version="2.5.0")


async def test_a_product_that_is_not_known_has_no_keys(vendor: Vendor) -> None:
    assert await vendor.get("/api/license/keys?product=none") == (
        404,
        {"errors": {"product": ["there is no such product here"]}},
    )


async def test_the_keys_are_open_to_all(vendor: Vendor) -> None:
    _, signed = await vendor.get(f"/api/license/keys?product={NAME}")
    found = jws.read(signed["keys"], jws.KEYS, jws.ROOT, vendor.root)
    _, body = await vendor.get("/.well-known/jwks.json")
    plain = body["keys"]
    assert found is not None
    assert [(key["kid"], key["x"]) for key in found["keys"] if key["use"] == "check"] == [
        (key["kid"], key["x"]) for key in plain
    ]
    assert {(key["alg"], key["kty"], key["crv"]) for key in plain} == {("Ed25519", "OKP", "Ed25519")}


# Seats


async def test_seat_race(vendor: Vendor, db: Connection) -> None:
    """200 first checks at once on five seats give exactly five."""
    key = await vendor.issue()
    answers = await asyncio.gather(*(vendor.check(key, f"install-{n}") for n in range(200)))
    # On a busy machine Postgres may take too long for some of them: those are told that nothing is decided yet.
    sure = [answer for answer in answers if answer["conclusive"]]
    assert Counter(answer["status"] for answer in sure)["active"] <= 5
    assert {answer["status"] for answer in sure} <= {"active", "over_seats"}
    assert {a["seats"]["used"] for a in sure if a["status"] == "over_seats"} == {5}
    assert await db.fetchval("select used from license") == 5
    assert await db.fetchval("select count(*) from instance where seat") == 5


async def test_one_install_that_asks_many_times_at_once_takes_one_seat(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    answers = await asyncio.gather(*(vendor.check(key) for _ in range(40)))
    assert {answer["status"] for answer in answers} == {"active"}
    assert await db.fetchval("select used from license") == 1


async def test_a_known_install_succeeds_when_all_seats_are_taken(vendor: Vendor) -> None:
    key = await vendor.issue(seats=1)
    await vendor.check(key, "install-1")
    assert (await vendor.check(key, "install-2"))["status"] == "over_seats"
    assert (await vendor.check(key, "install-1"))["status"] == "active"  # before the copy knows it
    await vendor.settle()
    assert (await vendor.check(key, "install-1"))["status"] == "active"


async def test_an_environment_that_does_not_count_needs_no_seat(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue(seats=0)
    assert (await vendor.check(key, environment="staging"))["status"] == "active"
    assert (await vendor.check(key))["status"] == "over_seats"
    await vendor.drain()
    assert await db.fetchval("select used from license") == 0


async def test_a_silent_install_frees_its_seat_and_gets_it_again(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue(seats=1)
    await vendor.check(key, "install-1")
    await vendor.drain()
    await vendor.pass_by(days=6)
    await vendor.free_silent()
    assert await db.fetchval("select used from license") == 1
    await vendor.pass_by(days=2)
    await vendor.free_silent()
    await vendor.settle()
    assert await db.fetchval("select used from license") == 0
    assert await db.fetchval("select count(*) from instance") == 1
    assert (await vendor.check(key, "install-2"))["status"] == "active"
    assert (await vendor.check(key, "install-1"))["status"] == "over_seats"
    await vendor.drain()
    await vendor.pass_by(days=8)
    await vendor.free_silent()
    await vendor.settle()
    assert (await vendor.check(key, "install-1"))["status"] == "active"


async def test_time_in_which_heartbeats_could_not_arrive_is_no_silence(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue()
    await vendor.check(key)
    await vendor.drain()
    vendor.step(timedelta(days=30))  # the server was off
    await vendor.jobs.tick()
    await vendor.free_silent()
    assert await db.fetchval("select used from license") == 1


async def test_two_checks_at_once_of_an_install_that_returns_take_one_seat(
    vendor: Vendor, db: Connection
) -> None:
    key = await vendor.issue(seats=3)
    await vendor.check(key)
    await vendor.drain()
    await vendor.pass_by(days=8)
    await vendor.free_silent()
    await vendor.settle()
    answers = await asyncio.gather(*(vendor.check(key) for _ in range(20)))
    assert {answer["status"] for answer in answers} == {"active"}
    assert await db.fetchval("select used from license") == 1


# Outage


async def test_without_postgres_a_known_install_is_answered_and_a_new_one_for_a_while(vendor: Vendor) -> None:
    key = await vendor.issue()
    await vendor.check(key, "install-1")
    await vendor.settle()
    async with postgres_down(vendor):
        known = await vendor.check(key, "install-1")
        new = await vendor.check(key, "install-2")
        unknown, _ = await vendor.post("check", question(keys.shown(keys.new())))
        assert vendor.worker is not None
        counted = vendor.worker.app[web_keys.FIGURES]
        assert (counted.checks, counted.checks_refused) == ({"active": 2}, {"license_busy": 1})
        assert await vendor.worker.dropped() == {"license_busy": 1}
    assert (known["status"], known["conclusive"]) == ("active", True)
    assert (new["status"], new["conclusive"]) == ("active", False)
    assert new["valid_until"] == new["grace_until"] == new["server_time"] + 14 * 86400
    assert unknown == 503


async def test_heartbeats_of_an_outage_arrive_later_and_once(vendor: Vendor, db: Connection) -> None:
    key = await vendor.issue(seats=2)
    await vendor.check(key, "install-1")
    await vendor.settle()
    async with postgres_down(vendor):
        for _ in range(3):
            await vendor.check(key, "install-1")
            await vendor.check(key, "install-2")
    assert (await vendor.check(key, "install-2"))["conclusive"] is True
    await vendor.drain()
    await vendor.drain()
    assert await db.fetchval("select count(*) from heartbeat") == 8
    assert await db.fetchval("select used from license") == 2
    assert [tuple(row) for row in await db.fetch("select seat, count(*) from instance group by seat")] == [
        (True, 2)
    ]


async def test_a_node_with_another_secret_says_so_and_answers_nothing(
    vendor: Vendor,
) -> None:
    key = await vendor.issue()
    other = jws.encode(bytes(32))
    async with a_worker(vendor, make.NO_POSTGRES, {"secret_key": other}) as vendor.worker:
        status, body = await vendor.post("check", question(key, environment="staging"))
    assert status == 503
    assert "HEADCOUNT_SECRET_KEY" in body["errors"]["server"][0]
