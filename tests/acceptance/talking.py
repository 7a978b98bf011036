"""A connection that says any bytes and reads what comes back, answer by answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

PATIENCE = 60.0
"""Seconds that an answer may take on a busy machine."""


class Answer(NamedTuple):
    """One answer, whole."""

    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes


class Connection:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = httptools.HttpResponseParser(self)
        self._answers: deque[Answer] = deque()
        self._begin()

    async def say(self, data: bytes) -> None:
        """Send the bytes. A server that has enough of them may close meanwhile: what it said can be read."""
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def answer(self) -> Answer | None:
        """The next answer but for `100 Continue`; None: the server has closed."""
        async with asyncio.timeout(PATIENCE):
            while not self._answers:
                try:
                    data = await self._reader.read(1 << 16)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._parser.feed_data(data)
        return self._answers.popleft()

    async def rest(self) -> list[Answer]:
        """All answers until the server closes."""
        found = []
        while (answer := await self.answer()) is not None:
            found.append(answer)
        return found

    async def closed(self) -> bytes:
        """What the server still says, until it closes."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                return await self._reader.read()
        return b""

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._answers.append(Answer(status, self._headers, self._body))
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = b""


@asynccontextmanager
async def connected(origin: str) -> AsyncIterator[Connection]:
    """A connection of its own to the server at this origin."""
    address = urlsplit(origin)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()
