"""Headcount behind nginx and behind Caddy, as deploy/ configures them: who came is told, and written nowhere."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from acceptance import search
from acceptance.reverse import (
    COUNT,
    SITE,
    Balancer,
    Caddy,
    Certificate,
    Nginx,
    Reverse,
    TalkativeCaddy,
    TalkativeNginx,
    free_port,
    is_installed,
)
from acceptance.server import Server, until
from make_countries import database

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SPOOFED = "198.51.100.7"
COUNTRIES = {
    "127.77.13.0/28": "LV",
    "127.77.13.16/28": "JP",
    "::1/128": "DE",
    "198.51.100.0/24": "US",
    "8.8.8.0/24": "US",
}
PLANTED = ("127.77.13.201", "127.77.13.202", "127.77.13.203")
PROXIES = {"nginx": (Nginx, TalkativeNginx), "caddy": (Caddy, TalkativeCaddy)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(shared_place: Path) -> AsyncIterator[Server]:
    """One Headcount that believes its own machine, and knows a country for a few addresses of that."""
    countries = {network: {"country_code": code} for network, code in COUNTRIES.items()}
    file = shared_place / "countries.mmdb"
    file.write_bytes(database(countries))
    settings = {"trusted_proxies": "127.0.0.1/32", "rate_limit": "0", "geoip_file": str(file)}
    async with Server(shared_place, **settings) as server:
        await server.start()
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the proxies."""
    missing = [program for program in (request.param, "curl", "openssl") if not is_installed(program)]
    if missing:
        pytest.skip(f"needs {' '.join(missing)}: apt-get install nginx-light caddy curl openssl")
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(
    kind: str, server: Server, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Reverse]:
    folder = tmp_path_factory.mktemp(kind) / "proxy"
    upstream = server.origin.removeprefix("http://")
    async with PROXIES[kind][0](folder, certificate, upstream) as running:
        yield running


async def test_the_client_is_who_came_to_the_proxy_and_not_who_it_says(
    kind: str, proxy: Reverse, server: Server
) -> None:
    site = f"{kind}.example"
    await server.add_site(site)
    token = await server.token("stats:read")
    for client in ("127.77.13.5", "127.77.13.21", "127.77.13.22", "::1", "127.77.13.5"):
        claims = {"X_Forwarded_For": SPOOFED, "X_Real_IP": SPOOFED, "Forwarded": f"for={SPOOFED}"}
        body = json.dumps({"n": "pageview", "u": f"https://{site}/", "d": site}).encode()
        answer = await proxy.curl("/api/event", by=client, body=body, User_Agent=AGENT, **claims)
        assert (answer.status, answer.protocol, answer.body) == (202, "HTTP/2", b"ok")

    async def are_counted() -> bool:
        return await server.total(token, site) == 5

    await until(are_counted)
    found = await server.query(token, site, ["visitors"], dimensions=["visit:country"])
    countries = {row["dimensions"][0]: row["metrics"][0] for row in found["results"]}
    assert countries == {"LV": 1, "JP": 2, "DE": 1}


async def test_script_and_events_go_by_the_name_of_the_site(proxy: Reverse) -> None:
    script = await proxy.curl("/stats/h.js", at=SITE)
    assert (script.status, script.protocol) == (200, "HTTP/2")
    assert script.body == (await proxy.curl("/h.js")).body
    assert b"currentScript" in script.body
    view = json.dumps({"n": "pageview", "u": "http://localhost/", "d": "localhost"}).encode()
    event = await proxy.curl("/stats/api/event", at=SITE, body=view, User_Agent=AGENT)
    assert (event.status, event.body) == (202, b"ok")
    pixel = await proxy.curl("/stats/h.gif?d=localhost&u=http://localhost/", at=SITE, User_Agent=AGENT)
    assert (pixel.status, pixel.headers["content-type"]) == (200, "image/gif")


@pytest.mark.parametrize("path", ["/stats/api/v2/query", "/stats/metrics", "/stats/h.js/x", "/api/event"])
async def test_nothing_else_of_headcount_is_at_the_name_of_the_site(proxy: Reverse, path: str) -> None:
    assert (await proxy.curl(path, at=SITE)).status == 404


async def test_figures_are_not_for_whoever_comes_through_the_proxy(proxy: Reverse) -> None:
    assert (await proxy.curl("/metrics", by="127.77.13.5")).status == 401
    assert (await proxy.curl("/metrics", by="127.77.13.5", X_Forwarded_For="127.0.0.1")).status == 401


async def test_what_is_too_large_is_refused_by_whoever_sees_it_first(proxy: Reverse) -> None:
    # Not HTTP/2: curl 7.88 stumbles over an answer that comes before its body was read.
    by_headcount = await proxy.curl("/api/event", "--http1.1", body=b" " * 1_500_000)
    assert by_headcount.status == 413
    assert "body" in json.loads(by_headcount.body)["errors"]
    # Past its own limit Caddy breaks off, and says of that what happens to come first.
    assert (await proxy.curl("/api/event", "--http1.1", body=b" " * 3_000_000)).status in (413, 503)


async def test_a_server_that_is_busy_or_away_says_when_to_come_again(
    kind: str, certificate: Certificate, tmp_path: Path
) -> None:
    port = free_port()
    async with PROXIES[kind][0](tmp_path / "proxy", certificate, f"127.0.0.1:{port}") as proxy:
        async with busy(port):
            answer = await proxy.curl("/api/event", body=b"{}")
            assert (answer.status, answer.headers["retry-after"], answer.body) == (503, "7", b"full")
        for name, path in ((COUNT, "/api/event"), (SITE, "/stats/api/event")):
            answer = await proxy.curl(path, "--http1.1", at=name, body=b"{}")
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_no_address_is_in_any_log_whatever_goes_wrong(
    kind: str, proxy: Reverse, server: Server, certificate: Certificate, tmp_path: Path
) -> None:
    quiet, talkative = PROXIES[kind]
    nowhere = f"127.0.0.1:{free_port()}"
    await everything_that_fails(proxy)
    async with quiet(tmp_path / "quiet", certificate, nowhere) as alone:
        await everything_that_fails(alone)
    async with talkative(tmp_path / "talkative", certificate, nowhere) as gossip:
        await everything_that_fails(gossip)
    assert found_in(proxy.folder) | found_in(alone.folder) == set()
    assert found_in(server.output.parent) == set()
    assert found_in(gossip.folder) == set(PLANTED)  # so they would be there, were they not kept out


async def everything_that_fails(proxy: Reverse) -> None:
    """Requests that go wrong in as many ways as a proxy has words for, from each planted address."""
    for client in PLANTED:
        for name, path in ((COUNT, "/api/event"), (SITE, "/stats/api/event")):
            await proxy.curl(path, at=name, by=client, body=b"{}", User_Agent=AGENT)
            await proxy.curl(path, at=name, by=client, body=b" " * 3_000_000)
        await proxy.curl("/api/event", "--http1.1", by=client, X_Long="x" * 60_000)
        await proxy.curl("/stats/%00", by=client)
        for request in (
            b"POST /api/event HTTP/1.1\r\nHost: count.example.com\r\nContent-Length: 900\r\n\r\n{",
            b"POST /api/event HTTP/1.1\r\nHost: count.example.com\r\nContent-Length: nonsense\r\n\r\n",
            b"GET /a b HTTP/9\r\n\r\n",
            b"\x16\x03\x01 nonsense\r\n\r\n",
            b"",
        ):
            await asyncio.to_thread(send, proxy.port, client, request, encrypted=True)
            await asyncio.to_thread(send, proxy.port, client, request, encrypted=False)


def send(port: int, client: str, request: bytes, encrypted: bool) -> None:
    """Send this and hang up."""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 10, source_address=(client, 0)) as plain,
    ):
        if not encrypted:
            plain.sendall(request)
            return
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain, server_hostname=COUNT) as channel:
            channel.sendall(request)


def found_in(folder: Path) -> set[str]:
    """Which of the planted addresses stand in a file of this folder, in any form of text."""
    needles = [needle for address in PLANTED for needle in search.needles(address)]
    return {what for what, _, _ in search.find(needles, [folder])}


@pytest.mark.skipif(not is_installed("nginx"), reason="needs nginx: apt-get install nginx-light")
async def test_nginx_keeps_a_client_on_its_node(certificate: Certificate, tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    balancer = Balancer(tmp_path / "proxy", certificate, (one, two))
    async with busy(one, b"one!"), busy(two, b"two!"), balancer as proxy:
        clients = [f"127.77.13.{number}" for number in range(1, 21)]
        nodes = [(await proxy.curl("/api/event", by=client, body=b"{}")).body for client in clients]
        again = [(await proxy.curl("/api/event", by=client, body=b"{}")).body for client in clients]
    assert (set(nodes), again) == ({b"one!", b"two!"}, nodes)


@asynccontextmanager
async def busy(port: int, says: bytes = b"full") -> AsyncIterator[None]:
    """A Headcount that cannot keep anything now."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
        writer.write(head + says)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    yield
    server.close()
    await server.wait_closed()
