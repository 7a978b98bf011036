"""A real `headcount serve` for a test, with real child processes: to post to, ask, kill and stop.

Everything is started on a data directory of the test's own, with none of the surrounding settings, and only
what was started there is ever ended. Nothing of the server itself is replaced.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import aiohttp

from headcount.store import embedded

HEADCOUNT = (sys.executable, "-m", "headcount.cli.main")
# libfaketime makes time.sleep fail while the time stands still, and the supervisor sleeps while it waits for
# Postgres. So the supervisor keeps the true time, which it only writes into its log, and passes the library on.
_HEADCOUNT_WITHOUT_CLOCK = """
import os, sys
os.environ.update(LD_PRELOAD=sys.argv.pop(1))
from headcount.cli.main import main
main()
"""
# What systemd does before it starts a service that has a socket: sd_listen_fds(3).
_WITH_SOCKETS = """
import os, sys
passed, command = sys.argv[1].split(","), sys.argv[2:]
free = [os.dup(int(number)) for number in passed]
for number, descriptor in enumerate(free, 3):
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)
names = ":".join(["headcount.socket"] * len(passed))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine. What is asserted never depends on how long it took."""

T = TypeVar("T")


class Clock:
    """The time of faked processes, which stands still until it is set: a file that libfaketime reads."""

    def __init__(self, file: Path, now: datetime) -> None:
        self._file = file
        self.set(now)

    def set(self, now: datetime) -> None:
        """From here on it is `now`, in whole seconds, in all processes at once."""
        beside = self._file.with_suffix(".part")
        beside.write_text(now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        beside.replace(self._file)  # so that nobody reads half of it
        self.now = now

    def environment(self) -> dict[str, str]:
        """What libfaketime has to be told. Timers run on; only the time of day is made up."""
        return {
            "TZ": "UTC",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else a thread that waits for the interpreter lock spins
            "NO_FAKE_STAT": "1",
        }


def libfaketime() -> Path | None:
    """Debian's library, in its variant for programs with threads."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


class Server:
    """One server and its data directory: started, killed and started again as often as a test likes."""

    def __init__(self, place: Path, clock: Clock | None = None, /, **settings: str) -> None:
        self.data_dir = place / "data"
        self.output = place / "output.log"
        """All that the server and the commands ever said."""
        self.clock = clock
        self.passed: Sequence[socket.socket] = ()
        """Sockets that it is started with, as by systemd."""
        self._place = place
        self._settings = {f"HEADCOUNT_{name.upper()}": value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._faked: list[int] = []
        self.origin = ""
        """Where it is reached; empty before it has told that, at each start anew."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        await asyncio.to_thread(self.end)

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        """Of its Postgres, its own or the one that it was told to use."""
        return self._settings.get("HEADCOUNT_DATABASE_URL") or embedded.Embedded(self.data_dir).dsn()

    async def start(self) -> None:
        """Start it; returns when it can be asked, Postgres included."""
        self.origin = ""
        already = self.output.stat().st_size if self.output.exists() else 0
        self._process = self._run("serve")
        self.origin = await until(lambda: self._greeting(already))
        await until(self._lives)
        if "HEADCOUNT_DATABASE_URL" not in self._settings:
            await until(self._has_postgres)
        if self.clock is not None:
            self._faked += self.children("rollup") + self.children("web")

    async def stop(self) -> None:
        """Stop it as an operator or systemd would. It has to end well, and leave nothing running."""
        await self.end_by(signal.SIGTERM)

    async def end_by(self, number: signal.Signals) -> None:
        """Send the signal to the supervisor alone; then as `stop`."""
        assert self._process is not None
        self._process.send_signal(number)
        assert await asyncio.to_thread(self._process.wait, PATIENCE) == 0
        assert self.processes() == {}
        assert self.postgres() is None

    async def renew(self) -> None:
        """Have all children replaced, as an operator does after an upgrade; returns when it is done."""
        already = self.output.stat().st_size
        os.kill(self.pid, signal.SIGHUP)
        await until(lambda: b"all processes are replaced\n" in self.output.read_bytes()[already:])

    async def refuses_to_start(self) -> str:
        """What it says when it is started and ends at once, as it should."""
        process = await asyncio.to_thread(self._run, "serve")
        assert await asyncio.to_thread(process.wait, PATIENCE) == 1
        return self.said()

    async def kill_supervisor(self) -> None:
        """Kill -9 the supervisor alone. What becomes of its children is up to them."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def kill_child(self, role: str, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill one of the children of this role, and wait until another has taken its place."""
        before = self.children(role)
        os.kill(before[0], by)
        await until(lambda: len(set(self.children(role)) - {before[0]}) == len(before))

    async def kill_postgres(self) -> None:
        """Kill -9 Postgres, and wait until it takes sessions again."""
        running = self.postgres()
        assert running is not None
        os.kill(running, signal.SIGKILL)
        await until(lambda: self.postgres() not in (None, running))
        await until(self._has_postgres)

    def children(self, role: str) -> list[int]:
        """The pids of the supervisor's children of this role: `web` or `rollup`."""
        return [pid for pid, (parent, does) in self.processes().items() if (parent, does) == (self.pid, role)]

    def processes(self) -> dict[int, tuple[int, str]]:
        """pid: (pid of the parent, role) of whatever runs on the data directory, Postgres apart."""
        ours = f"HEADCOUNT_DATA_DIR={self.data_dir}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):  # it has ended meanwhile, or is no process, or not ours
                if ours in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                    role = words[words.index("--role") + 1] if "--role" in words else "serve"
                    found[int(entry.name)] = (_parent(entry), role)
        return found

    def postgres(self) -> int | None:
        """The pid of its Postgres, if that runs."""
        with suppress(OSError, ValueError, IndexError):
            file = self.data_dir / "postgres" / "postmaster.pid"
            pid = int(file.read_text().split("\n")[0])
            if Path(f"/proc/{pid}/cwd").samefile(self.data_dir / "postgres"):
                return pid
        return None

    async def command(self, *words: str, secret: bool = False) -> str:
        """What a command prints, which has to succeed. `secret`: it is not kept with the other output."""
        process = await asyncio.to_thread(self._run, *words, piped=True)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        if not secret:
            with self.output.open("ab") as output:
                output.write(printed)
        assert process.returncode == 0, self.said()
        return printed.decode()

    async def add_site(self, domain: str, **fields: str) -> None:
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
        await self.command("site", "add", domain, *flags)

    async def token(self, *scopes: str) -> str:
        """A token for all sites, once the server knows it, and with it every site made before."""
        made = json.loads(await self.command("token", "create", "--scopes", ",".join(scopes), "--json"))
        token: str = made["token"]

        async def is_known() -> bool:
            # Each worker reads the copy for itself, so all of them have to say so, on connections of their own.
            return all([await self._knows(token) for _ in range(12)])

        await until(is_known)
        return token

    async def product(self, name: str, **plan: object) -> str:
        """A product with a plan `team`; its root key."""
        flags = [f"--{field.replace('_', '-')}={value}" for field, value in plan.items()]
        made = json.loads(await self.command("product", "add", name, "--plan", "team", *flags, "--json"))
        root: str = made["root_key"]
        return root

    async def license(self, product: str, **plan: object) -> str:
        """The key of a license of a product that is made if it is missing, once all workers know it."""
        if product not in await self.command("product", "list"):
            await self.product(product, **plan)
        words = ("license", "issue", "--product", product, "--plan", "team", "--json")
        key: str = json.loads(await self.command(*words, secret=True))["key"]

        async def is_known() -> bool:
            asked = [self._answers(product) for _ in range(12)]
            return all(await asyncio.gather(*asked))

        await until(is_known)
        return key

    async def _answers(self, product: str) -> bool:
        url = f"{self.origin}/api/license/keys?product={product}"
        async with self.http.get(url, headers={"Connection": "close"}) as answer:
            return answer.status == 200

    async def post(self, body: object, headers: Mapping[str, str] | None = None) -> aiohttp.ClientResponse:
        """Post an event, an array of events, or bytes as they are; the answer, read to its end."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(f"{self.origin}/api/event", data=data, headers=headers) as answer:
            await answer.read()
            return answer

    async def query(self, token: str, site: str, metrics: Sequence[str], **question: Any) -> dict[str, Any]:
        """The whole answer of the stats API."""
        asked = {"site_id": site, "metrics": metrics, "date_range": "7d", **question}
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.post(f"{self.origin}/api/v2/query", json=asked, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def total(self, token: str, site: str, metric: str = "pageviews") -> int:
        """One figure of the last seven days."""
        answer = await self.query(token, site, [metric])
        count: int = answer["results"][0]["metrics"][0]
        return count

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def end(self) -> None:
        """End whatever still runs here, well or not, and take away what it left outside the data directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE / 3)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        folder = self._socket_folder()
        postgres = self.postgres()
        if postgres is not None:
            os.kill(postgres, signal.SIGINT)
            _wait_for_end(postgres)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.day_key_folders():
            shutil.rmtree(folder)
        for pid in self._faked:  # what libfaketime does not take away when it is killed
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                Path("/dev/shm", name).unlink(missing_ok=True)

    def day_key_folders(self) -> list[Path]:
        """Where on a RAM disk the day keys of this data directory live."""
        with suppress(FileNotFoundError):
            name = f"headcount-days-{(self.data_dir / 'id').read_text()}"
            return [Path(base, name) for base in ("/run", "/dev/shm") if Path(base, name).exists()]
        return []

    def _run(self, *words: str, piped: bool = False) -> subprocess.Popen[bytes]:
        command = [*HEADCOUNT, *words]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADCOUNT_")},
            "HEADCOUNT_DATA_DIR": str(self.data_dir),
            "HEADCOUNT_LISTEN": "127.0.0.1:0",
            "TMPDIR": str(self._temporary()),
            **self._settings,
        }
        library = libfaketime()
        if self.clock is not None and library is not None and words[0] in ("serve", "stats"):
            environment |= self.clock.environment()
            if words[0] == "serve":
                command = [sys.executable, "-c", _HEADCOUNT_WITHOUT_CLOCK, str(library), *words]
            else:
                environment["LD_PRELOAD"] = str(library)
        if self.passed and words[0] == "serve":
            numbers = ",".join(str(one.fileno()) for one in self.passed)
            command = [sys.executable, "-c", _WITH_SOCKETS, numbers, *command]
        with self.output.open("ab") as output:
            return subprocess.Popen(
                command,
                pass_fds=[one.fileno() for one in self.passed],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else output,
                stderr=output,
                cwd=self._place,  # no headcount.toml here
                env=environment,
            )

    def _temporary(self) -> Path:
        folder = self._place / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def _greeting(self, after: int) -> str:
        """The origin that the server has printed since, or nothing yet."""
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        _, found, rest = self.output.read_bytes()[after:].decode().partition("Headcount is at ")
        return rest.split()[0] if found and rest.split() else ""

    async def _lives(self) -> bool:
        try:
            async with self.http.get(f"{self.origin}/health/live") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def _has_postgres(self) -> bool:
        """Whether it takes sessions, by its own word."""
        with suppress(OSError, IndexError):
            lines = (self.data_dir / "postgres" / "postmaster.pid").read_text().split("\n")
            return lines[7].strip() == "ready" and self.postgres() is not None
        return False

    async def _knows(self, token: str) -> bool:
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        async with self.http.get(f"{self.origin}/api/v1/tokens", headers=headers) as answer:
            text = await answer.text()
        return "is not known" not in text

    def _socket_folder(self) -> Path | None:
        with suppress(OSError, IndexError):
            return Path((self.data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[4])
        return None


@overload
async def until(check: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T: ...


@overload
async def until(check: Callable[[], T], seconds: float = PATIENCE) -> T: ...


async def until(check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `check` gives as soon as it gives something."""
    end = time.monotonic() + seconds
    while True:
        given = check()
        found = await given if isinstance(given, Awaitable) else given
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:.0f} seconds"
        await asyncio.sleep(0.05)


def _parent(process: Path) -> int:
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])


def _wait_for_end(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
