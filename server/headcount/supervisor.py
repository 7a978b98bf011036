"""Owns the listening socket, the children and the own PostgreSQL; restarts what dies, and stops in order.

Children inherit the one socket, so that a killed worker resets nothing that waits to be accepted. Each child
also holds the reading end of a pipe: when the supervisor is gone, whatever happened, it reads the end and stops.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from headcount import errors
from headcount.config import Config
from headcount.store import embedded
from headcount.web import script

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""After this a child that was told to stop is killed; nothing durable is lost by it."""
FIRST_DELAY, LAST_DELAY = 0.2, 10.0
"""Seconds before a child that died is started again: doubled each time it dies young."""
OLD_ENOUGH = 30.0


def listener(config: Config) -> socket.socket:
    """The listening socket: systemd's if it brings one, else our own. Raises BadConfig."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=3)
    host, port = config.listen
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise errors.BadConfig(
            f"HEADCOUNT_LISTEN: {host}:{port} cannot be listened on: {error.strerror}"
        ) from None


class Supervisor:
    """One server: a rollup, and as many web workers as configured."""

    def __init__(self, config: Config, listening: socket.socket) -> None:
        host, port = listening.getsockname()[:2]  # with port 0 the system has chosen one
        self._listen_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._config = dataclasses.replace(config, listen=(host, port))
        self._listening = listening
        self._own = None if config.database_url else embedded.Embedded(config.data_dir)
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._finished = asyncio.Event()
        self._pipe = os.pipe()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        postgres = asyncio.create_task(self._keep_postgres())
        rollup = asyncio.create_task(self._keep("rollup", self._drained))
        workers = [
            asyncio.create_task(self._keep("web", self._stopping)) for _ in range(self._config.workers)
        ]
        greeting = asyncio.create_task(self._greet())
        await self._stopping.wait()
        greeting.cancel()
        await asyncio.gather(*workers)  # they drain first; the rollup then takes what they spooled
        self._drained.set()
        await rollup
        self._finished.set()
        await asyncio.gather(postgres, greeting, return_exceptions=True)
        if self._own is not None:
            await asyncio.to_thread(self._own.release)

    async def _keep(self, role: str, stop: asyncio.Event) -> None:
        """Start a child of this role, again and again, until we stop."""
        delay = FIRST_DELAY
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            try:
                child = await self._start(role)
            except OSError as error:  # no memory, no processes: for now
                log.error("a %s process cannot be started: %s", role, error.strerror)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LAST_DELAY)
                continue
            code = await _end_of(child, stop)
            if stop.is_set():
                return
            delay = FIRST_DELAY if loop.time() - began > OLD_ENOUGH else min(delay * 2, LAST_DELAY)
            log.error("a %s process ended (%s); another is started in %.1f s", role, _how(code), delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay)

    async def _start(self, role: str) -> asyncio.subprocess.Process:
        descriptors = [self._pipe[0]] + ([self._listening.fileno()] if role == "web" else [])
        command = [sys.executable, "-m", "headcount.cli.main", "serve", "--role", role, *self._flags(role)]
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=descriptors,
            env={**os.environ, "HEADCOUNT_LISTEN": self._listen_address},
            start_new_session=True,  # an interrupt from the terminal is for us: we stop them in order
        )

    def _flags(self, role: str) -> Sequence[str]:
        flags = ["--alive", str(self._pipe[0])]
        return [*flags, "--socket", str(self._listening.fileno())] if role == "web" else flags

    async def _keep_postgres(self) -> None:
        if self._own is None:
            return
        failing = False
        # Not cancelled but told to end: a thread that is starting Postgres cannot be, and must not do so after
        # it was stopped.
        while not self._finished.is_set():
            try:
                await asyncio.to_thread(self._own.ensure)
                failing = False
            except errors.HeadcountError as error:
                if not failing:
                    log.error("%s", error.message)
                failing = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), 1.0)

    async def _greet(self) -> None:
        """Say where we are, as soon as sites are known."""
        settings = self._config.data_dir / "settings.msgpack"
        while not settings.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
        print(f"\nHeadcount is at {self._config.origin}\n", flush=True)
        print("To try it, paste this into a page that is served on localhost:\n", flush=True)
        print(f"    {script.tag(self._config.origin, 'localhost')}\n", flush=True)
        print("Then: .venv/bin/headcount stats localhost\n", flush=True)


async def _end_of(child: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """The exit code of the child, which is told to end when `stop` is set, and made to if it does not."""
    ended = asyncio.create_task(child.wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        await asyncio.wait({ended}, timeout=STOP_SECONDS)
        if not ended.done():
            child.kill()
    return await ended


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
