"""The edge and aiohttp give the same answers to the same bytes, and keep the same of them."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import hostile_corpus as corpus
import make
from acceptance.server import until
from acceptance.talking import Answer, Connection
from headcount import app
from headcount.model import Dropped, Hit, Record, Scope
from headcount.store import daykeys
from headcount.web import edge, keys

LAST = corpus.request(corpus.GOOD, "Connection: close")
"""Ends every talk, so that the server closes the connection."""


class Way:
    """One server, by the edge or by aiohttp alone."""

    def __init__(self, worker: make.Worker, port: int) -> None:
        self.worker = worker
        self.port = port

    async def talk(self, *requests: bytes) -> list[Answer]:
        """What is answered until the server closes; each request waits for the answer to the one before."""
        found: list[Answer | None] = []
        async with self._connection() as connection:
            for request in requests:
                await connection.say(request)
                found.append(await connection.answer())
            found += await connection.rest()
        return [one._replace(headers=_lasting(one.headers)) for one in found if one is not None]

    async def trickle(self, request: bytes) -> list[Answer]:
        """The same for one request that comes byte by byte."""
        async with self._connection() as connection:
            for n in range(len(request)):
                await connection.say(request[n : n + 1])
                await asyncio.sleep(0.001)
            return await connection.rest()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    async def kept(self) -> Counter[str]:
        """All that has come into the spool, but for the moment and the token."""
        await self.worker.app[keys.COLLECTOR].keep_refused()
        kept: Counter[str] = Counter()
        for record in self.worker.spooled():  # refusals are spooled one by one or together, as it happens
            number = record.count if isinstance(record, Dropped) else 1
            kept[repr(_lasting_part(record))] += number
        return kept


@asynccontextmanager
async def way(folder: Path, on: bool) -> AsyncIterator[Way]:
    make.write_settings(folder, [make.site("example.com")], [make.token("write", Scope.EVENTS_WRITE)])
    config = make.settings(folder, {"edge": "on" if on else "off", "rate_limit": "0"})
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
            async with app.application(config) as application, app.listening(application, listening):
                worker = make.Worker(application, None, folder)  # type: ignore[arg-type] # we talk ourselves
                yield Way(worker, listening.getsockname()[1])
    finally:
        shutil.rmtree(daykeys.folder(folder))


class Both(NamedTuple):
    """Both ways, side by side."""

    edge: Way
    aiohttp: Way

    async def agree_on(self, *requests: bytes) -> list[Answer]:
        """The answers, which must be the same."""
        ours, theirs = await asyncio.gather(self.edge.talk(*requests), self.aiohttp.talk(*requests))
        assert ours == theirs
        return ours

    async def agree_on_what_is_kept(self) -> None:
        for _ in range(100):  # a request may still be under way whose client has been told to go
            ours, theirs = await self.edge.kept(), await self.aiohttp.kept()
            if ours == theirs:
                return
            await asyncio.sleep(0.02)
        assert ours == theirs


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with way(tmp_path / "edge", on=True) as ours, way(tmp_path / "aiohttp", on=False) as theirs:
        yield Both(ours, theirs)


def _lasting(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date"}


def _lasting_part(record: Record) -> Record:
    if isinstance(record, Hit):
        return msgspec.structs.replace(record, at=0, token=0)
    if isinstance(record, Dropped):
        return msgspec.structs.replace(record, count=1)
    return msgspec.structs.replace(record, at=0, network=0)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[edge.Connection]:
    """The connections that the edge has handed over."""
    found: list[edge.Connection] = []
    hand_over = edge.Connection._hand_over

    def noted(connection: edge.Connection) -> None:
        found.append(connection)
        hand_over(connection)

    monkeypatch.setattr(edge.Connection, "_hand_over", noted)
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[edge.Connection]:
    """The connections that the edge has made."""
    found: list[edge.Connection] = []
    begin = edge.Connection.connection_made

    def noted(connection: edge.Connection, transport: asyncio.BaseTransport) -> None:
        found.append(connection)
        begin(connection, transport)

    monkeypatch.setattr(edge.Connection, "connection_made", noted)
    return found


@pytest.mark.timeout(120)
async def test_hostile_requests_are_answered_alike(both: Both) -> None:
    names = list(corpus.FINISHED)
    for first in range(0, len(names), 40):  # some at once: what is not answered is waited for
        await asyncio.gather(
            *(both.agree_on(corpus.FINISHED[name] + LAST) for name in names[first : first + 40])
        )
    await both.agree_on_what_is_kept()


async def test_a_plain_request_never_reaches_aiohttp(both: Both, handed_over: list[edge.Connection]) -> None:
    event, check = corpus.request(), corpus.request(b"{}", path=corpus.CHECK)
    bad, batch = corpus.request(corpus.BAD), corpus.request(b"[" + b",".join([corpus.GOOD] * 50) + b"]")
    answers = await both.edge.talk(event, check, bad, batch, LAST)
    assert [answer.status for answer in answers] == [202, 400, 400, 202, 202]
    assert handed_over == []


@pytest.mark.parametrize(
    "odd",
    [
        corpus.request(method="GET"),
        corpus.request(path="/api/event?x=1"),
        corpus.request(version="1.0"),
        corpus.request(corpus.GOOD, "Expect: 100-continue"),
        corpus.request(corpus.GOOD, "Connection: upgrade", "Upgrade: h2c"),
        corpus.request(corpus.GOOD, "X-Twice: 1", "x-twice: 2"),
        corpus.request(length="0" * 15 + str(len(corpus.GOOD))),
        corpus.request(corpus.GOOD + b" " * edge.MAX_BODY),
        corpus.request(corpus.GOOD, "X-Long: " + "x" * edge.MAX_HEAD),
        corpus.chunked(corpus.GOOD),
        corpus.encoded("identity", corpus.GOOD),
    ],
)
async def test_an_odd_request_and_all_after_it_are_aiohttps(
    both: Both, handed_over: list[edge.Connection], odd: bytes
) -> None:
    answers = await both.agree_on(corpus.request(), odd, corpus.request(), LAST)
    assert answers[0].status == 202
    assert len(handed_over) == 1
    await both.agree_on_what_is_kept()


async def test_a_request_may_come_byte_by_byte(both: Both, handed_over: list[edge.Connection]) -> None:
    answers = await both.edge.trickle(LAST)
    assert [answer.status for answer in answers] == [202]
    assert handed_over == []


async def test_answers_come_in_the_order_of_the_requests(both: Both) -> None:
    requests = [corpus.request() if n % 3 else corpus.request(corpus.BAD) for n in range(300)]
    answers = await both.agree_on(b"".join(requests) + LAST)
    assert [answer.status for answer in answers] == [202 if n % 3 else 400 for n in range(300)] + [202]


# Requests of pieces, most of them nearly right.

_NAMES = ("Accept", "Authorization", "Content-Type", "Content-Encoding", "Connection", "Expect", "Origin", "DNT",
          "Sec-GPC", "From", "Purpose", "X-Forwarded-For", "Transfer-Encoding", "Upgrade", "User-Agent", "Host",
          "Content-Length", "Cookie", "TE", "Bad Name", "", "X-\xe9")  # fmt: skip
_VALUES = ("", "1", "close", "keep-alive", "Keep-Alive, x", "100-continue", "chunked", "gzip", "identity", "prefetch",
           "text/plain", "Bearer write", "Bearer nobody", "Basic x", "203.0.113.7, 10.0.0.1", "a\tb", "\xe9\udcff",
           "websocket", "0", "+5", "5 ", "99999999999999999999", corpus.AGENT, "Googlebot/2.1",
           "x" * 9000)  # fmt: skip
_FIELDS = {
    "n": st.sampled_from(["pageview", "engagement", "Sign up", "", 7, None, "\u202e", "\0"]),
    "u": st.sampled_from(["https://example.com/a?utm_source=x#y", "https://other.example/", "no", "", None]),
    "d": st.sampled_from(["example.com", "other.example", "", None, 1]),
    "r": st.sampled_from(["https://www.google.com/", "", "javascript:1", 5]),
    "p": st.sampled_from([{"a": "b"}, "{}", "{", {"a": [1]}, None]),
    "w": st.sampled_from([360, -1, "x", 1e400]),
    "sd": st.sampled_from([50, 255, -1]),
}
_EVENTS = st.fixed_dictionaries({}, optional=_FIELDS).map(json.dumps)
_BODIES = st.one_of(
    _EVENTS,
    st.lists(_EVENTS, max_size=3).map(lambda events: f"[{','.join(events)}]"),
    st.just(corpus.GOOD.decode()),
).map(str.encode) | st.binary(max_size=30)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    headers = draw(st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)), max_size=2))
    body = draw(st.just(corpus.GOOD) | _BODIES)
    return corpus.request(
        body,
        *(f"{name}: {value}" for name, value in headers),
        path=draw(st.sampled_from([corpus.EVENT] * 4 + [corpus.CHECK, "/api/event/", "/health/live"])),
        method=draw(st.sampled_from(["POST"] * 6 + ["OPTIONS", "post"])),
        version=draw(st.sampled_from(["1.1"] * 6 + ["1.0", "1.2"])),
        length=draw(st.sampled_from([""] * 8 + ["0", "3", "x"])),
    )


@pytest.mark.timeout(300)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=st.lists(requests(), min_size=1, max_size=4))
@example(parts=[corpus.request(), corpus.request(corpus.GOOD, "Sec-GPC: 1")])
async def test_any_requests_are_answered_alike(both: Both, parts: list[bytes]) -> None:
    await both.agree_on(*parts, LAST)
    await both.agree_on_what_is_kept()


async def test_connections_past_the_limit_are_closed_and_the_others_served(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.Edge, "is_full", property(lambda self: len(self.connections) >= 3))
    talks = [await asyncio.open_connection("127.0.0.1", both.edge.port) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert await both.edge.talk(LAST) == []
    for reader, writer in talks:
        writer.write(LAST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 202")
        writer.close()


async def test_a_request_that_does_not_come_to_its_end_is_told_so(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "PATIENCE", 0.0)
    request = corpus.request()
    for part in (request[:100], request[:-1]):
        assert [answer.status for answer in await both.edge.talk(part)] == [408]


async def test_a_silent_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "KEEP_ALIVE", 0.0)
    async with way(tmp_path, on=True) as ours:
        assert await ours.talk() == []


async def test_who_reads_nothing_cannot_send_without_end(both: Both, made: list[edge.Connection]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", both.edge.port)
    writer.write(corpus.request())
    assert (await reader.readline()).startswith(b"HTTP/1.1 202")
    (connection,) = made
    connection.pause_writing()  # as a transport does whose client takes no answers
    writer.write(corpus.request() * 10_000)
    await until(lambda: not connection._transport.is_reading())
    assert len(connection._buffer) < edge.MAX_AHEAD + (1 << 18)  # what one read brings comes on top
    writer.transport.abort()


async def test_who_reads_nothing_is_cut_off(
    both: Both, made: list[edge.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", both.edge.port)
    writer.write(b"POST /api/")
    await until(lambda: bool(made))
    made[0]._transport.write(b"x" * (64 << 20))  # more than fits into the sockets
    monkeypatch.setattr(edge, "PATIENCE", 0.0)
    await until(lambda: not made[0]._edge.connections)
    writer.transport.abort()
