"""The servers that are compared: one process each, on one core that they take turns on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import load

HERE = Path(__file__).parent
OURS = (sys.executable, "-m", "headcount.cli.main", "serve", "--role", "web", "--socket")
NOTHING = (sys.executable, str(HERE / "nothing.py"))
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/body;
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        return 204;
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """A server that answers on this port of the loopback."""

    port: int
    pid: int


@contextmanager
def python(command: Sequence[str], **environment: str) -> Iterator[Server]:
    """One of ours, or the handler that does nothing: it takes the listening socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        descriptor = listening.fileno()
        port = listening.getsockname()[1]
        with _process([*command, str(descriptor)], (descriptor,), environment) as pid:
            yield Server(port, pid)


@contextmanager
def worker(folder: Path, **settings: str) -> Iterator[Server]:
    """One web worker without its rollup and without Postgres."""
    given = {
        "data_dir": str(folder),
        "database_url": "postgresql://nobody@127.0.0.1:1/nothing",
        "rate_limit": "0",
        "trusted_proxies": "127.0.0.1",
        **settings,
    }
    with python(OURS, **{f"HEADCOUNT_{name.upper()}": value for name, value in given.items()}) as server:
        yield server


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """nginx that answers 204 to whatever comes, and writes its access log."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("make bench needs wrk and nginx: apt-get install wrk nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port))
    with _process(
        [program, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")], (), {}
    ) as pid:
        yield Server(port, pid)


@contextmanager
def _process(
    command: Sequence[str], descriptors: Sequence[int], environment: dict[str, str]
) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        pass_fds=descriptors,
        env={**os.environ, **environment},
        preexec_fn=lambda: os.sched_setaffinity(0, {load.SERVER_CORE}),
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def compare(
    servers: dict[str, Server], requests: Sequence[bytes], rounds: int, seconds: float
) -> dict[str, list[load.Result]]:
    """The same requests to each server by turns, so that what disturbs the machine disturbs all of them."""
    found: dict[str, list[load.Result]] = {name: [] for name in servers}
    for server in servers.values():
        await _until_it_answers(server)
        await load.run(server.port, server.pid, requests, 1)
    for _ in range(rounds):
        for name, server in servers.items():
            found[name].append(await load.run(server.port, server.pid, requests, seconds))
    return found


def told(found: dict[str, list[load.Result]], unit: int = 1) -> dict[str, object]:
    """Rates and CPU time of each, and the medians of the ratios of the first to each other, round by round."""
    ours, *others = found
    figures: dict[str, object] = {}
    for name, results in found.items():
        figures[f"{name}, a second"] = round(unit * statistics.median(r.rate for r in results))
        figures[f"{name}, CPU microseconds"] = round(
            statistics.median(r.cpu_microseconds for r in results) / unit, 1
        )
    for name in others:
        pairs = list(zip(found[ours], found[name], strict=True))
        figures[f"{ours} : {name}"] = round(statistics.median(a.rate / b.rate for a, b in pairs), 2)
        cpu = statistics.median(b.cpu_microseconds / a.cpu_microseconds for a, b in pairs)
        figures[f"{ours} : {name}, by CPU time"] = round(cpu, 2)
    return figures


async def _until_it_answers(server: Server) -> None:
    """A socket takes connections before its server is there: so an answer is waited for."""
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readline()
            writer.close()
            return
