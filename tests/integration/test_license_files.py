"""License files: from the request file of an install without a network to the file that it believes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from headcount import errors
from headcount.licensed import DAY
from headcount.licensing.transitions import Act
from headcount.services.management import Management
from make import Stopped
from selling import (
    AT,
    GRACE,
    NOW,
    Air,
    rows_of,
    sold,
    write,
)

if TYPE_CHECKING:
    from make_rows import Connection


async def test_a_license_file_says_what_an_answer_says_and_holds_a_seat(
    management: Management, db: Connection
) -> None:
    key, root, license = await sold(management)
    air = Air(key, root)
    assert air.read(await write(management, air.request)) == {
        "status": "active",
        "conclusive": True,
        "key_digest": air.request["key_digest"],
        "product": "shop",
        "instance_digest": air.request["instance_digest"],
        "plan": "team",
        "entitlements": {},
        "seats": {"used": 1, "limit": 2},
        "server_time": AT,
        "valid_until": AT + 365 * DAY,
        "grace_until": AT + (365 + GRACE) * DAY,
        "expires_at": None,
        "sequence": AT * 1_000_000,
    }
    assert (await management.licenses.get(license.id)).used == 1
    row = await db.fetchrow(
        "select seat, offline_until, version from instance where instance = $1", air.digest
    )
    assert tuple(row or ()) == (True, NOW + timedelta(days=365 + GRACE), "2.4.1")


async def test_a_license_file_is_never_good_beyond_the_end_and_grace(
    management: Management, clock: Stopped
) -> None:
    key, root, _ = await sold(management, **{"for": 10 * DAY})
    air = Air(key, root)
    payload = air.read(await write(management, air.request))
    assert (payload["valid_until"], payload["grace_until"]) == (AT + 10 * DAY, AT + (10 + GRACE) * DAY)
    clock.step(days=11)
    payload = air.read(await write(management, air.request))
    assert (payload["status"], payload["grace_until"]) == ("grace", AT + (10 + GRACE) * DAY)
    clock.step(days=GRACE)
    with pytest.raises(errors.Conflict, match="a license that is expired cannot be put into a license file"):
        await write(management, air.request)


async def test_an_install_asks_again_and_keeps_its_seat_for_the_longer_time(
    management: Management, db: Connection
) -> None:
    key, root, license = await sold(management, "solo")
    air = Air(key, root)
    for days in (100, 10, 50):
        payload = air.read(await write(management, air.request, days=days, version="2.5"))
        assert (payload["valid_until"], payload["seats"]["used"]) == (AT + days * DAY, 1)
    row = await db.fetchrow("select offline_until, version from instance")
    assert tuple(row or ()) == (NOW + timedelta(days=100 + GRACE), "2.5")
    assert (await management.licenses.get(license.id)).used == 1


async def test_without_a_free_seat_there_is_no_license_file(management: Management, db: Connection) -> None:
    key, root, license = await sold(management, "solo")
    first, second = Air(key, root), Air(key, root, "install-2")
    await write(management, first.request)
    with pytest.raises(errors.Conflict, match=r"are all taken \(1\)") as raised:
        await write(management, second.request)
    assert raised.value.field == "seats"
    assert (await rows_of(db, license))["instance"] == 1
    await management.licenses.release(license.id, first.digest)
    second.read(await write(management, second.request))
    with pytest.raises(errors.Conflict, match="are all taken"):
        await write(management, first.request)
    await management.licenses.release(license.id, None)
    first.read(await write(management, first.request))
    assert (await management.licenses.get(license.id)).used == 1


async def test_files_for_many_installs_at_once_take_no_more_than_the_seats(management: Management) -> None:
    key, root, license = await sold(management)
    asked = [Air(key, root, f"install-{number % 6}").request for number in range(12)]
    done = await asyncio.gather(*(write(management, request) for request in asked), return_exceptions=True)
    assert {type(one) for one in done} <= {dict, errors.Conflict}
    assert sum(isinstance(one, dict) for one in done) == 4
    assert (await management.licenses.get(license.id)).used == 2


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"key_digest": "0" * 64}, "key_digest", "there is no license of this key"),
        ({"key_digest": "HC-…"}, "key_digest", "must be 64 hex digits"),
        ({"instance_digest": "0" * 63}, "instance_digest", "must be 64 hex digits"),
        ({"product": "desk"}, "product", "is not the one that the license is for"),
        ({"days": 0}, "days", "from 1 to 3650"),
        ({"days": 3651}, "days", "from 1 to 3650"),
    ],
)
async def test_a_request_with_a_fault_gets_no_file(
    management: Management, db: Connection, change: dict[str, Any], field: str, says: str
) -> None:
    key, root, _ = await sold(management)
    with pytest.raises(errors.BadInput) as raised:
        await write(management, Air(key, root).request | change)
    assert raised.value.field == field
    assert says in raised.value.message
    assert await db.fetchval("select count(*) from instance") == 0


async def test_a_license_on_hold_gets_no_file(management: Management) -> None:
    key, root, license = await sold(management)
    await management.licenses.act(license.id, Act.SUSPEND)
    with pytest.raises(
        errors.Conflict, match="a license that is suspended cannot be put into a license file"
    ):
        await write(management, Air(key, root).request)
