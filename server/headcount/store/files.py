"""Files of the data directory: durable or absent, usable by whoever owns the folder, locked by processes.

A lock is a `flock`: it ends with the process that holds it, however that ends, and no child inherits it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from headcount import clock, errors

DAMAGED = ".damaged"
"""How the name of a file ends that was set aside."""
_ID = re.compile(r"[0-9a-f]{16}")


def sync_folder(folder: Path) -> None:
    """Make the renames and links made in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file: after a crash it holds the old bytes or the new ones, whole."""
    with replacing(path, mode) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file to write to that replaces `path` durably at the end, and is gone if it comes to none."""
    with _beside(path, mode) as (temporary, file):
        yield file
        _make_durable(file)
        temporary.replace(path)
    sync_folder(path.parent)


def create_durably(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Make the file. False: it is there already, perhaps since a moment ago, and was left alone."""
    with _beside(path, mode) as (temporary, file):
        file.write(data)
        _make_durable(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def aside(path: Path) -> Path:
    """A name beside the file that no process takes up."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{DAMAGED}")


def set_aside(path: Path) -> Path:
    """Keep a damaged SQLite file, with its log, under a name that no process takes up; which."""
    kept = aside(path)
    for suffix in ("-wal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(kept.with_name(kept.name + suffix))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    sync_folder(path.parent)
    return kept


def damaged(data_dir: Path) -> list[Path]:
    """What was set aside on this node, and waits for somebody to look at it."""
    return sorted(path for folder in (data_dir, data_dir / "spool") for path in folder.glob(f"*{DAMAGED}*"))


def forget_damaged(data_dir: Path, before: datetime) -> None:
    """Delete what was set aside and last written before this moment: it holds raw events."""
    for path in damaged(data_dir):
        if path.stat().st_mtime < before.timestamp():
            path.unlink()


def data_id(data_dir: Path) -> str:
    """The random name of this data directory, 16 hex digits, the same for every process that asks."""
    path = data_dir / "id"
    if not path.exists():
        create_durably(path, secrets.token_hex(8).encode())
    text = path.read_text("ascii", errors="replace").strip()
    if not _ID.fullmatch(text):
        raise errors.BadConfig(f"{path} is damaged: delete it, and a new one is made.")
    return text


def open_shared(path: Path, flags: int = os.O_RDWR) -> int:
    """A descriptor of the file, which is made (mode 0600) if there is none."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    _give_to_owner_of(path.parent, descriptor)
    return descriptor


def try_lock(descriptor: int, kind: int) -> bool:
    """Take the lock (`fcntl.LOCK_SH` or `LOCK_EX`), or say False at once. A lock held before is lost then."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give up the lock, also for children that were forked and share the descriptor, and close it."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def exclusively(path: Path, seconds: float) -> Iterator[int]:
    """Hold the only lock on this file, waiting for it at most so long; gives its descriptor."""
    descriptor = open_shared(path)
    try:
        if not any(try_lock(descriptor, fcntl.LOCK_EX) for _ in patiently(seconds)):
            raise errors.ServiceBusy(f"Another process has been holding {path} for {seconds:.0f} seconds.")
        yield descriptor
    finally:
        unlock(descriptor)


def patiently(seconds: float, step: float = 0.01) -> Iterator[None]:
    """Go round a loop every `step` seconds for this long, and once at least."""
    now = clock.Clock().monotonic
    end = now() + seconds
    yield
    while now() < end:
        time.sleep(step)
        yield


@contextmanager
def _beside(path: Path, mode: int) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file in the same folder under a temporary name, which is gone at the end."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            _give_to_owner_of(path.parent, descriptor)
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)


def _make_durable(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    # A command that root runs beside a service of another account must not leave files it cannot open.
    if os.geteuid() == 0:
        status = folder.stat()
        if os.fstat(descriptor).st_uid == 0 and status.st_uid != 0:
            os.fchown(descriptor, status.st_uid, status.st_gid)
