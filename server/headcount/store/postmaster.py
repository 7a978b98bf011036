"""A Postgres server process, seen from outside: found by its data directory, watched, stopped by its pid.

A pid is believed only together with the data directory the process works in: numbers are given anew, after
a restart of a container often to the next best process.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headcount import errors
from headcount.store import files, sockets

_RECOVERY, _FAST, _IMMEDIATE = 10.0, 20.0, 5.0  # seconds before a shutdown, and for each kind of it
_ANSWER = 5.0  # seconds
_LINES = 8  # of postmaster.pid, once the server has got that far


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server that is alive, and what its postmaster.pid says."""

    pid: int
    folder: Path | None
    status: str

    @property
    def ready(self) -> bool:
        return self.folder is not None and self.status == "ready"


def find(pgdata: Path) -> Postmaster | None:
    """The server that runs on this data directory."""
    lines = _pid_file(pgdata)
    pid = _number(lines)
    if pid <= 0 or not alive(pid) or not _belongs(pid, pgdata):
        return None
    if len(lines) <= _LINES:  # each ends with a line feed
        return Postmaster(pid, None, "starting")
    return Postmaster(pid, Path(lines[4]), lines[7].strip())


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def forget(pgdata: Path, folder: Path) -> None:
    """Remove what a dead server left and what would keep the next from starting. Only when `find` says None.

    Postgres recognises a stale postmaster.pid by itself, unless it is damaged or its number belongs to some
    other process by now. It looks for shared memory still in use with or without that file.
    """
    pid = abs(_number(_pid_file(pgdata)))
    if pid == 0 or (Path(f"/proc/{pid}").exists() and not (alive(pid) and _belongs(pid, pgdata))):
        (pgdata / "postmaster.pid").unlink(missing_ok=True)
    plug = sockets.file(folder)
    plug.unlink(missing_ok=True)
    plug.with_name(f"{plug.name}.lock").unlink(missing_ok=True)


def end_orphans(pgdata: Path) -> None:
    """Tell the sessions of a server that was killed to leave at once, as it would have done in a crash.

    They notice its death only when they wait for something, and hold its shared memory until then.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _belongs(int(entry.name), pgdata):
            _signal(int(entry.name), signal.SIGQUIT)


def stop(pgdata: Path) -> bool:
    """Shut the server down, sessions or not, and wait until it is gone. False: it does not go."""
    running = find(pgdata)
    if running is not None and running.ready and running.folder is not None:
        # Told to stop while it recovers from a session's crash, PostgreSQL 18 waits for ever (seen in 18.6).
        with suppress(errors.DatabaseDown):
            greet(running.folder, _RECOVERY)
    for kind, seconds in ((signal.SIGINT, _FAST), (signal.SIGQUIT, _IMMEDIATE)):
        if (running := find(pgdata)) is None:
            return True
        _signal(running.pid, kind)
        if gone(running.pid, seconds):
            return True
    return False


def gone(pid: int, seconds: float) -> bool:
    """Wait until the process has ended."""
    return any(not alive(pid) for _ in files.patiently(seconds))


def greet(folder: Path, seconds: float) -> None:
    """Wait until the server takes sessions, which after a crash it does again when it has recovered."""
    path = sockets.file(folder)
    try:
        # Each refusal leaves a line in the log: no hurry.
        if any(_accepts(path) for _ in files.patiently(seconds, step=0.1)):
            return
    except OSError as error:
        raise errors.DatabaseDown(
            f"Postgres runs, but its socket {path} cannot be reached ({error.strerror or error}). "
            "Was it started under another view of the file system, such as systemd's PrivateTmp?"
        ) from error
    raise errors.DatabaseDown("Postgres is still recovering.")


def _accepts(path: Path) -> bool:
    """Whether the first word of a session is answered by anything but "cannot connect now"."""
    words = b"user\0headcount\0database\0headcount\0\0"
    with socket.socket(socket.AF_UNIX) as plug:
        plug.settimeout(_ANSWER)
        plug.connect(os.fspath(path))
        with suppress(ConnectionError):  # killed in between
            plug.sendall(struct.pack("!ii", 8 + len(words), 3 << 16) + words)
            answer = plug.recv(1024)
            return bool(answer) and b"C57P03" not in answer
        return False


def _pid_file(pgdata: Path) -> list[str]:
    try:
        return os.fsdecode((pgdata / "postmaster.pid").read_bytes()).split("\n")
    except FileNotFoundError:
        return []


def _number(lines: list[str]) -> int:
    """The pid in the first line: 0 if there is none, negative for a single-user server."""
    try:
        return int(lines[0])
    except (IndexError, ValueError):
        return 0


def _belongs(pid: int, pgdata: Path) -> bool:
    """Whether this is a Postgres process that works in the data directory."""
    process = Path(f"/proc/{pid}")
    try:
        if (process / "comm").read_text(errors="replace").strip() != "postgres":
            return False
        with suppress(PermissionError):  # root without CAP_SYS_PTRACE, as in Docker, may not look
            return (process / "cwd").samefile(pgdata)
        return os.fsencode(pgdata) in (process / "cmdline").read_bytes().split(b"\0")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return False
        raise


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
