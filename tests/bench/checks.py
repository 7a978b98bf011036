"""Signed checks of known installs, beside a handler that does nothing.

Each is looked up, signed, and its heartbeat on the disk before it is answered. One worker on one core.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import load, report, servers
from headcount.licensed import License, Plan, Product, SigningKey, Standing, Use
from headcount.licensing import jws, keys
from headcount.model import Settings
from headcount.store import secret
from headcount.store.license_copy import LicenseCopy
from headcount.store.settings import SettingsFile

INSTALLS = 1000


def prepare(folder: Path) -> list[str]:
    """What a rollup would have written: a product, a license, its installs. Returns the key and the installs."""
    vault = secret.load("", folder)
    private, public = jws.new_key()
    kid = jws.kid_of(public)
    sealed = vault.seal(f"product key {kid}", private)
    key = SigningKey(kid=kid, use=Use.CHECK, public=public, private=sealed, not_before=0, not_after=None)
    plan = Plan(id=1, name="team", seats=INSTALLS)
    product = Product(id=1, name="acme", root=public, key_set="none", keys=(key,), plans=(plan,))
    SettingsFile(folder / "settings.msgpack").write(Settings(products=[product]))
    plain = keys.new()
    installs = [secrets.token_hex(16) for _ in range(INSTALLS)]
    license = License(
        id=1,
        product=1,
        digest=keys.digest(plain),
        plan=1,
        standing=Standing.ACTIVE,
        seats=None,
        expires_at=None,
        used=INSTALLS,
    )
    copy = LicenseCopy(folder / "licenses.db")
    seats = [(1, keys.instance_digest(plain, install), True) for install in installs]
    copy.replace([license], seats, datetime.now(UTC))
    copy.close()
    return [keys.shown(plain), *installs]


def checks(key: str, installs: list[str], count: int) -> list[bytes]:
    return [
        load.post(
            "/api/license/check",
            json.dumps(
                {
                    "key": key,
                    "product": "acme",
                    "instance": installs[n % INSTALLS],
                    "version": "2.4.1",
                    "nonce": secrets.token_urlsafe(16),
                    "os": "linux",
                    "arch": "x86_64",
                }
            ).encode(),
        )
        for n in range(count)
    ]


async def measure(rounds: int, seconds: float) -> dict[str, dict[str, object]]:
    """Checks of known installs, by the edge and by aiohttp alone."""
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder, ExitStack() as stack:
        key, *installs = prepare(Path(folder))
        compared = {
            "edge": stack.enter_context(servers.worker(Path(folder), edge="on")),
            "aiohttp alone": stack.enter_context(servers.worker(Path(folder), edge="off")),
            "nothing": stack.enter_context(servers.python(servers.NOTHING)),
            "nothing with a log": stack.enter_context(
                servers.python((*servers.NOTHING, "--log", str(Path(folder, "access.log"))))
            ),
        }
        found = await servers.compare(compared, checks(key, installs, 5000), rounds, seconds)
    return {"signed checks of known installs": servers.told(found)}


if __name__ == "__main__":
    report.run(measure, __doc__)
