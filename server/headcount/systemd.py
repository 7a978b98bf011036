"""What systemd and the supervisor tell each other: the socket it brings, that we are ready, and that we answer.

The protocols are those of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3). Without systemd, all of
this does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from headcount import errors

log = logging.getLogger(__name__)

_FIRST = 3
"""The number of the first descriptor that is passed."""
_PATIENCE = 1.0
"""Seconds that a message may wait for a systemd that is busy."""


def listener() -> socket.socket | None:
    """The socket that systemd brings; None: it brings none. BadConfig: not one TCP socket that listens."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    if count == "0":
        return None
    names = os.environ.get("LISTEN_FDNAMES", "without names").replace(":", ", ")
    if count != "1":
        raise errors.BadConfig(
            f"systemd passes {count} sockets ({names}), and Headcount listens on one: "
            "leave one ListenStream= in headcount.socket"
        )
    try:
        passed = socket.socket(fileno=_FIRST)
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise errors.BadConfig(f"what systemd passes ({names}) is no socket: {error.strerror}") from None
    if not listens or passed.family not in (socket.AF_INET, socket.AF_INET6):
        passed.close()
        raise errors.BadConfig(
            f"the socket that systemd passes ({names}) is none that listens on TCP: "
            "headcount.socket needs ListenStream= with an address and a port, and Accept=no"
        )
    return passed


def ready() -> None:
    """The start, or what began with `reloading`, is done."""
    _tell("READY=1")


def reloading() -> None:
    """All processes are replaced, until `ready`."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    _tell("STOPPING=1")


def alive() -> None:
    """For the watchdog."""
    _tell("WATCHDOG=1")


def watchdog() -> float | None:
    """Seconds within which systemd wants to hear `alive`; None: it does not watch us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def _tell(message: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    # "@" stands for the zero that begins a name outside of the file system.
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_PATIENCE)
            channel.sendto(message.encode(), address)
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", message.split("\n")[0], error.strerror or error)
