"""Between a server and its Postgres: passes all bytes on, and can be slow, silent, or break connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 16


class Proxy:
    """Listens on a TCP port of its own for one Postgres that is reached through a socket in a folder."""

    def __init__(self, dsn: str) -> None:
        self._parts = urlsplit(dsn)
        place = parse_qs(self._parts.query)
        self._socket = f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}"
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.Task[None]] = set()
        self._losing = False
        self._lost: list[asyncio.StreamWriter] = []
        self.delay = 0.0
        """Seconds that each piece takes, in both directions."""
        self.break_at = b""
        """Once a session has sent this, its answer is lost, together with the connection; happens once."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.dsn = self._parts._replace(
            netloc=f"{self._parts.username}:{self._parts.password}@127.0.0.1:{port}", query=""
        ).geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)
        for writer in self._lost:
            writer.transport.abort()

    def cut(self) -> None:
        """Break every connection at once, wherever it is."""
        for task in self._open:
            task.cancel()

    async def lose(self) -> None:
        """Break every connection as a network does that has gone: Postgres does not learn of it."""
        self._losing = True
        ending = list(self._open)
        self.cut()
        await asyncio.gather(*ending, return_exceptions=True)
        self._losing = False

    def be_silent(self) -> None:
        """Pass nothing on, and break nothing, until told otherwise."""
        self._passing.clear()

    def speak(self) -> None:
        self._passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with suppress(OSError, asyncio.CancelledError):
            there = await asyncio.open_unix_connection(self._socket)
            try:
                await self._connect((reader, writer), there)
            finally:
                if self._losing:
                    self._lost.append(there[1])
                else:
                    there[1].transport.abort()
        writer.transport.abort()
        self._open.discard(task)

    async def _connect(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Until one side ends, or the moment has come to break."""
        broken = asyncio.Event()
        sides = [
            asyncio.create_task(self._pass_on(here[0], there[1], broken, asked=True)),
            asyncio.create_task(self._pass_on(there[0], here[1], broken, asked=False)),
        ]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event, asked: bool
    ) -> None:
        while piece := await reader.read(PIECE):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._passing.wait()
            if asked and self.break_at and self.break_at in piece:
                self.break_at = b""
                broken.set()
            elif broken.is_set() and not asked:
                return  # it was answered, and nobody will hear it
            writer.write(piece)
            await writer.drain()
