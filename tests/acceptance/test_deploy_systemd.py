"""Under systemd: its socket is taken, it hears what we do, and its watchdog hears us while requests are answered."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from acceptance.server import Server, until

pytestmark = pytest.mark.timeout(240)


class Systemd:
    """The end of the channel that systemd reads."""

    def __init__(self, path: Path) -> None:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._channel.bind(str(path))
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """All that was heard, without the values."""
        while True:
            try:
                message = self._channel.recv(4096).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append("+".join(line.partition("=")[0] for line in message.split("\n")))

    def hears(self, *words: str) -> bool:
        """Whether these words came, in this order, whatever came between."""
        heard = iter(self.listen())
        return all(word in heard for word in words)

    def fileno(self) -> int:
        return self._channel.fileno()

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Systemd]:
    """What is started from here on has systemd's variables, with a watchdog of 1.5 seconds."""
    channel = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1500000")
    # The kernel holds ten messages and no more.
    asyncio.get_running_loop().add_reader(channel.fileno(), channel.listen)
    yield channel
    asyncio.get_running_loop().remove_reader(channel.fileno())
    channel.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_systemd_hears_what_the_server_does(place: Path, systemd: Systemd) -> None:
    async with Server(place, workers="1") as server:
        await server.start()
        await until(lambda: systemd.hears("READY", "WATCHDOG"))
        (worker,) = server.children("web")
        os.kill(worker, signal.SIGSTOP)
        await asyncio.sleep(0.5)  # an answer may have been on its way
        before = len(systemd.listen())
        await asyncio.sleep(1.5)
        assert len(systemd.listen()) == before  # the watchdog hears nothing while no worker answers

        os.kill(worker, signal.SIGCONT)
        await until(lambda: len(systemd.listen()) > before)
        await server.renew()
        await until(lambda: systemd.hears("READY", "RELOADING+MONOTONIC_USEC", "READY", "WATCHDOG"))
        await server.stop()
        assert systemd.listen().count("READY") == 2
        assert systemd.heard[-1] == "STOPPING"


async def test_the_socket_of_systemd_outlives_the_server(place: Path, listening: socket.socket) -> None:
    async with Server(place) as server:
        server.passed = [listening]
        await server.start()
        host, port = listening.getsockname()
        assert server.origin == f"http://{host}:{port}"
        await server.stop()

        reader, writer = await asyncio.open_connection(host, port)  # while nobody is there
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: count\r\nConnection: close\r\n\r\n")
        await server.start()
        assert b" 200 " in await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        await server.stop()


async def test_sockets_that_do_not_fit_are_refused_by_name(place: Path, listening: socket.socket) -> None:
    said = {}
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(str(place / "socket"))
        local.listen()
        for name, sockets in (("two", [listening, listening]), ("udp", [datagrams]), ("unix", [local])):
            server = Server(place)
            server.passed = sockets
            server.output.unlink(missing_ok=True)
            said[name] = await server.refuses_to_start()
    assert "passes 2 sockets (headcount.socket, headcount.socket)" in said["two"]
    assert "(headcount.socket) is none that listens on TCP" in said["udp"]
    assert "(headcount.socket) is none that listens on TCP" in said["unix"]


async def test_an_address_that_is_taken_is_said(place: Path, listening: socket.socket) -> None:
    host, port = listening.getsockname()
    said = await Server(place, listen=f"{host}:{port}").refuses_to_start()
    assert f"HEADCOUNT_LISTEN: {host}:{port} cannot be listened on: Address already in use" in said
