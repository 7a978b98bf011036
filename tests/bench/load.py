"""A load by `wrk` from one core, against a server that has another to itself; what it took of that core."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
SERVER_CORE, LOAD_CORE = 0, max(os.cpu_count() or 1, 2) - 1
TICKS = os.sysconf("SC_CLK_TCK")

# Each connection sends the next request as soon as the last was answered.
_SCRIPT = """
local file = io.open(os.getenv("REQUESTS"), "rb")
local requests, count, at = {}, 0, 0
while true do
    local size = file:read(8)
    if not size then break end
    count = count + 1
    requests[count] = file:read(tonumber(size))
end
file:close()
request = function()
    at = at % count + 1
    return requests[at]
end
if os.getenv("DELAY") ~= "0" then
    delay = function() return tonumber(os.getenv("DELAY")) end
end
done = function(summary, latency)
    local e = summary.errors
    io.stderr:write(string.format('{"requests": %d, "microseconds": %d, "failed": %d, "p99": %d}',
        summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Result:
    """What one run gave."""

    requests: int
    seconds: float
    cpu_seconds: float
    """Of the server's processes."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """The server's CPU time a request."""
        return self.cpu_seconds / self.requests * 1e6


def post(path: str, body: bytes, *headers: str, content_type: str = "application/json") -> bytes:
    """A request as a browser or a product sends it."""
    lines = [f"POST {path} HTTP/1.1", "Host: count.example.com", f"Content-Type: {content_type}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def run(
    port: int, pid: int, requests: Sequence[bytes], seconds: float, rate: float | None = None
) -> Result:
    """Send the requests, again and again, as fast as they are answered or at about this rate a second.

    Raises RuntimeError if one is not answered with 2xx.
    """
    pause = 0 if rate is None else round(CONNECTIONS / rate * 1000)
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder, "load.lua"), Path(folder, "requests")
        script.write_text(_SCRIPT)
        file.write_bytes(b"".join(b"%08d%s" % (len(request), request) for request in requests))
        command = [
            "taskset",
            "-c",
            str(LOAD_CORE),
            _wrk(),
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds:.0f}s",
            "--timeout",
            "30s",
        ]
        before = cpu_of_tree(pid)
        process = await asyncio.create_subprocess_exec(
            *command,
            "-s",
            str(script),
            f"http://127.0.0.1:{port}/",
            env={**os.environ, "REQUESTS": str(file), "DELAY": str(pause)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(process.communicate(), seconds + 60)
        used = cpu_of_tree(pid) - before
    found = json.loads(said.decode())
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{found['failed']} of {found['requests']} requests failed")
    return Result(found["requests"], found["microseconds"] / 1e6, used)


def cpu_seconds(pid: int) -> float:
    """CPU time that the process has used, of all its threads."""
    return sum(map(int, _stat(pid)[11:13])) / TICKS


def cpu_of_tree(pid: int) -> float:
    """Seconds of CPU that the process and its children have used, also those that have ended."""
    return sum(map(int, _stat(pid)[11:15])) / TICKS + sum(map(cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("make bench needs wrk and nginx: apt-get install wrk nginx-light")
    return found
