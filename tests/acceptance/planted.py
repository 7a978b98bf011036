"""Ways into the server, good and broken, for somebody whose address and agent can be told from all others."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from acceptance.server import Server

SITE = "planted.example"
KEPT = "plinthwort"
"""A word in every page's path, which is kept: whoever searches must find it."""


@dataclass(frozen=True)
class Somebody:
    """Where the requests of one come from, and the agent that sends them."""

    sockets: tuple[str, ...]
    """Addresses of this machine."""
    forwarded: tuple[str, ...]
    """What a proxy that is trusted says."""
    passed_on: tuple[str, ...]
    """What a server that has a token says of its visitors."""
    word: str
    """Part of each agent."""

    @property
    def agent(self) -> str:
        return f"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0 {self.word}/13.7"

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.sockets, *self.forwarded, *self.passed_on)

    def headers(self, address: str) -> dict[str, str]:
        """As of a browser behind a proxy that tells everybody."""
        return {
            "X-Forwarded-For": f"192.0.2.200, {address}",
            "X-Real-IP": address,
            "Forwarded": f'for="[{address}]"',
            "CF-Connecting-IP": address,
            "User-Agent": self.agent,
            "Sec-CH-UA": f'"{self.word}"',
            "Cookie": f"seen={address}",
            "Referer": f"http://localhost/{address}",
        }


def view(address: str) -> dict[str, Any]:
    """A page view in whose free text the address stands too: there it is taken out by its pattern."""
    host = f"[{address}]" if ":" in address else address
    return {
        "n": f"Seen by {address}",
        "u": f"https://{SITE}/{KEPT}/{address}?ip={address}&utm_source={address}#{address}",
        "d": SITE,
        "r": f"http://{host}/{address}",
        "p": {"note": f"was {address}", "else": address},
    }


@asynccontextmanager
async def browser(socket: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Requests from this address of the machine."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(local_addr=(socket, 0)), timeout=aiohttp.ClientTimeout(30)
    ) as session:
        yield session


async def good(server: Server, who: Somebody, token: str) -> list[int]:
    """Views that are counted, by each of the three ways; the statuses."""
    statuses = []
    for socket in who.sockets:
        async with browser(socket) as session:
            plain = {"User-Agent": who.agent}
            statuses.append(await _post(session, server, view(socket), plain))
            async with session.get(
                f"{server.origin}/h.gif?d=localhost&u=http://localhost/", headers=plain
            ) as pixel:
                statuses.append(202 if pixel.status == 200 else pixel.status)
            for address in who.forwarded:
                statuses.append(await _post(session, server, view(address), who.headers(address)))
    for address in who.passed_on:
        known = {"ip": address, "user_agent": who.agent}
        events = [{**view(address), **known}, {**view(address), "n": "pageview", **known}]
        headers = {"Authorization": f"Bearer {token}", "User-Agent": who.agent}
        statuses.append(await _post(server.http, server, events, headers))
    return statuses


async def checks(server: Server, who: Somebody, key: str) -> list[int]:
    """License checks, good and bad, with everything planted that a product may send; the statuses."""
    statuses = []
    for socket in who.sockets:
        async with browser(socket) as session:
            for address in (socket, *who.forwarded):
                for path, body in _license_requests(address, who, key):
                    async with session.post(
                        f"{server.origin}/api/license/{path}", data=body, headers=who.headers(address)
                    ) as answer:
                        statuses.append(answer.status)
    return statuses


async def bad(server: Server, who: Somebody, token: str) -> list[int]:
    """Events that are refused, each with everything that can be planted; the statuses."""
    statuses = []
    async with browser(who.sockets[0]) as session:
        for address in (*who.sockets, *who.forwarded):
            for body in _refused(address, who):
                statuses.append(await _post(session, server, body, who.headers(address)))
    for address in who.passed_on:
        for body in _refused(address, who):
            headers = {**who.headers(address), "Authorization": f"Bearer {token}"}
            statuses.append(await _post(server.http, server, body, headers))
    return statuses


async def broken(server: Server, who: Somebody) -> list[bytes]:
    """Requests that are hardly HTTP, from each address; how each was answered."""
    requests = [
        (socket, request)
        for socket in who.sockets
        for address in (socket, *who.forwarded)
        for request in _malformed(address.encode(), who.agent.encode())
    ]
    answers = []
    for start in range(0, len(requests), 100):
        answers += await asyncio.gather(
            *(_raw(server, *request) for request in requests[start : start + 100])
        )
    return answers


async def flood(server: Server, who: Somebody) -> list[int]:
    """More requests than anybody may send at once."""
    headers = who.headers(who.forwarded[0])
    async with browser(who.sockets[0]) as session:
        return await asyncio.gather(*(_post(session, server, view("nobody"), headers) for _ in range(400)))


async def ask(server: Server, who: Somebody, token: str) -> list[int]:
    """Questions to the stats API, right and wrong, from each address."""
    questions: list[dict[str, Any]] = [
        {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"},
        {"site_id": SITE, "metrics": ["visitors"], "date_range": who.agent},
        {"site_id": who.sockets[0], "metrics": ["visitors"], "date_range": "7d"},
    ]
    statuses = []
    for socket in who.sockets:
        async with browser(socket) as session:
            for address in who.forwarded:
                for question in questions:
                    headers = {**who.headers(address), "Authorization": f"Bearer {token}"}
                    async with session.post(
                        f"{server.origin}/api/v2/query", json=question, headers=headers
                    ) as answer:
                        statuses.append(answer.status)
    return statuses


async def _post(session: aiohttp.ClientSession, server: Server, body: object, headers: dict[str, str]) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post(f"{server.origin}/api/event", data=io.BytesIO(data), headers=headers) as answer:
        await answer.read()
        return answer.status


def _refused(address: str, who: Somebody) -> Iterator[bytes]:
    event = {**view(address), "ip": address, "user_agent": who.agent}
    text = json.dumps(event).encode()
    yield text[:-1]
    yield text + b"\xff\xfe" + text
    yield b"[" * 40 + text + b"]" * 40
    yield json.dumps([event] * 501).encode()
    yield text[:-1] + b', "x": "' + address.encode() * 4000 + b'"}'
    yield b"[" + b",".join([text] * 490 + [b'"' + b"x" * (1 << 20) + b'"']) + b"]"
    for wrong in (
        {"d": f"{who.word}.example"},
        {"d": address},
        {"u": f"http://{who.word}.example/{address}"},
        {"u": f"http://{address}/"},
        {"u": address},
        {"u": 7},
        {"n": ""},
        {"n": f"{address}\0"},
        {"n": f"{address}\ud800"},
        {"p": [address]},
        {"p": {address: {who.word: address}}},
        {"n": "engagement"},
        {"i": address},
        {"$": {"currency": address, "amount": who.word}},
    ):
        yield json.dumps({**event, **wrong}).encode()


def _license_requests(address: str, who: Somebody, key: str) -> Iterator[tuple[str, bytes]]:
    """What a product sends that tells more than it should, and what is refused."""
    host, mail = f"{who.word}.{SITE}", f"{who.word}@{SITE}"
    question = {
        "key": key,
        "product": "planted",
        "instance": f"{address} {host} {mail}",
        "version": "2.4.1",
        "nonce": "0123456789abcdef01234567",
        "hostname": host,
        "email": mail,
        "ip": address,
        who.word: who.agent,
    }
    for telling in (
        {},
        {"version": address},
        {"version": f"2.4.1-{host}"},
        {"version": mail},
        {"environment": address, "os": who.agent[:200], "arch": host, "channel": mail},
        {"environment": host, "os": address, "arch": mail, "token": f"{address}{mail}"},
    ):
        yield "check", json.dumps({**question, **telling}).encode()
        yield "dry-run", json.dumps({**question, **telling}).encode()
    yield "about", json.dumps({"key": key, "who": mail}).encode()
    yield "release", json.dumps({"key": key, "instance": f"{address} {host} never seen"}).encode()
    for wrong in (
        {"key": f"HC-{mail}"},
        {"key": f"{key[:-1]}{who.word}"},
        {"product": host},
        {"instance": [mail]},
        {"nonce": mail},
        {"version": {mail: address}},
        {"os": f"{mail}\0"},
        {"keys": mail},
        {"more": mail * 1000},
    ):
        yield "check", json.dumps({**question, **wrong}).encode()
    yield "check", json.dumps(question).encode()[:-1]
    yield "erase", json.dumps({"key": host}).encode()


def _malformed(address: bytes, agent: bytes) -> Iterator[bytes]:
    known = b"X-Forwarded-For: %b\r\nUser-Agent: %b\r\n" % (address, agent)
    post = b"POST /api/event HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    body = json.dumps({"n": "pageview", "u": "http://localhost/", "d": "localhost"}).encode()
    length = b"Content-Length: %d\r\n" % len(body)
    yield b"%b %b\r\n\r\n" % (address, agent)
    yield b"GET /%b HTTP/9.9\r\n%b\r\n" % (address, known)
    yield b"G\xffT /%b HTTP/1.1\r\n%b\r\n" % (address, known)
    yield b"GET /%b%b HTTP/1.1\r\n%b\r\n" % (address, b"/" + agent.replace(b" ", b"") * 300, known)
    yield b"GET http://%b:99999/ HTTP/1.1\r\n%b\r\n" % (address, known)
    yield b"GET /%%ff%%00%b HTTP/1.1\r\nHost: \xff%b\r\nConnection: close\r\n%b\r\n" % (
        address,
        address,
        known,
    )
    yield b"\x16\x03\x01\x02\x00\x01\x00" + agent + address
    yield post + known + b"X-Forwarded-For %b\r\n\r\n" % address
    yield post + known + b"X Forwarded (For): %b\r\n\r\n" % address
    yield post + known + b"X-Real-IP: %b\0%b\r\n\r\n" % (address, agent)
    yield post + known + b" %b: folded\r\n\r\n" % address
    yield post + known + b"Content-Length: %b\r\n\r\n" % address
    yield post + known + b"Content-Length: -1\r\n\r\n"
    yield post + known + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n" + body
    yield post + known + b"Content-Length: 9999\r\n\r\n" + body
    yield post + known + b"Transfer-Encoding: chunked\r\n\r\n%b\r\n%b" % (address, agent)
    yield post + known + b"Transfer-Encoding: chunked\r\n%b\r\n%b" % (length, body)
    yield post + known + b"Transfer-Encoding: %b\r\n\r\n%b" % (address, body)
    yield post + known + b"Content-Encoding: gzip\r\n%b\r\n%b" % (length, body)
    bomb = gzip.compress(bytes(8 << 20))
    yield post + known + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
    yield post + known + b"Content-Type: text/plain; charset=%b\r\n%b\r\n%b" % (address, length, body)
    yield post + known + b"Expect: %b\r\n%b\r\n%b" % (address, length, body)
    yield post + known + b"Upgrade: %b\r\nConnection: Upgrade\r\n\r\n" % address
    yield post + known + b"Authorization: Bearer %b\xff\r\n%b\r\n%b" % (agent, length, body)
    yield post + b"X-Forwarded-For: \xff\xfe%b\r\nUser-Agent: \xff%b\r\n%b\r\n%b" % (
        address,
        agent,
        length,
        body,
    )
    yield post + b"X-Forwarded-For: %b, nonsense\r\nUser-Agent: %b\r\n%b\r\n%b" % (
        address,
        agent,
        length,
        body,
    )
    yield post + b"".join(b"X-%d: %b %b\r\n" % (n, address, agent) for n in range(3000)) + b"\r\n"
    yield post + b"X-Forwarded-For: " + b", ".join([address] * 3000) + b"\r\n\r\n"
    yield post + b"User-Agent: " + agent * 500 + b"\r\n\r\n"


async def _raw(server: Server, socket: str, request: bytes) -> bytes:
    """Send these bytes, and hang up if nothing comes of it."""
    to = urlsplit(server.origin)
    reader, writer = await asyncio.open_connection(to.hostname, to.port, local_addr=(socket, 0))
    answer = b""
    with suppress(OSError, TimeoutError):
        writer.write(request)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 0.3)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return answer
