"""Signed checks of a known install, beside an aiohttp handler that does nothing; `make bench` runs it.

Both servers have one process on one core, the load comes from the other, and their runs alternate. Each check is
looked up, signed, and on the disk before it is answered.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import load
from headcount.licensed import License, Plan, Product, SigningKey, Standing, Use
from headcount.licensing import jws, keys
from headcount.model import Settings
from headcount.store import secret
from headcount.store.license_copy import LicenseCopy
from headcount.store.settings import SettingsFile

HERE = Path(__file__).parent
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


@contextmanager
def server(command: list[str], **environment: str) -> Iterator[tuple[int, int]]:
    """A server on one core, with a listening socket of its own: (port, pid)."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        descriptor = listening.fileno()
        process = subprocess.Popen(
            [*command, str(descriptor)],
            pass_fds=[descriptor],
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, {load.SERVER_CORE}),
        )
        try:
            yield listening.getsockname()[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


async def measure(folder: Path, rounds: int, count: int) -> dict[str, object]:
    key, *installs = prepare(folder)
    ours = [sys.executable, "-m", "headcount.cli.main", "serve", "--role", "web", "--socket"]
    settings = {
        "HEADCOUNT_DATA_DIR": str(folder),
        "HEADCOUNT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "HEADCOUNT_RATE_LIMIT": "0",
    }
    ratios, found, yardstick = [], [], []
    with server(ours, **settings) as a, server([sys.executable, str(HERE / "nothing.py")]) as b:
        await load.run(*a, checks(key, installs, 200), b"200")  # warm
        await load.run(*b, checks(key, installs, 200), b"202")
        for _ in range(rounds):
            requests = checks(key, installs, count)
            found.append(await load.run(*a, requests, b"200"))
            yardstick.append(await load.run(*b, requests, b"202"))
            ratios.append(found[-1].rate / yardstick[-1].rate)
    return {
        "what": "signed checks of a known install",
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "checks_per_second": round(statistics.median(result.rate for result in found)),
        "nothing_per_second": round(statistics.median(result.rate for result in yardstick)),
        "cpu_microseconds_a_check": round(statistics.median(r.cpu_microseconds for r in found)),
        "cpu_microseconds_of_nothing": round(statistics.median(r.cpu_microseconds for r in yardstick)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=5000, help="Requests a run.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    given = parser.parse_args()
    os.sched_setaffinity(0, {load.LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        figures = uvloop.run(measure(Path(folder), given.rounds, given.count))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):32} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
