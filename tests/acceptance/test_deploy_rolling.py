"""A rolling restart: every process is replaced, and no client notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acceptance.server import Server, until

pytestmark = pytest.mark.timeout(240)

VIEW = b'{"n": "pageview", "u": "http://localhost/rolling", "d": "localhost"}'
REQUEST = (
    b"POST /api/event HTTP/1.1\r\nHost: count\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:132.0) "
    b"Gecko/20100101 Firefox/132.0\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % len(VIEW)
)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """Clients that go on until told to stop, and count what became of each request."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = asyncio.Event()
        self.became: Counter[str] = Counter()
        self.closed = 0
        """Connections that were closed with an answer."""

    async def during(self, what: Callable[[], Awaitable[None]]) -> None:
        """Let clients of three kinds run while this happens."""
        clients = [self._always_new, self._keep_one, self._keep_one, self._slow_to_ask]
        running = [asyncio.create_task(client()) for client in clients]
        try:
            await what()
        finally:
            self._stop.set()
            await asyncio.gather(*running)

    async def _always_new(self) -> None:
        while not self._stop.is_set():
            connection = await self._connect()
            await self._ask(connection, REQUEST + b"Connection: close\r\n\r\n" + VIEW)
            connection[1].close()
            await asyncio.sleep(0.005)

    async def _keep_one(self) -> None:
        connection = await self._connect()
        while not self._stop.is_set():
            if await self._ask(connection, REQUEST + b"\r\n" + VIEW):
                self.closed += 1
                connection[1].close()
                connection = await self._connect()
            await asyncio.sleep(0.01)
        connection[1].close()

    async def _slow_to_ask(self) -> None:
        while not self._stop.is_set():
            connection = await self._connect()
            await asyncio.sleep(0.1)  # accepted meanwhile, by a worker that may be about to end
            await self._ask(connection, REQUEST + b"\r\n" + VIEW)
            connection[1].close()

    async def _connect(self) -> Connection:
        at = urlsplit(self._server.origin)
        return await asyncio.open_connection(at.hostname, at.port)

    async def _ask(self, connection: Connection, request: bytes) -> bool:
        """Whether the answer closes the connection."""
        reader, writer = connection
        try:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            await reader.readexactly(2)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.became[type(error).__name__] += 1
            return True
        self.became[head.split(b" ", 2)[1].decode()] += 1
        return b"\r\nconnection: close\r\n" in head.lower()


async def test_a_rolling_restart_turns_nobody_away(place: Path) -> None:
    async with Server(place, workers="2", rate_limit="0") as server:
        await server.start()
        token = await server.token("stats:read")
        before = server.children("web") + server.children("rollup")
        at = urlsplit(server.origin)
        idle = [await asyncio.open_connection(at.hostname, at.port) for _ in range(8)]
        load = Load(server)
        await load.during(server.renew)

        after = server.children("web") + server.children("rollup")
        assert (len(before), len(after), set(before) & set(after)) == (3, 3, set())
        assert set(load.became) == {"202"}
        assert load.closed >= 1
        assert [await reader.read() for reader, _ in idle] == [b""] * 8  # closed, and not reset
        for _, writer in idle:
            writer.close()
        await until(lambda: counts(server, token, load.became["202"]))
        await server.stop()


async def test_a_rolling_restart_that_cannot_begin_leaves_what_runs(place: Path) -> None:
    async with Server(place, workers="1") as server:
        await server.start()
        before = sorted(server.children("web") + server.children("rollup"))
        (place / "headcount.toml").write_text("nonsense = 1\n")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "did not begin its work" in server.said())
        assert "nonsense: there is no such setting" in server.said()
        assert sorted(server.children("web") + server.children("rollup")) == before

        (place / "headcount.toml").unlink()
        await server.renew()
        assert not set(server.children("web") + server.children("rollup")) & set(before)
        await server.stop()


async def counts(server: Server, token: str, views: int) -> bool:
    return await server.total(token, "localhost") == views
