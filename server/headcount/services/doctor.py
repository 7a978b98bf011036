"""What `headcount doctor` looks at: the settings, the machine, the files, Postgres, and the server that runs.

It changes nothing and starts nothing, and is right beside a running server and without one. Each finding says what
is the matter and, where something is, what to do.
"""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from headcount import errors
from headcount.clock import Clock
from headcount.config import Config
from headcount.model import Ignored
from headcount.services import machine
from headcount.services.finding import Finding, Level, fail, ok, warn
from headcount.services.health import OLD_COUNTRIES, Verdict
from headcount.store import daykeys, figures, geoip, migrations
from headcount.store.postgres import Database

CLOCK_WARN, CLOCK_FAIL = 2.0, 60.0
"""Seconds that our clock and that of Postgres may differ."""
PATIENCE = 3.0
"""Seconds that whoever is asked may take."""
AUDITED = timedelta(days=30)
"""Of which days it is told whether counters and raw rows agree."""


async def examine(
    config: Config, database: Database, clock: Clock, server: str | None = None
) -> list[Finding]:
    """Everything, in the order in which it is best mended. `server`: its origin, if it is not where it listens."""
    origin = server or _origin(config)
    usable = ok("settings", "all of them can be used")
    if (closed := machine.closed_to_us(config.data_dir)) is not None:
        return [usable, closed]
    return [
        usable,
        *of_the_way_in(config, _counted(config)),
        *machine.examine(config, clock.now()),
        *await of_postgres(database, clock),
        of_country_file(config, clock),
        *await asyncio.to_thread(lambda: [*of_the_server(origin), *of_the_public_url(config.public_url)]),
    ]


# The way in


def of_the_way_in(config: Config, counted: figures.Figures) -> Iterator[Finding]:
    """TLS, and whose address a request has."""
    host, port = config.listen
    here = host in ("127.0.0.1", "::1", "localhost")
    encrypted = config.public_url.startswith("https://")
    proxies = ",".join(map(str, config.trusted_proxies))
    if any(network.prefixlen == 0 for network in config.trusted_proxies):
        yield fail(
            "proxy",
            "every address is a trusted proxy, so every client may claim any address",
            "name the networks of your proxies in HEADCOUNT_TRUSTED_PROXIES",
        )
    elif encrypted and not config.trusted_proxies:
        yield fail(
            "proxy",
            "a proxy ends TLS, as HEADCOUNT_PUBLIC_URL says, but none is trusted: all visitors have its address",
            "name its address in HEADCOUNT_TRUSTED_PROXIES, such as 127.0.0.1/32",
        )
    elif config.trusted_proxies:
        yield ok("proxy", f"{config.address_header} is believed from {proxies}")
    else:
        yield ok("proxy", "none is trusted: the address of a client is that of its connection")
    if not here and not encrypted:
        yield fail(
            "TLS",
            f"port {port} is open to other machines, and HEADCOUNT_PUBLIC_URL is not https: nothing is encrypted",
            "let a proxy end TLS, set HEADCOUNT_PUBLIC_URL to its https origin, and listen on 127.0.0.1",
        )
    elif not here:
        yield warn(
            "TLS",
            f"port {port} is open to other machines beside the proxy",
            "listen on 127.0.0.1, or let a firewall admit the proxy alone",
        )
    else:
        yield ok("TLS", "only this machine reaches the port" + (", a proxy ends TLS" if encrypted else ""))
    limited = counted.refused.get(Ignored.RATE_LIMIT, 0)
    if limited * 10 > counted.received:
        yield warn(
            "rate limit",
            f"{limited} of {counted.received} events were refused because one client sent too many",
            "if a proxy stands in front, check HEADCOUNT_TRUSTED_PROXIES: without it all visitors are one client",
        )


def _counted(config: Config) -> figures.Figures:
    """What the server here has counted since the machine started."""
    return figures.total(
        published.figures
        for folder in daykeys.folders(config.data_dir)
        for published in figures.read(folder / figures.FOLDER)
    )


def of_country_file(config: Config, clock: Clock) -> Finding:
    """Whether it can be read, and how old it is."""
    own = config.data_dir / "geoip.mmdb"
    path = Path(config.geoip_file) if config.geoip_file else own if own.exists() else geoip.SHIPPED
    try:
        reader, facts = geoip.open_checked(path)
    except errors.BadInput as error:
        return fail("country file", error.message, "replace it: headcount geoip use FILE")
    reader.close()
    days = (clock.now() - facts.built_at) // timedelta(days=1)
    if days > OLD_COUNTRIES:
        return warn("country file", f"it is {days} days old", "get a newer one: headcount geoip use FILE")
    return ok("country file", f"it is {days} days old")


# Postgres


async def of_postgres(database: Database, clock: Clock) -> list[Finding]:
    """Whether it answers, keeps what it says it keeps, and has the time that we have."""
    try:
        async with asyncio.timeout(PATIENCE), database.connection() as connection:
            before = clock.now()
            now = await connection.fetchval("select clock_timestamp()")
            after = clock.now()
            version = connection.get_server_version()
            applied = await migrations.are_applied(connection)
            since = clock.now().date() - AUDITED
            audited = await database.row("audits_that_differ", since) if applied else None
            names = ("fsync", "full_page_writes", "synchronous_commit")
            off = [
                name
                for name in names
                if await connection.fetchval("select current_setting($1)", name) == "off"
            ]
    except (errors.DatabaseDown, TimeoutError):
        return [
            warn(
                "Postgres",
                "it does not answer; events are collected, and wait",
                "start it, or the server that brings its own; else check HEADCOUNT_DATABASE_URL",
            )
        ]
    apart = max(before - now, now - after, timedelta()) / timedelta(seconds=1)
    return [
        _of_version(version.major),
        ok("schema", "it is the one of this version")
        if applied
        else warn("schema", "it is not the one of this version", "start the server: it brings it up to date"),
        *_of_durability(off),
        _of_clock(apart),
        *([] if audited is None else [_of_audits(audited["differing"], audited["days"])]),
    ]


def _of_audits(differing: int, days: int) -> Finding:
    if differing:
        return fail(
            "counts",
            f"in {differing} of {days} audits of the last {AUDITED.days} days they differ from the raw rows",
            "run headcount audit --day DAY for what the log names",
        )
    return ok("counts", f"they agree with the raw rows in {days} audits of the last {AUDITED.days} days")


def _of_version(major: int) -> Finding:
    if major < migrations.OLDEST:
        return fail("Postgres", f"it is version {major}", f"upgrade it to {migrations.OLDEST} or later")
    return ok("Postgres", f"version {major} answers")


def _of_durability(off: list[str]) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes"):
        if name in off:
            yield fail(
                "Postgres",
                f"{name} is off: when its machine goes down, all that it ever stored may be damaged",
                f"set {name} = on in postgresql.conf",
            )
    if "synchronous_commit" in off:
        yield warn(
            "Postgres",
            "synchronous_commit is off: when it goes down, its last commits may be lost; counts are sent again "
            "if events follow within 15 minutes, sites, tokens and licenses are not",
            "set synchronous_commit = on",
        )
    if not off:
        yield ok("Postgres", "what it has committed is on its disk")


def _of_clock(apart: float) -> Finding:
    if apart <= CLOCK_WARN:
        return ok("clock", "it agrees with that of Postgres")
    says = f"it is {apart:.0f} seconds away from that of Postgres"
    advice = "set both by the network: days begin, and licenses end, by ours"
    return (fail if apart > CLOCK_FAIL else warn)("clock", says, advice)


# The server

ADVICE = {
    "settings": "let the server reach Postgres once: it copies its sites then",
    "spool": "see what disk and rollup say; then the log",
    "disk": "make room on the disk of the data directory",
    "day_keys": "see docs/operations.md: keys that outlive their day break the promise",
    "postgres": "start Postgres; nothing is lost meanwhile, as long as there is room on the disk",
    "rollup": "look into the log why it ended; it is started again by itself",
    "outbox": "see whether Postgres is slow or down",
    "purge": "look into the log for: purge raw rows",
    "country_file": "get a newer one: headcount geoip use FILE",
    "spool_files": "look into the log; keep the files: docs/operations.md says what to do with them",
}
"""What to do where a check of /health/ready is not ok."""


def of_the_server(origin: str) -> Iterator[Finding]:
    """What the running server says of itself."""
    try:
        found = _ready(origin)
    except (OSError, ValueError, http.client.HTTPException):  # msgspec's errors are ValueErrors
        yield warn("server", f"none answers at {origin}", "start it: headcount serve; or tell --server")
        return
    yield ok("server", "it runs")
    for name, check in found.items():
        if check.verdict is not Verdict.OK:
            level = Level.FAIL if check.verdict is Verdict.FAILING else Level.WARN
            yield Finding(level, f"server: {name}", check.says, ADVICE.get(name, "look into the log"))


def of_the_public_url(origin: str) -> Iterator[Finding]:
    """Whether browsers can reach the server, and whether the proxy in between tells whom it speaks for."""
    if not origin:
        return
    try:
        status, _ = _ask(f"{origin}/health/live")
        mistaken, _ = _ask(f"{origin}/metrics")  # without a token, for which only this machine gets them
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        yield warn(
            "public URL",
            f"{origin} cannot be reached from here ({type(reason).__name__})",
            "check the proxy, the name and the certificate; from elsewhere too, as some networks hide it from within",
        )
        return
    if status != 200:
        yield warn(
            "public URL", f"{origin} answers {status}", "have the proxy pass all paths on to Headcount"
        )
    elif mistaken == 200:
        yield fail(
            "public URL",
            "the proxy does not tell whose requests it passes on: all visitors have its address",
            "have it set the header of HEADCOUNT_ADDRESS_HEADER; deploy/ shows how",
        )
    else:
        yield ok("public URL", f"{origin} reaches the server")


class _Check(msgspec.Struct):
    verdict: Verdict
    says: str


class _Ready(msgspec.Struct):
    checks: dict[str, _Check]


def _origin(config: Config) -> str:
    host, port = config.listen
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - asked
    return f"http://{name}:{port}"


def _ready(origin: str) -> dict[str, _Check]:
    _, body = _ask(f"{origin}/health/ready")  # 503 says most
    return msgspec.json.decode(body, type=_Ready).checks


def _ask(url: str) -> tuple[int, bytes]:
    """The status and the beginning of the body. Raises OSError."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(1 << 20)
