"""`headcount serve`: the whole server, or one of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import click
import uvloop

from headcount import app, errors, logs, supervisor
from headcount.config import Config
from headcount.store import embedded

log = logging.getLogger(__name__)

Role = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]
"""Works until the event is set; calls the function once it has begun."""


@click.command()
@click.option("--role", type=click.Choice(["web", "rollup"]), help="One process alone, for containers.")
@click.option("--socket", "socket_fd", type=int, hidden=True, help="The inherited listening socket.")
@click.option("--alive", "alive_fd", type=int, hidden=True, help="Ends when the supervisor does.")
@click.option("--ready", "ready_fd", type=int, hidden=True, help="Written to when the work has begun.")
@click.pass_obj
def serve(
    config: Config, role: str | None, socket_fd: int | None, alive_fd: int | None, ready_fd: int | None
) -> None:
    """Run the server until it is told to stop."""
    app.set_limits()
    logs.configure(config.log_level, config.log_format, role or "supervisor")
    logs.catch_strays()
    os.umask(0o077)
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if role is None:
        asyncio.run(_supervise(config))
        return
    own = embedded.Embedded(config.data_dir) if alive_fd is None and not config.database_url else None
    try:
        if own is not None:
            own.start()
        _run(_work(config, role, socket_fd), alive_fd, ready_fd)
    finally:
        if own is not None:
            own.release()


async def _supervise(config: Config) -> None:
    with supervisor.listener(config) as listening:
        await supervisor.Supervisor(config, listening).run()


def _work(config: Config, role: str, socket_fd: int | None) -> Role:
    if role == "rollup":
        return lambda stop, ready: app.serve_rollup(config, stop, ready)
    listening = socket.socket(fileno=socket_fd) if socket_fd is not None else supervisor.listener(config)
    return lambda stop, ready: app.serve_web(config, listening, stop, ready)


def _run(role: Role, alive_fd: int | None, ready_fd: int | None) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if alive_fd is not None:
            os.set_blocking(alive_fd, False)
            loop.add_reader(alive_fd, _look, alive_fd, stop)
        await role(stop, lambda: _tell(ready_fd))

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except BlockingIOError:
        raise errors.BadConfig("another rollup is at work on this data directory") from None
    except errors.HeadcountError:
        raise
    except Exception:
        log.exception("this process cannot go on")  # the interpreter itself would print the message too
        sys.exit(1)


def _tell(ready_fd: int | None) -> None:
    """Tell the supervisor that the work has begun; it may have gone meanwhile."""
    if ready_fd is not None:
        with contextlib.suppress(BrokenPipeError):
            os.write(ready_fd, b"1")
        os.close(ready_fd)


def _look(alive_fd: int, stop: asyncio.Event) -> None:
    """The pipe can be read: nobody ever writes to it, so the supervisor is gone."""
    with contextlib.suppress(BlockingIOError):
        if not os.read(alive_fd, 1):
            asyncio.get_running_loop().remove_reader(alive_fd)
            stop.set()
