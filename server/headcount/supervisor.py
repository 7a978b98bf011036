"""Owns the listening socket, the children and the own PostgreSQL; restarts what dies, and stops in order.

Children inherit the one socket, so that a killed worker resets nothing that waits to be accepted. Each child
also holds the reading end of a pipe: when the supervisor is gone, whatever happened, it reads the end and stops.
SIGHUP replaces the children one after the other, the socket stays: nobody who connects meanwhile is turned away.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from headcount import errors, systemd
from headcount.config import Config
from headcount.store import embedded
from headcount.web import script

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""After this a child that was told to stop is killed; nothing durable is lost by it."""
FIRST_DELAY, LAST_DELAY = 0.2, 10.0
"""Seconds before a child that died is started again: doubled each time it dies young."""
OLD_ENOUGH = 30.0
READY_SECONDS = 60.0
"""So long a child that takes the place of another may take to begin its work."""


def listener(config: Config) -> socket.socket:
    """The listening socket: systemd's if it brings one, else our own. Raises BadConfig."""
    passed = systemd.listener()
    if passed is not None:
        return passed
    host, port = config.listen
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise errors.BadConfig(
            f"HEADCOUNT_LISTEN: {host}:{port} cannot be listened on: {error.strerror}"
        ) from None


Start = Callable[[str, asyncio.Event], Awaitable[asyncio.subprocess.Process]]
"""Starts a child of a role; the event is set when the child has begun its work."""


class Keeper:
    """Keeps one child of a role running: another is started when it dies, until this is told to end."""

    def __init__(self, role: str, start: Start) -> None:
        self.role = role
        self.ready = asyncio.Event()
        self._start = start
        self._stop = asyncio.Event()
        self._died = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def began(self) -> bool:
        """Whether the first child has begun its work; False also if it takes too long."""
        waiting = [asyncio.create_task(event.wait()) for event in (self.ready, self._died)]
        await asyncio.wait(waiting, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return self.ready.is_set()

    async def end(self) -> None:
        """Have the child finish what is under way, and end."""
        self._stop.set()
        await asyncio.shield(self._task)

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            began = loop.time()
            try:
                child = await self._start(self.role, self.ready)
            except OSError as error:  # no memory, no processes: for now
                log.error("a %s process cannot be started: %s", self.role, error.strerror)
                await self._pause(LAST_DELAY)
                continue
            code = await _end_of(child, self._stop)
            if self._stop.is_set():
                if code == -signal.SIGKILL:
                    log.warning("a %s process did not end when told to, and was killed", self.role)
                return
            self._died.set()
            delay = FIRST_DELAY if loop.time() - began > OLD_ENOUGH else min(delay * 2, LAST_DELAY)
            log.error("a %s process ended (%s); another is started in %.1f s", self.role, _how(code), delay)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


class Supervisor:
    """One server: a rollup, and as many web workers as configured."""

    def __init__(self, config: Config, listening: socket.socket) -> None:
        host, port = listening.getsockname()[:2]  # with port 0 the system has chosen one
        self._listen_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._config = dataclasses.replace(config, listen=(host, port))
        self._listening = listening
        self._own = None if config.database_url else embedded.Embedded(config.data_dir)
        self._keepers: list[Keeper] = []
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._renew = asyncio.Event()
        self._pipe = os.pipe()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._renew.set)
        postgres = asyncio.create_task(self._keep_postgres())
        for role in ("rollup", *["web"] * self._config.workers):
            self._keeper(role)
        works = (
            self._greet(),
            self._tell_when_ready(),
            self._renew_when_asked(),
            self._tell_that_it_answers(),
        )
        beside = [asyncio.create_task(work) for work in works]
        await self._stopping.wait()
        systemd.stopping()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await self._end("web")  # they drain first; the rollup then takes what they spooled
        await self._end("rollup")
        self._finished.set()
        await asyncio.gather(postgres, return_exceptions=True)
        if self._own is not None:
            await asyncio.to_thread(self._own.release)

    def _keeper(self, role: str) -> Keeper:
        keeper = Keeper(role, self._start)
        self._keepers.append(keeper)
        return keeper

    async def _end(self, role: str) -> None:
        await asyncio.gather(*(keeper.end() for keeper in self._keepers if keeper.role == role))

    async def _tell_when_ready(self) -> None:
        """When all workers answer. Without a rollup they collect as well, so nobody shall end them for its sake."""
        await asyncio.gather(*(keeper.ready.wait() for keeper in self._keepers if keeper.role == "web"))
        systemd.ready()

    async def _tell_that_it_answers(self) -> None:
        """The watchdog hears of us while our loop runs and a worker answers: one of them, not each."""
        period = systemd.watchdog()
        while period is not None:
            if await self._answers(period / 3):
                systemd.alive()
            await asyncio.sleep(period / 3)

    async def _answers(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(*self._config.listen)
                try:
                    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _renew_when_asked(self) -> None:
        while True:
            await self._renew.wait()
            self._renew.clear()
            systemd.reloading()
            log.info("all processes are replaced, one after the other")
            if await self._renew_all():
                log.info("all processes are replaced")
            else:
                log.error("a new process did not begin its work: those that are left stay")
            systemd.ready()

    async def _renew_all(self) -> bool:
        """Replace each child; False as soon as a new one does not do, and its elder goes on.

        A worker's successor takes connections before the worker is told to end. Of rollups there can be but one.
        """
        for elder in [keeper for keeper in self._keepers if keeper.role == "web"]:
            successor = self._keeper("web")
            if not await successor.began():
                await self._dismiss(successor)
                return False
            await self._dismiss(elder)
        for elder in [keeper for keeper in self._keepers if keeper.role == "rollup"]:
            await self._dismiss(elder)
        return await self._keeper("rollup").began()

    async def _dismiss(self, keeper: Keeper) -> None:
        await keeper.end()
        self._keepers.remove(keeper)

    async def _start(self, role: str, ready: asyncio.Event) -> asyncio.subprocess.Process:
        reading, writing = os.pipe()
        descriptors = {"--alive": self._pipe[0], "--ready": writing}
        if role == "web":
            descriptors["--socket"] = self._listening.fileno()
        flags = [word for flag, number in descriptors.items() for word in (flag, str(number))]
        try:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "headcount.cli.main", "serve", "--role", role, *flags),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=list(descriptors.values()),
                env={**os.environ, "HEADCOUNT_LISTEN": self._listen_address},
                start_new_session=True,  # an interrupt from the terminal is for us: we stop them in order
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        asyncio.get_running_loop().add_reader(reading, _look, reading, ready)
        return child

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


def _look(reading: int, ready: asyncio.Event) -> None:
    """The child has written that it has begun its work, or has ended."""
    if os.read(reading, 1):
        ready.set()
    asyncio.get_running_loop().remove_reader(reading)
    os.close(reading)


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
