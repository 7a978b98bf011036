"""`/api/v1/products`, `plans`, `licenses` and `instances`: every route, whose token may, and that a repeat is one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import make
from headcount.licensed import DAY
from headcount.licensing import keys
from headcount.web import routes
from make import Worker
from selling import Air, everything, install_of

if TYPE_CHECKING:
    from make_rows import Connection

ONCE = {"Idempotency-Key": "order-17"}
TEAM = {"name": "team", "seats": 2, "entitlements": {"sso": True}}
PRODUCT = {"name": "shop", "plan": TEAM}
LICENSE = {"product": "shop", "plan": "team"}


@pytest.fixture
async def worker(tmp_path: Path, dsn: str) -> AsyncIterator[Worker]:
    async with make.managed(tmp_path, dsn) as worker:
        yield worker


async def ask(
    worker: Worker, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
) -> tuple[int, Any]:
    async with worker.client.request(method, f"/api/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def made(worker: Worker, path: str, body: Any) -> Any:
    status, answer = await ask(worker, "POST", path, body)
    assert status == 201, answer
    return answer


async def a_license(worker: Worker, **given: Any) -> Any:
    """A new license of the product shop, which is made if it is not there."""
    await ask(worker, "POST", "products", PRODUCT)
    return await made(worker, "licenses", {**LICENSE, **given})


async def token(worker: Worker, **given: Any) -> dict[str, str]:
    """The header of a new token."""
    return {"Authorization": f"Bearer {(await made(worker, 'tokens', given))['token']}"}


def fault(status: int, field: str, text: str) -> tuple[int, Any]:
    return status, {"errors": {field: [text]}}


# Products and plans


async def test_a_product_is_added_with_its_first_plan(worker: Worker) -> None:
    product = await made(worker, "products", PRODUCT)
    assert (product["name"], len(product["root_key"]), product["customer_fields"]) == ("shop", 43, False)
    assert sorted(key["use"] for key in product["keys"]) == ["check", "file"]
    assert {key["not_after"] for key in product["keys"]} == {None}
    (plan,) = product["plans"]
    assert (plan["seats"], plan["product"], plan["lease"]) == (2, "shop", 14 * DAY)
    assert int(plan["id"]) > 0
    assert await ask(worker, "GET", "products/shop") == (200, product)
    assert await ask(worker, "GET", "products") == (200, {"products": [product]})
    assert "private" not in json.dumps(product)


async def test_a_new_product_answers_checks_as_soon_as_it_is_acknowledged(worker: Worker) -> None:
    await made(worker, "products", PRODUCT)
    async with worker.client.get("/api/license/keys?product=shop") as response:
        assert response.status == 200


async def test_a_product_is_changed(worker: Worker) -> None:
    await made(worker, "products", {"name": "shop", "customer_fields": True})
    status, product = await ask(worker, "PUT", "products/shop", {"customer_fields": False})
    assert (status, product["customer_fields"], product["emptied"]) == (200, False, 0)
    assert await ask(worker, "PUT", "products/shop", {}) == fault(
        400, "customer_fields", "is required: true or false"
    )


@pytest.mark.parametrize(("body", "keys_after"), [({}, 4), ({"overlap_days": 1}, 4), ({"now": True}, 2)])
async def test_keys_are_rotated(worker: Worker, body: Any, keys_after: int) -> None:
    before = await made(worker, "products", PRODUCT)
    status, after = await ask(worker, "POST", "products/shop/rotate-key", body)
    assert (status, len(after["keys"]), after["root_key"]) == (200, keys_after, before["root_key"])
    in_use = {key["kid"] for key in after["keys"] if key["not_after"] is None}
    assert in_use.isdisjoint(key["kid"] for key in before["keys"])


async def test_a_release_is_added_listed_and_withdrawn(worker: Worker) -> None:
    await made(worker, "products", PRODUCT)
    release = await made(worker, "products/shop/releases", {"version": "2.4.1", "plans": ["team"]})
    assert release == {
        "version": "2.4.1", "channel": "stable", "url": "", "notes": "", "security": False, "minimum": "",
        "plans": ["team"],
    }  # fmt: skip
    assert await ask(worker, "GET", "products/shop/releases") == (200, {"releases": [release]})
    gone = {"channel": "stable", "version": "2.4.1", "withdrawn": True}
    assert await ask(worker, "DELETE", "products/shop/releases/stable/2.4.1") == (200, gone)
    assert await ask(worker, "GET", "products/shop/releases") == (200, {"releases": []})


async def test_a_plan_is_added_listed_and_changed(worker: Worker) -> None:
    await made(worker, "products", {"name": "shop"})
    plan = await made(worker, "plans", {"product": "shop", **TEAM})
    assert await ask(worker, "GET", "plans?product=shop") == (200, {"plans": [plan]})
    assert await ask(worker, "GET", "plans") == (200, {"plans": [plan]})
    assert await ask(worker, "GET", f"plans/{plan['id']}") == (200, plan)
    changed = {**plan, "seats": None, "grace": 0}
    assert await ask(worker, "PUT", f"plans/{plan['id']}", {"seats": None, "grace": 0}) == (200, changed)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field", "says"),
    [
        ("POST", "products", {}, 400, "name", "is required"),
        ("POST", "products", [], 400, "body", "must be a JSON object"),
        ("POST", "products", {"name": "shop"}, 409, "name", "the product shop exists already"),
        ("POST", "products", {"name": "a", "seats": 5}, 400, "seats", "there is only name, customer_fields, plan"),
        ("POST", "products", {"name": "a", "plan": {"name": "b", "seats": -1}}, 400, "seats", "from 0 to 1000000"),
        ("POST", "products", {"name": "a", "plan": {}}, 400, "name", "is required"),
        ("POST", "products", {"name": "a", "plan": 1}, 400, "plan", "Expected `object`"),
        ("GET", "products?limt=1", None, 400, "limt", "there is only limit, after"),
        ("GET", "products/desk", None, 404, "product", "there is no product desk"),
        ("PUT", "products/desk", {"customer_fields": True}, 404, "product", "there is no product desk"),
        ("POST", "products/shop/rotate-key", {"overlap_days": 0}, 400, "overlap_days", "from 1 to 365"),
        ("POST", "products/shop/releases", {"version": "x"}, 400, "version", "such as 2.4.1"),
        ("DELETE", "products/shop/releases/stable/1", None, 404, "version", "stable has no release 1"),
        ("POST", "plans", {"name": "a"}, 400, "product", "is required"),
        ("POST", "plans", {"product": "shop", **TEAM}, 409, "name", "the plan team exists already"),
        ("POST", "plans", {"product": "shop", "name": "a", "lease": 5}, 400, "lease", "at least 3 times"),
        ("GET", "plans?product=desk", None, 404, "product", "there is no product desk"),
        ("GET", "plans/12", None, 404, "plan", "there is no such plan"),
        ("PUT", "plans/twelve", {"seats": 1}, 404, "plan", "there is no such plan"),
    ],
)  # fmt: skip
async def test_a_fault_of_products_and_plans_names_its_field(
    worker: Worker, method: str, path: str, body: Any, status: int, field: str, says: str
) -> None:
    before = await made(worker, "products", PRODUCT)
    found, answer = await ask(worker, method, path, body)
    assert (found, list(answer["errors"])) == (status, [field])
    assert says in answer["errors"][field][0]
    assert await ask(worker, "GET", "products") == (200, {"products": [before]})


# Licenses


async def test_a_license_is_issued_and_its_key_shown_once(worker: Worker, db: Connection) -> None:
    issued = await a_license(worker, customer_ref="C-17", expires_at="2030-12-31")
    key = issued.pop("key")
    assert issued == {
        "id": issued["id"],
        "product": "shop",
        "plan": "team",
        "status": "active",
        "seats": None,
        "seats_limit": 2,
        "seats_used": 0,
        "expires_at": "2031-01-01T00:00:00Z",
        "customer_ref": "C-17",
        "created_at": issued["created_at"],
    }
    assert await ask(worker, "GET", f"licenses/{issued['id']}") == (200, issued)
    assert await ask(worker, "POST", "licenses/find", {"key": key}) == (200, issued)
    assert await ask(worker, "GET", "licenses") == (200, {"licenses": [issued], "next": None})
    assert keys.parse(key)[2:] not in (await everything(db)).upper()


async def test_customer_fields_are_shown_where_they_are_kept(worker: Worker) -> None:
    await made(worker, "products", {**PRODUCT, "customer_fields": True})
    issued = await a_license(worker, customer_name="Erika", customer_email="e@a.example")
    assert (issued["customer_name"], issued["customer_email"]) == ("Erika", "e@a.example")


async def test_a_license_is_suspended_reinstated_and_revoked(worker: Worker) -> None:
    path = f"licenses/{(await a_license(worker))['id']}"
    for act, status in (("suspend", "suspended"), ("reinstate", "active"), ("revoke", "revoked")):
        code, license = await ask(worker, "POST", f"{path}/{act}")
        assert (code, license["status"]) == (200, status)
    assert await ask(worker, "POST", f"{path}/reinstate") == fault(
        409, "status", "a license that is revoked cannot be reinstated"
    )


async def test_a_license_is_renewed_and_changed(worker: Worker) -> None:
    path = f"licenses/{(await a_license(worker, expires_at='2030-12-31'))['id']}"
    _, longer = await ask(worker, "POST", f"{path}/renew", {"for": DAY})
    assert longer["expires_at"] == "2031-01-02T00:00:00Z"
    _, never = await ask(worker, "POST", f"{path}/renew", {"expires_at": None})
    assert never["expires_at"] is None
    _, changed = await ask(worker, "PUT", path, {"seats": 9, "customer_ref": "C-2"})
    assert (changed["seats"], changed["seats_limit"], changed["customer_ref"]) == (9, 9, "C-2")


async def test_a_license_is_transferred_exported_and_erased(worker: Worker, db: Connection) -> None:
    license = await a_license(worker, customer_ref="C-1")
    path = f"licenses/{license['id']}"
    await install_of(db, int(license["id"]))
    status, export = await ask(worker, "GET", f"{path}/export")
    assert (status, export["license"]["id"], len(export["instances"])) == (200, license["id"], 1)
    assert (len(export["heartbeats"]), len(export["sharing"])) == (1, 1)
    _, theirs = await ask(worker, "POST", f"{path}/transfer", {"customer_ref": "D-1"})
    assert (theirs["customer_ref"], theirs["seats_used"]) == ("D-1", 0)
    await install_of(db, int(license["id"]))
    status, erased = await ask(worker, "DELETE", path)
    assert (status, erased["erased"]) == (
        200, {"licenses": 1, "installs": 1, "heartbeats": 1, "sharing": 1},
    )  # fmt: skip
    assert "daily counts of the product" in erased["stays"]
    assert await ask(worker, "GET", path) == fault(404, "license", "there is no such license")


async def test_installs_are_listed_and_released(worker: Worker, db: Connection) -> None:
    license = await a_license(worker, seats=5)
    digests = [await install_of(db, int(license["id"]), name) for name in (1, 2, 3)]
    status, found = await ask(worker, "GET", f"instances?license={license['id']}")
    assert (status, found["next"]) == (200, None)
    assert [one["instance"] for one in found["instances"]] == [digest.hex() for digest in digests]
    assert found["instances"][0].items() >= {
        "license": license["id"], "seat": True, "state": "active", "version": "2.4.1", "country": "LV",
        "environment": "production", "os": "linux", "arch": "x86_64", "status": "active", "forks": 0,
        "offline_until": None,
    }.items()  # fmt: skip
    one = f"instances/{license['id']}/{digests[0].hex()}/release"
    assert await ask(worker, "POST", one) == (200, {"released": 1})
    path = f"licenses/{license['id']}/release"
    assert await ask(worker, "POST", path, {"instance": digests[1].hex()}) == (200, {"released": 1})
    assert await ask(worker, "POST", path, {"all": True}) == (200, {"released": 1})


async def test_pages_walk_through_everything_once(worker: Worker, db: Connection) -> None:
    issued = {(await a_license(worker))["id"] for _ in range(5)}
    for id in issued:
        await install_of(db, int(id))
    for path, name, field in (
        ("licenses?", "licenses", "id"),
        ("instances?product=shop&", "instances", "license"),
    ):
        seen: list[str] = []
        after = ""
        while True:
            _, page = await ask(worker, "GET", f"{path}limit=2{after}")
            assert len(page[name]) <= 2
            seen += [one[field] for one in page[name]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == sorted(issued, key=int)


async def test_a_list_can_be_narrowed(worker: Worker) -> None:
    ours, other = await a_license(worker, customer_ref="C 1"), await a_license(worker)
    await ask(worker, "POST", f"licenses/{other['id']}/suspend")
    for query, expected in (
        ("customer_ref=C%201", [ours["id"]]),
        ("status=suspended", [other["id"]]),
        ("product=shop&plan=team&status=active", [ours["id"]]),
        ("product=desk", []),
    ):
        _, page = await ask(worker, "GET", f"licenses?{query}")
        assert [one["id"] for one in page["licenses"]] == expected


async def test_a_request_file_becomes_a_license_file(worker: Worker) -> None:
    license = await a_license(worker)
    _, product = await ask(worker, "GET", "products/shop")
    air = Air.of_text(license["key"], product["root_key"])
    status, written = await ask(worker, "POST", "licenses/file", {**air.request, "days": 30})
    payload = air.read(written)
    assert (status, payload["status"], payload["seats"]) == (200, "active", {"used": 1, "limit": 2})
    assert payload["valid_until"] == payload["server_time"] + 30 * DAY
    assert payload["instance_digest"] == air.request["instance_digest"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field", "says"),
    [
        ("POST", "", {"plan": "team"}, 400, "product", "is required"),
        ("POST", "", {"product": "shop"}, 400, "plan", "is required"),
        ("POST", "", {**LICENSE, "key": "HC-1"}, 400, "key", "there is only"),
        ("POST", "", {**LICENSE, "seats": -1}, 400, "seats", "from 0 to 1000000"),
        ("POST", "", {**LICENSE, "expires_at": "x"}, 400, "expires_at", "a date such as 2030-12-31"),
        ("POST", "", {**LICENSE, "customer_name": "E"}, 400, "customer_name", "--customer-fields"),
        ("POST", "/find", {}, 400, "key", "is required"),
        ("POST", "/find", {"key": "HC-1"}, 400, "key", "six groups of five"),
        ("POST", "/find", {"key": keys.shown(keys.new())}, 404, "key", "there is no license of this key"),
        ("POST", "/file", {"product": "shop"}, 400, "key_digest", "64 hex digits"),
        ("GET", "?limit=1001", None, 400, "limit", "from 1 to 1000"),
        ("GET", "?after=x", None, 400, "after", "must be what an answer gave as next"),
        ("GET", "?status=unknown", None, 400, "status", "active, grace, expired"),
        ("GET", "?key=HC-1", None, 400, "key", "there is only product, plan, status, customer_ref"),
        ("GET", "/12", None, 404, "license", "there is no such license"),
        ("GET", "/HC-1", None, 404, "license", "there is no such license"),
        ("DELETE", "/12", None, 404, "license", "there is no such license"),
        ("PUT", "/ID", {"plan": "gold"}, 404, "plan", "has no plan gold"),
        ("PUT", "/ID", {"status": "active"}, 400, "status", "there is only"),
        ("POST", "/ID/suspend", {"why": "x"}, 400, "why", "there is only"),
        ("POST", "/ID/renew", {}, 400, "for", "or expires_at is required"),
        ("POST", "/ID/transfer", {}, 400, "customer_ref", "is required"),
        ("POST", "/ID/release", {}, 400, "instance", "or all is required"),
        ("POST", "/ID/release", {"instance": "0" * 64}, 404, "instance", "has no such install"),
        ("POST", "/ID/release", {"instance": "x"}, 400, "instance", "64 hex digits"),
    ],
)  # fmt: skip
async def test_a_fault_of_a_license_names_its_field(
    worker: Worker, method: str, path: str, body: Any, status: int, field: str, says: str
) -> None:
    before = await a_license(worker, expires_at="2030-12-31")
    del before["key"]
    found, answer = await ask(worker, method, "licenses" + path.replace("ID", before["id"]), body)
    assert (found, list(answer["errors"])) == (status, [field])
    assert says in answer["errors"][field][0]
    assert await ask(worker, "GET", "licenses") == (200, {"licenses": [before], "next": None})


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "license"), ("?license=1&product=shop", "license"), ("?license=1", "license"), ("?product=desk", "product"),
     ("?product=shop&after=1", "after"), ("?product=shop&after=1-zz", "after"), ("?product=shop&limit=0", "limit")],
)  # fmt: skip
async def test_a_fault_in_a_list_of_installs_names_its_field(worker: Worker, query: str, field: str) -> None:
    await made(worker, "products", PRODUCT)
    status, answer = await ask(worker, "GET", f"instances{query}")
    assert (status in (400, 404), list(answer["errors"])) == (True, [field])


# Tokens


MANAGED = [
    (route.method, route.path)
    for route in routes.routes()
    if route.path.startswith(("/api/v1/products", "/api/v1/plans", "/api/v1/licenses", "/api/v1/instances"))
]


async def test_no_other_token_may_ask(worker: Worker) -> None:
    reader = await token(worker, scopes=["stats:read", "events:write", "sites:write"])
    assert len(MANAGED) == 28
    for method, path in MANAGED:
        asked = re.sub(r"{\w+}", "1", path.removeprefix("/api/v1/"))
        told = await ask(worker, method, asked, None, reader)
        assert told == fault(401, "authorization", "the token has no scope licenses:write")


async def test_a_token_for_one_product_sees_and_changes_no_other(worker: Worker) -> None:
    license = await a_license(worker)
    await made(worker, "products", {"name": "desk", "plan": TEAM})
    ours = await token(worker, product="desk", scopes=["licenses:write"])
    _, found = await ask(worker, "GET", "products", None, ours)
    assert [product["name"] for product in found["products"]] == ["desk"]
    assert await ask(worker, "GET", "licenses", None, ours) == (200, {"licenses": [], "next": None})
    for method, path, body in (
        ("GET", "products/shop", None),
        ("POST", "products/shop/rotate-key", {}),
        ("POST", "plans", {"product": "shop", "name": "solo"}),
        ("POST", "licenses", LICENSE),
        ("GET", "instances?product=shop", None),
    ):
        assert await ask(worker, method, path, body, ours) == fault(
            401, "product", "the token is for another product"
        )
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/revoke"), ("GET", "/export")):
        told = await ask(worker, method, f"licenses/{license['id']}{path}", None, ours)
        assert told == fault(404, "license", "there is no such license")
    assert (await ask(worker, "POST", "licenses/find", {"key": license["key"]}, ours))[0] == 404
    assert (await ask(worker, "POST", "licenses", {**LICENSE, "product": "desk"}, ours))[0] == 201
    status, answer = await ask(worker, "POST", "products", {"name": "third"}, ours)
    assert (status, list(answer["errors"])) == (401, ["authorization"])


# Repeats


async def test_a_repeat_gets_the_first_answer_and_does_nothing(worker: Worker) -> None:
    await made(worker, "products", PRODUCT)
    first = await ask(worker, "POST", "licenses", LICENSE, ONCE)
    async with worker.client.post("/api/v1/licenses", json=LICENSE, headers=ONCE) as response:
        assert (response.status, await response.json()) == first
        assert response.headers["Idempotency-Replayed"] == "true"
    _, page = await ask(worker, "GET", "licenses")
    assert len(page["licenses"]) == 1
    again = await ask(worker, "POST", "licenses", LICENSE, {"Idempotency-Key": "order-18"})
    assert again[1]["key"] != first[1]["key"]


@pytest.mark.parametrize(
    ("path", "body"), [("licenses", {**LICENSE, "seats": 1}), ("plans", LICENSE), ("licenses?a=1", LICENSE)]
)
async def test_the_same_key_with_another_request_is_a_conflict(worker: Worker, path: str, body: Any) -> None:
    await made(worker, "products", PRODUCT)
    await ask(worker, "POST", "licenses", LICENSE, ONCE)
    assert await ask(worker, "POST", path, body, ONCE) == fault(
        409, "idempotency_key", "came with another request within the last day: take a new one"
    )


async def test_of_two_at_once_one_does_it_and_both_get_the_answer(worker: Worker) -> None:
    await made(worker, "products", PRODUCT)
    answers = await asyncio.gather(*(ask(worker, "POST", "licenses", LICENSE, ONCE) for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)
    _, page = await ask(worker, "GET", "licenses")
    assert len(page["licenses"]) == 1


async def test_each_token_has_keys_of_its_own(worker: Worker) -> None:
    await made(worker, "products", PRODUCT)
    other = await token(worker, scopes=["licenses:write"])
    _, first = await ask(worker, "POST", "licenses", LICENSE, ONCE)
    _, second = await ask(worker, "POST", "licenses", LICENSE, {**ONCE, **other})
    assert first["key"] != second["key"]


async def test_what_failed_is_not_kept(worker: Worker, db: Connection) -> None:
    assert (await ask(worker, "POST", "licenses", LICENSE, ONCE))[0] == 404
    assert await db.fetchval("select count(*) from idempotency") == 0
    await made(worker, "products", PRODUCT)
    assert (await ask(worker, "POST", "licenses", LICENSE, ONCE))[0] == 201


async def test_after_a_day_the_key_is_free_again(worker: Worker, db: Connection) -> None:
    await made(worker, "products", PRODUCT)
    _, first = await ask(worker, "POST", "licenses", LICENSE, ONCE)
    await db.execute("update idempotency set created_at = created_at - interval '25 hours'")
    status, second = await ask(worker, "POST", "licenses", LICENSE, ONCE)
    assert (status, second["key"] != first["key"]) == (201, True)


async def test_a_copy_of_the_database_does_not_show_the_new_key(worker: Worker, db: Connection) -> None:
    await made(worker, "products", PRODUCT)
    _, issued = await ask(worker, "POST", "licenses", {**LICENSE, "customer_ref": "C-17"}, ONCE)
    (row,) = await db.fetch("select digest, request, answer from idempotency")
    body = json.dumps({**LICENSE, "customer_ref": "C-17"}).encode()
    assert row["digest"] == hashlib.sha256(b"order-17").digest()
    assert issued["key"].encode() not in row["answer"]
    assert hashlib.sha256(body).digest() != row["request"]
    kept = await everything(db)
    for text in (issued["key"], keys.parse(issued["key"]), issued["key"].encode().hex(), "order-17"):
        assert text not in kept


@pytest.mark.parametrize("key", ["x" * 256, "größe", "a\tb"])
async def test_a_key_has_limits(worker: Worker, key: str) -> None:
    status, answer = await ask(worker, "POST", "products", PRODUCT, {"Idempotency-Key": key})
    assert (status, answer) == fault(400, "idempotency_key", "has 1 to 255 printable ASCII characters")
    assert await ask(worker, "GET", "products") == (200, {"products": []})


async def test_a_key_of_255_characters_is_taken(worker: Worker) -> None:
    key = {"Idempotency-Key": "~" * 255}
    assert (await ask(worker, "POST", "products", PRODUCT, key))[0] == 201
    assert (await ask(worker, "POST", "products", PRODUCT, key))[0] == 201
    assert (await ask(worker, "POST", "products", PRODUCT))[0] == 409
