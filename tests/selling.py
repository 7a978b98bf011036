"""What a vendor does with the product shop, on a clock that a test sets; and what Postgres holds after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headcount.licensing import jws, keys
from headcount.services.licenses import Licenses
from headcount.services.management import Management
from headcount.store.issued import License
from headcount.store.postgres import Database
from headcount.store.secret import Secret
from headcount.wire import fields
from headcount.wire import license as wire
from headcount.wire import plan as plan_fields
from make import Stopped

if TYPE_CHECKING:
    from make_rows import Connection

SECRET = Secret(bytes(range(32)))
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
GRACE = 14
"""Days that the plans give."""


@asynccontextmanager
async def shop(dsn: str, clock: Stopped) -> AsyncIterator[Management]:
    """A vendor of shop, with the plans team of two seats and solo of one."""
    database = Database(lambda: dsn)
    found = Management(database, clock, SECRET)
    await found.products.add("shop", plan=plan(name="team", seats=2))
    await found.products.add_plan("shop", plan(name="solo", seats=1))
    yield found
    await database.close()


def plan(**given: Any) -> plan_fields.Fields:
    return fields.read(plan_fields.Fields, given)


async def issue(licenses: Licenses, plan: Any = "team", **given: Any) -> License:
    return (await licenses.issue("shop", plan, fields.read(wire.Fields, given)))[1]


async def renew(licenses: Licenses, license: License, **term: Any) -> License:
    return await licenses.renew(license.id, fields.read(wire.Term, term))


async def change(licenses: Licenses, license: License, **given: Any) -> License:
    return await licenses.set(license.id, fields.read(wire.Change, given))


async def transfer(licenses: Licenses, license: License, **given: Any) -> License:
    return await licenses.transfer(license.id, fields.read(wire.Customer, given))


async def install(
    db: Connection, license: License, name: int = 1, *, seat: bool = True, **columns: Any
) -> bytes:
    """An install of a license with a heartbeat; the digest that it is known by."""
    return await install_of(db, license.id, name, seat=seat, **columns)


async def install_of(
    db: Connection, license: int, name: int = 1, *, seat: bool = True, **columns: Any
) -> bytes:
    digest = bytes([name]) * 32
    product = await db.fetchval("select product_id from license where id = $1", license)
    row = {
        "product_id": product, "license_id": license, "instance": digest, "seat": seat, "first_seen": NOW,
        "last_seen": NOW, "heard": 0, "version": "2.4.1", "country": "LV", "environment": "production",
        "os": "linux", "arch": "x86_64", "status": "active", "changed_at": NOW, **columns,
    }  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await db.execute(f"insert into instance ({', '.join(row)}) values ({places})", *row.values())
    if seat:
        await db.execute("update license set used = used + 1 where id = $1", license)
    await db.execute(
        f"create table if not exists heartbeat_{NOW:%Y%m%d} partition of heartbeat "
        f"for values from ('{NOW:%Y-%m-%d}') to ('{NOW + timedelta(days=1):%Y-%m-%d}')"
    )
    await db.execute(
        "insert into heartbeat values ($1, $2, $3, $4, $5, '2.4.1', 'LV', 'production', 'linux', 'x86_64', 'active')",
        product, NOW.date(), license, digest, NOW,
    )  # fmt: skip
    await db.execute(
        "insert into sharing values ($1, $2, $3, 1, 1, 1) on conflict do nothing",
        product,
        license,
        NOW.date(),
    )
    return digest


async def everything(db: Connection) -> str:
    """What every column of every table holds, bytes also as hex and as text."""
    tables = await db.fetch("select tablename from pg_tables where schemaname = 'public'")
    found: list[str] = []
    for table in tables:
        for row in await db.fetch(f"select * from {table['tablename']}"):
            for value in row.values():
                found.append(f"{value.hex()} {value!r}" if isinstance(value, bytes) else str(value))
    return "\n".join(found)


async def rows_of(db: Connection, license: License) -> dict[str, int]:
    """How many rows each table holds of a license."""
    found = {"license": await db.fetchval("select count(*) from license where id = $1", license.id)}
    for table in ("instance", "heartbeat", "sharing", "erasure"):
        found[table] = await db.fetchval(f"select count(*) from {table} where license_id = $1", license.id)
    return found


class Air:
    """An install without a network: it writes a request file and reads a license file."""

    def __init__(self, key: str, root: bytes, name: str = "install-1") -> None:
        plain = keys.parse(key)
        self._root = root
        self.digest = keys.instance_digest(plain, name)
        self.request = {
            "product": "shop",
            "key_digest": keys.digest(plain).hex(),
            "instance_digest": self.digest.hex(),
            "version": "2.4.1",
        }

    @classmethod
    def of_text(cls, key: str, root: str) -> Air:
        """With the root key as `product add` prints it."""
        return cls(key, jws.decode(root))

    def read(self, made: dict[str, str]) -> dict[str, Any]:
        """The payload of a license file, verified from the root key on."""
        key_set = jws.read(made["keys"], jws.KEYS, jws.ROOT, self._root)
        assert key_set is not None
        for key in key_set["keys"]:
            payload = jws.read(made["file"], jws.FILE, key["kid"], jws.decode(key["x"]))
            if payload is not None:
                assert key["use"] == "file"
                assert payload["server_time"] <= key["not_after"]
                return payload
        raise AssertionError("no certified key has signed this file")


async def write(management: Management, request: dict[str, Any], **more: Any) -> dict[str, str]:
    return await management.offline.write(fields.read(wire.Request, {**request, **more}))


async def sold(management: Management, plan: Any = "team", **given: Any) -> tuple[str, bytes, License]:
    key, license = await management.licenses.issue("shop", plan, fields.read(wire.Fields, given))
    return key, (await management.products.all())[0].root, license
