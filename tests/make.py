"""Builders for tests: sites, tokens, settings, a clock, and a web worker that runs in the test's own loop."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from headcount import app, config
from headcount.clock import Clock
from headcount.model import Dropped, Hit, Record, Scope, Settings, Site, Token
from headcount.services import sites
from headcount.services.products import Products
from headcount.store import daykeys, secret
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.store.spool import SpoolReader, records
from headcount.web import keys

if TYPE_CHECKING:
    Client = TestClient[web.Request, web.Application]

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NO_POSTGRES = "postgresql://nobody@127.0.0.1:1/nothing"
ORIGIN = "http://127.0.0.1:8080"
MADE = datetime(2026, 1, 1, tzinfo=UTC)


def site(domain: str = "example.com", id: int = 1, timezone: str = "Etc/UTC", **settings: Any) -> Site:
    return Site(id=id, domain=domain, timezone=timezone, created_at=MADE, **settings)


def token(text: str, *scopes: Scope, site_id: int | None = None) -> Token:
    return Token(id=len(text), digest=sites.digest(text), site_id=site_id, scopes=scopes)


def settings(data_dir: Path, given: Mapping[str, str] = {}) -> config.Config:
    """The settings of a server on this folder; names as in the file."""
    environ = {f"HEADCOUNT_{name.upper()}": value for name, value in given.items()}
    environ.setdefault("HEADCOUNT_DATABASE_URL", NO_POSTGRES)
    return config.load({"HEADCOUNT_DATA_DIR": str(data_dir), **environ}, file=data_dir / "none.toml")


@dataclass
class Stopped(Clock):
    """A clock that a test sets."""

    moment: datetime = MADE

    def now(self) -> datetime:
        return self.moment

    def milliseconds(self) -> int:
        return int(self.moment.timestamp() * 1000)

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def step(self, **duration: float) -> None:
        self.moment += timedelta(**duration)


@dataclass
class Worker:
    """A web worker, a client that talks to it, and a look into its spool."""

    app: web.Application
    client: Client
    data_dir: Path

    def spooled(self) -> list[Record]:
        found: list[Record] = []
        for path in (self.data_dir / "spool").glob("*.db"):
            reader = SpoolReader(path)
            found += [record for _, _, body in reader.read(0, 10_000) for record in records(body)]
            reader.close()
        return found

    def hits(self) -> list[Hit]:
        return [record for record in self.spooled() if isinstance(record, Hit)]

    async def dropped(self) -> Counter[str]:
        """What was not counted, by reason, also what has not reached the spool yet."""
        await self.app[keys.COLLECTOR].keep_refused()
        total: Counter[str] = Counter()
        for record in self.spooled():
            if isinstance(record, Dropped):
                total[record.reason] += record.count
        return total

    def take_everything(self) -> None:
        """What a rollup says when it has taken all that is in the spool."""
        for path in (self.data_dir / "spool").glob("*.db"):
            reader = SpoolReader(path)
            reader.drained(max((number for number, _, _ in reader.read(0, 10_000)), default=0))
            reader.close()

    async def raw(self, *parts: bytes, patience: float = 2) -> bytes:
        """The answer to these very bytes, sent part by part."""
        reader, writer = await asyncio.open_connection(self.client.host, self.client.port)
        try:
            async with asyncio.timeout(patience):
                for part in parts:
                    writer.write(part)
                    await asyncio.sleep(0.02)
                return await reader.read(1 << 16)
        finally:
            writer.close()
            await writer.wait_closed()


def write_settings(data_dir: Path, sites: Sequence[Site], tokens: Sequence[Token] = ()) -> None:
    data_dir.mkdir(exist_ok=True)
    SettingsFile(data_dir / "settings.msgpack").write(Settings(list(sites), list(tokens)))


@asynccontextmanager
async def worker(
    data_dir: Path,
    given: Mapping[str, str] = {},
    *,
    sites: Sequence[Site] | None = (site(),),
    tokens: Sequence[Token] = (),
    headers: Mapping[str, str] = {},
    keep_keys: bool = False,
) -> AsyncIterator[Worker]:
    """A running web worker that knows these sites and tokens (None: nothing yet)."""
    if sites is not None:
        write_settings(data_dir, sites, tokens)
    try:
        async with (
            app.application(settings(data_dir, given)) as application,
            TestClient(TestServer(application), headers={"User-Agent": BROWSER, **headers}) as client,
        ):
            yield Worker(application, client, data_dir)
    finally:
        if not keep_keys:
            shutil.rmtree(daykeys.folder(data_dir))


@asynccontextmanager
async def managed(data_dir: Path, dsn: str) -> AsyncIterator[Worker]:
    """A worker on this database whose client may do everything; what it changes is copied as a rollup does."""
    database = Database(lambda: dsn)
    service = sites.Sites(database, Clock())
    text, _ = await service.add_token(None, tuple(Scope))
    products = Products(database, Clock(), secret.load("", data_dir))
    copy = SettingsFile(data_dir / "settings.msgpack")

    async def copy_once() -> None:
        copy.write(msgspec.structs.replace(await service.settings(), products=await products.all()))

    async def keep_copying() -> None:
        while True:
            await copy_once()
            await asyncio.sleep(0.02)

    await copy_once()

    copying = asyncio.create_task(keep_copying())
    try:
        given, headers = {"database_url": dsn}, {"Authorization": f"Bearer {text}"}
        async with worker(data_dir, given, sites=None, headers=headers) as found:
            yield found
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        await database.close()
