"""The folder of the embedded server's socket: short, private, and outside the data directory.

A socket's path over 107 bytes cannot be used at all, and a data directory may lie deep.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from headcount import errors
from headcount.store import account, files
from headcount.store.cluster import PORT

_LIMIT = 107  # bytes of sun_path, less the closing zero


def choose(data_dir: Path) -> Path:
    """Where the folder of this data directory belongs."""
    # By the path too: a copy of a data directory has the same id, and may run beside the first.
    key = f"{files.data_id(data_dir)} {data_dir}"
    name = f"headcount-{hashlib.blake2s(os.fsencode(key), digest_size=8).hexdigest()}"
    for base in _bases():
        folder = base / name
        path = file(folder)
        # asyncpg takes a comma for the next host.
        if len(os.fsencode(path)) <= _LIMIT and "," not in str(path) and os.access(base, os.W_OK | os.X_OK):
            return folder
    raise errors.BadConfig(
        "No folder for the socket of Postgres: neither the run-time folder nor /tmp will do."
    )


def file(folder: Path) -> Path:
    """The socket in this folder."""
    return folder / f".s.PGSQL.{PORT}"


def make(folder: Path, owner: account.Account) -> None:
    """Make the folder for its owner, or see that what is there can be trusted."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if os.geteuid() == 0 and folder.lstat().st_uid == 0:
            check(folder, 0)  # left by a start of root's that was cut short
            owner.give(folder)
    else:
        owner.give(folder)
    check(folder, owner.uid)


def check(folder: Path, uid: int) -> None:
    """Refuse a folder that somebody else may have put there, or may look into."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise errors.BadConfig(
            f"{folder} is not a folder of mode 0700 that belongs to user id {uid}: "
            "somebody else may have put it there. Look at it, and remove it."
        )


def _bases() -> Iterator[Path]:
    runtime = os.environ.get("RUNTIME_DIRECTORY", "")  # systemd's, where /tmp may be private
    if runtime.startswith("/") and ":" not in runtime:
        yield Path(runtime)
    if os.geteuid() == 0:
        yield Path("/run")
    elif (session := os.environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        yield Path(session)
    yield Path("/tmp")  # noqa: S108 - `check` looks at what is there
