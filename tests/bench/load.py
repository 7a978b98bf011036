"""A load from this process on one core, against a server on another: requests are made before, answers counted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0
"""Seconds that one run may take."""
SERVER_CORE, LOAD_CORE = 0, max(os.cpu_count() or 1, 2) - 1


@dataclass
class Result:
    """What one run gave."""

    requests: int
    seconds: float
    cpu_seconds: float
    """Of the server."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """The server's CPU time a request."""
        return self.cpu_seconds / self.requests * 1e6


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last was answered with this status, until there is none."""

    def __init__(self, requests: Iterator[bytes], status: bytes, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._status = status
        self._done = done
        self._buffer = b""
        self._length = -1
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length < 0:
            head, end, _ = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 " + self._status):
                self._done.set_exception(RuntimeError(head.decode()))
                return
            lower = head.lower()
            at = lower.index(b"content-length: ") + 16
            self._length = len(head) + 4 + int(lower[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._length:
            self._buffer, self._length = self._buffer[self._length :], -1
            self.answered += 1
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or RuntimeError("the server has closed the connection"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def run(port: int, pid: int, requests: list[bytes], status: bytes, connections: int = 32) -> Result:
    """Send all requests; Raises RuntimeError for an answer of another status."""
    loop = asyncio.get_running_loop()
    waiting = iter(requests)
    done: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    cpu, began = _cpu(pid), time.perf_counter()
    for future in done:
        await loop.create_connection(lambda f=future: Connection(waiting, status, f), "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*done)
    return Result(len(requests), time.perf_counter() - began, _cpu(pid) - cpu)


def _cpu(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    return sum(map(int, _stat(pid)[11:13])) / TICKS


def cpu_of_tree(pid: int) -> float:
    """Seconds of CPU that the process and its children have used, also those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, _stat(pid)[11:15])) / TICKS + sum(map(_cpu, map(int, children)))


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
