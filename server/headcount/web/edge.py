"""The edge: every connection begins here, and stays for as long as it sends plain requests of the two hot routes.

Whatever is anything else (another route or method, a chunked or large body, a header twice, `Expect`, a request
that does not wait for the answer before it, not quite HTTP) is handed over to aiohttp, with all bytes that were
read and not answered yet, for the rest of the connection's life. So there is one place that must be right about
the odd cases, and it is not this one. Answers go out in order: one request of a connection is answered at a time.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import cast

import httptools
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from headcount import errors
from headcount.privacy import address, door
from headcount.privacy.address import Address
from headcount.store.figures import Figures
from headcount.web import answers
from headcount.web.answers import Answer
from headcount.web.body import PATIENCE
from headcount.web.hot import Headers, Hot

log = logging.getLogger(__name__)

MAX_HEAD = 8 << 10
MAX_BODY = 64 << 10
"""Bytes of what is answered here; aiohttp decides about more."""
MAX_AHEAD = MAX_HEAD + MAX_BODY
"""Bytes that a connection may send ahead while it waits for its answers; then it is not read from."""
MAX_CONNECTIONS = 10_000
"""Connections of one worker, or fewer where the system allows fewer files; those past it are closed at once."""
OTHER_FILES = 200
"""Files that a worker has open besides, at most."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_END = b"\r\n\r\n"
_METHOD = b"POST /api/"
_ODD = frozenset(("transfer-encoding", "expect", "upgrade", "content-encoding", "http2-settings"))

Route = Callable[[door.Client, Headers, bytes], Awaitable[Answer]]


class Edge:
    """Makes the connections of one listening socket, watches them, and ends them in order."""

    def __init__(
        self,
        hot: Hot,
        figures: Figures,
        behind: Callable[[], asyncio.Protocol],
        handed_over: Callable[[], int],
        stopping: asyncio.Event,
        idle: float,
    ) -> None:
        """`behind` makes aiohttp's protocol, `handed_over` counts its connections; `idle` in seconds."""
        self.routes: Mapping[bytes, tuple[str, Route]] = {
            b"POST %s HTTP/1.1" % path.encode(): (path, route)
            for path, route in (
                ("/api/event", hot.event),
                ("/api/license/check", lambda client, _, body: hot.check(client, body)),
            )
        }
        self.hot = hot
        self.answers = figures.answers
        self.behind = behind
        self.connections: set[Connection] = set()
        self.stopping = stopping
        """Once it is set, each answer closes its connection."""
        self._handed_over = handed_over
        self._elsewhere = 0
        self._most = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES)
        self._idle = idle

    def __call__(self) -> Connection:
        return Connection(self)

    @property
    def is_full(self) -> bool:
        return len(self.connections) + self._elsewhere >= self._most

    async def sweep(self) -> None:
        """End the connections that wait for too long; once a second."""
        self._elsewhere = self._handed_over()
        now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.end_if_late(now, self._idle)

    async def finish(self, seconds: float) -> None:
        """Close what is idle, answer what is under way; what takes longer is cut off."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.connections:
                    for connection in list(self.connections):
                        connection.end_if_idle()
                    await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection, until it is handed over or closed."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._peer: Address | None = None
        self._buffer = b""
        self._since = self._loop.time()
        """Since when we wait for what we wait for now: a request, or the rest of one."""
        self._task: asyncio.Task[None] | None = None
        self._blocked = False
        self._read = True
        # Of the request whose head was read:
        self._fields: dict[str, str] = {}
        """By their names in small letters."""
        self._twice = False
        self._route: tuple[str, Route] | None = None
        self._begin = 0
        self._end = 0
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if self._edge.is_full:
            self._transport.abort()
            return
        name = transport.get_extra_info("peername")
        self._peer = address.parse(name[0]) if isinstance(name, tuple) else None
        self._edge.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._edge.connections.discard(self)
        self._buffer = b""
        self._blocked = True

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._since = self._loop.time()
        self._buffer += data
        if self._task is None:
            self._next()
        waits = self._task is not None or self._blocked
        if waits and self._read and len(self._buffer) > MAX_AHEAD:
            self._read = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._task is None:
            self._next()

    def end_if_late(self, now: float, idle: float) -> None:
        """Close a connection that has been silent for too long, or whose request does not come to its end."""
        waits = now - self._since
        if self._task is not None or waits < (PATIENCE if self._buffer else idle):
            return
        if self._blocked or self._transport.is_closing():  # it does not take what it is told
            self._transport.abort()
            return
        if self._buffer:
            limit = f"did not arrive within {PATIENCE:.0f} seconds"
            self._write("", answers.spoken(408, "request", limit), last=True)
        self._transport.close()

    def end_if_idle(self) -> None:
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser. Bytes that are no UTF-8 become lone surrogates, as in aiohttp."""
        key = name.decode().lower()
        self._twice |= key in self._fields
        self._fields[key] = value.decode(errors="surrogateescape")

    def _next(self) -> None:
        """Answer the first request that lies here as soon as it is whole; hand the connection over if it is odd."""
        if self._blocked or not self._buffer:
            return
        if self._route is None and not self._read_head():
            return
        if len(self._buffer) < self._end or self._route is None:
            return
        if len(self._buffer) > self._end:  # it does not wait for its answers
            self._hand_over()
            return
        body, self._buffer = self._buffer[self._begin :], b""
        self._task = self._loop.create_task(self._answer(self._route, CIMultiDict(self._fields), body))
        self._route = None

    def _read_head(self) -> bool:
        """Whether the head of a plain request is here; then it is read. Hands over what is none."""
        at = self._buffer.find(_END)
        if at < 0 and len(self._buffer) <= MAX_HEAD and self._may_become_a_head():
            return False
        route = self._edge.routes.get(self._buffer[: self._buffer.find(b"\r\n")])
        if at > MAX_HEAD or route is None or not self._is_plain(at + len(_END)):
            self._hand_over()
            return False
        self._route = route
        return True

    def _may_become_a_head(self) -> bool:
        """Whether it is worth to wait for the rest. aiohttp tells the others what they are."""
        begins_like_one = self._buffer[: len(_METHOD)] == _METHOD[: len(self._buffer)]
        return begins_like_one and self._buffer.count(b"\n") == self._buffer.count(b"\r\n")

    def _is_plain(self, begin: int) -> bool:
        """Read the head, which ends before `begin`; whether nothing in it needs aiohttp."""
        fields: dict[str, str] = {}
        self._fields, self._twice = fields, False
        try:
            httptools.HttpRequestParser(self).feed_data(self._buffer[:begin])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            return False
        length = fields.get("content-length", "")
        if self._twice or "host" not in fields or not fields.keys().isdisjoint(_ODD):
            return False
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY):
            return False
        connection = fields.get("connection", "keep-alive").lower()
        self._last = connection == "close"
        self._begin, self._end = begin, begin + int(length)
        return connection in ("close", "keep-alive")

    def _hand_over(self) -> None:
        """From here on the connection is aiohttp's."""
        self._edge.connections.discard(self)
        if not self._read:
            self._transport.resume_reading()
        handler, read = self._edge.behind(), self._buffer
        self._buffer = b""
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        handler.data_received(read)

    async def _answer(self, route: tuple[str, Route], headers: Headers, body: bytes) -> None:
        path, serve = route
        try:
            answer = await serve(self._edge.hot.client(self._peer, headers), headers, body)
        except errors.HeadcountError as error:
            answer = answers.failed(error)
        except Exception:
            log.exception("failed: %s", path)
            answer = answers.broken()
        self._edge.answers[path, answer.status // 100] += 1
        self._task = None
        self._since = self._loop.time()
        last = self._last or self._edge.stopping.is_set()
        self._write(path, answer, last)
        if last:
            self._transport.close()
        else:
            self._next()

    def _write(self, path: str, answer: Answer, last: bool) -> None:
        if self._transport.is_closing():
            return  # the client has gone: nobody to answer
        said = answer.status, answer.content_type, answer.headers, len(answer.body)
        self._transport.write(_head(path, said, last, rfc822_formatted_time()) + answer.body)


@lru_cache(maxsize=256)
def _head(path: str, said: tuple[int, str, answers.Pairs, int], last: bool, date: str) -> bytes:
    """The head of an answer, of which there are few different ones in a second. `said`: status to length."""
    status, content_type, headers, length = said
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        *(f"{name}: {value}" for name, value in answers.carried(path).items()),
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        f"Date: {date}",
    ]
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()
