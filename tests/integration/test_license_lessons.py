"""What other license servers got wrong, a test each: those of the server. Clients have theirs in tests/acceptance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headcount.licensing import jws, keys
from vendor import Vendor, question

if TYPE_CHECKING:
    from conftest import Connection


async def test_unsigned_ok_answer(vendor: Vendor) -> None:
    """No answer says anything outside its signature, and each status is signed."""
    for key in (await vendor.issue(), keys.shown(keys.new())):
        asked = question(key)
        _, body = await vendor.post("check", asked)
        assert body.keys() == {"answer"}
        assert vendor.verified(body, asked["nonce"])["status"] in ("active", "unknown")


async def test_replay_of_a_stored_signed_ok(vendor: Vendor) -> None:
    """The nonce is in the payload, short ones are refused, and the sequence goes up."""
    key = await vendor.issue()
    first = await vendor.check(key)
    vendor.clock.time[0] = vendor.clock.time[0].replace(second=1)
    second = await vendor.check(key)
    assert second["sequence"] > first["sequence"]
    assert second["nonce"] != first["nonce"]
    status, _ = await vendor.post("check", {**question(key), "nonce": "x" * 21})
    assert status == 400


async def test_signature_does_not_cover_the_request(vendor: Vendor) -> None:
    """What was asked about stands in the payload: key, product, install, nonce."""
    one, two = await vendor.issue(), await vendor.issue()
    answers = [await vendor.check(one), await vendor.check(two), await vendor.check(one, "install-2")]
    bound = {(a["key_digest"], a["product"], a["instance_digest"]) for a in answers}
    assert len(bound) == 3


async def test_cross_context_signature_reuse(vendor: Vendor) -> None:
    """Each use has a key and a type of its own."""
    asked = question(await vendor.issue(), keys=True)
    _, body = await vendor.post("check", asked)
    key_set = jws.read(body["keys"], jws.KEYS, jws.ROOT, vendor.root)
    assert key_set is not None
    by_use = {key["use"]: key for key in key_set["keys"]}
    assert by_use["check"]["x"] != by_use["file"]["x"]
    for key in by_use.values():
        for typ in (jws.FILE, jws.KEYS):
            assert jws.read(body["answer"], typ, key["kid"], jws.decode(key["x"])) is None
    assert jws.read(body["answer"], jws.CHECK, jws.ROOT, vendor.root) is None


async def test_shared_secret_in_every_client(vendor: Vendor, db: Connection) -> None:
    """Clients carry public keys alone; private ones are encrypted where they are kept."""
    rows = await db.fetch("select public, private from product_key")
    assert rows
    for row in rows:
        with pytest.raises(ValueError, match="private key"):
            jws.Signer(row["private"], "", "")
        (found,) = [key for key in vendor.product.keys if key.public == row["public"]]
        private = vendor.secret.open(f"product key {found.kid}", row["private"])
        signed = jws.Signer(private, jws.CHECK, found.kid).sign({})
        assert jws.read(signed, jws.CHECK, found.kid, found.public) == {}


async def test_guessable_keys(vendor: Vendor, db: Connection) -> None:
    """130 random bits, of which a digest is kept; an unknown key is answered like a known one."""
    key = await vendor.issue()
    plain = keys.parse(key)
    found = await db.fetchval("select count(*) from license where digest = $1", keys.digest(plain))
    assert found == 1
    known = await vendor.post("check", question(key))
    unknown = await vendor.post("check", question(keys.shown(keys.new())))
    assert known[0] == unknown[0] == 200


async def test_lookup_without_product_binding(vendor: Vendor) -> None:
    """The key of one product opens no other, and frees no seat there."""
    await vendor.products.add("other")
    await vendor.settle()
    key = await vendor.issue()
    await vendor.check(key)
    for path in ("release", "about", "erase"):
        asked = {"key": key, "product": "other", "instance": "install-1"}
        status, _ = await vendor.post(path, asked)
        assert status == 404


async def test_fingerprint_spoofing(vendor: Vendor, db: Connection) -> None:
    """Two machines under one id take turns with one seat; their tokens give them away."""
    key = await vendor.issue()
    tokens = {"a": "", "b": ""}
    for _ in range(3):
        for machine in tokens:
            given = {"token": tokens[machine]} if tokens[machine] else {}
            tokens[machine] = (await vendor.check(key, "same-id-everywhere", **given))["token"]
    await vendor.drain()
    assert await db.fetchval("select forks from instance") > 0


async def test_re_activating_a_known_fingerprint_at_the_limit(vendor: Vendor) -> None:
    """It succeeds however often it asks, and takes no second seat."""
    key = await vendor.issue(seats=1)
    answers = [await vendor.check(key) for _ in range(3)]
    assert [(one["status"], one["seats"]["used"]) for one in answers] == [("active", 1)] * 3


async def test_x_forwarded_for_first_item_trusted(vendor: Vendor, db: Connection) -> None:
    """From nobody who is trusted, the header changes neither country nor network."""
    key = await vendor.issue()
    for address in ("8.8.8.8", "1.1.1.1", "9.9.9.9"):
        await vendor.post_from(address, key, "install-1")
    await vendor.drain()
    (row,) = await db.fetch("select networks, countries from sharing")
    assert tuple(row) == (1, 0)


async def test_cron_filter_on_the_wrong_column(vendor: Vendor, db: Connection) -> None:
    """The lease job frees the silent seats of their own license alone, and not those of license files."""
    silent, loud, offline = [await vendor.issue() for _ in range(3)]
    for key in (silent, loud, offline):
        await vendor.check(key)
    await vendor.drain()
    await db.execute(
        "update instance set offline_until = 'infinity' where license_id ="
        " (select id from license where digest = $1)",
        keys.digest(keys.parse(offline)),
    )
    await vendor.pass_by(days=6)
    await vendor.check(loud)
    await vendor.drain()
    await vendor.pass_by(days=2)
    assert await vendor.installs.free_silent(vendor.clock.now) == 1
    used = {row["digest"]: row["used"] for row in await db.fetch("select digest, used from license")}
    assert [used[keys.digest(keys.parse(key))] for key in (silent, loud, offline)] == [0, 1, 1]


@pytest.mark.parametrize("path", ["check", "release", "about", "erase", "dry-run"])
async def test_key_in_url_query_or_logs(vendor: Vendor, path: str, capfd: Any) -> None:
    """A key in a URL is not read, and one in a body is in no log and no error."""
    key = await vendor.issue()
    status, _ = await vendor.get(f"/api/license/{path}?key={key}&product=acme")
    assert status == 405
    wrong = {**question(key), "product": "no such", "instance": "x"}
    _, body = await vendor.post(path, wrong)
    printed = capfd.readouterr()
    assert key not in f"{body} {printed.out} {printed.err}"
    assert keys.parse(key) not in f"{body} {printed.out} {printed.err}"
