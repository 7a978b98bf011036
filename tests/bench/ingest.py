"""Durable ingest through the whole door, beside a handler that does nothing and beside nginx.

Each event is parsed, its sender looked up, reduced, scrubbed, and on the disk before it is answered. One worker on
one core; the load comes from the other. "by CPU time" compares what a request costs, however busy the machine is.
"""

from __future__ import annotations

import json
import random
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bench import load, report, servers
from headcount.model import Settings, Site
from headcount.store.settings import SettingsFile

EVENTS, BATCH = 5000, 50
DOMAIN = "example.com"
AGENTS = Path(__file__).parent.parent / "unit" / "agents.txt"
PAGES = ("", "pricing", "docs/install", "blog/a-first-post", "blog/how-to-count-without-looking")
REFERRERS = ("", "", "https://www.google.com/", "https://news.ycombinator.com/item?id=1")


async def measure(rounds: int, seconds: float) -> dict[str, dict[str, object]]:
    """Single events by the edge and by aiohttp alone, and batches of them."""
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        compared = {}
        for name, edge in (("edge", "on"), ("aiohttp alone", "off")):
            (place / name).mkdir()
            _write_site(place / name)
            compared[name] = stack.enter_context(servers.worker(place / name, edge=edge))
        compared["nothing"] = stack.enter_context(servers.python(servers.NOTHING))
        logs = ("--log", str(place / "access.log"))
        compared["nothing with a log"] = stack.enter_context(servers.python((*servers.NOTHING, *logs)))
        compared["nginx"] = stack.enter_context(servers.nginx(place))
        single = await servers.compare(compared, [post(n, event(n)) for n in range(EVENTS)], rounds, seconds)
        batches = [post(n, [event(n * BATCH + k) for k in range(BATCH)]) for n in range(EVENTS // BATCH)]
        many = await servers.compare(compared, batches, rounds, seconds)
    alone = {name: single[name] for name in ("aiohttp alone", "nothing")}
    return {
        "single events": servers.told(single) | servers.told(alone),
        f"events in batches of {BATCH}": servers.told(many, BATCH),
    }


def _write_site(folder: Path) -> None:
    site = Site(id=1, domain="example.com", timezone="Europe/Riga", created_at=datetime.now(UTC))
    SettingsFile(folder / "settings.msgpack").write(Settings([site]))


def event(number: int, domain: str = DOMAIN) -> dict[str, object]:
    draw = random.Random(number)
    return {
        "n": "pageview",
        "u": f"https://{domain}/{draw.choice(PAGES)}",
        "d": domain,
        "r": draw.choice(REFERRERS),
        "w": draw.choice((360, 1440, 1920)),
    }


@cache
def agents() -> list[str]:
    """What browsers of people send."""
    return [line.rpartition("\t")[2] for line in AGENTS.read_text().splitlines()[1:]]


def post(number: int, body: object) -> bytes:
    """As a browser sends it, through a proxy."""
    draw = random.Random(number)
    return load.post(
        "/api/event",
        json.dumps(body, separators=(",", ":")).encode(),
        f"User-Agent: {draw.choice(agents())}",
        "Accept: */*",
        "Accept-Language: en-US,en;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
        "Origin: https://example.com",
        "Referer: https://example.com/",
        f"X-Forwarded-For: 81.2.{draw.randrange(256)}.{draw.randrange(256)}",
        content_type="text/plain",
    )


if __name__ == "__main__":
    report.run(measure, __doc__)
