"""What `headcount doctor` looks at on this machine: memory, clock, RAM disk, files and disk. Nothing is changed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from headcount.config import Config
from headcount.services.finding import Finding, fail, ok, warn
from headcount.services.health import KEY_SLACK, LITTLE_DISK
from headcount.store import backlog, daykeys, files, secret
from headcount.store.daykeys import DayKeys

PATIENCE = 3.0
"""Seconds that a program that is asked may take."""
FIRST_PERSON = 1000
"""From this user id on systemd takes a user for a person, whose leftovers it clears away at logout."""


def examine(config: Config, now: datetime) -> Iterator[Finding]:
    """Everything, in the order in which it is best mended."""
    running = holders(config.data_dir / "state.lock")
    yield from of_swap(running)
    yield from of_core_dumps(running)
    yield from of_the_clock()
    yield from of_memory_for_keys(config.data_dir)
    yield from of_old_keys(config.data_dir, now)
    yield from of_files(config)
    yield from of_disk(config)


def closed_to_us(data_dir: Path) -> Finding | None:
    """That we may not look into the data directory, if that is so."""
    if not data_dir.exists() or os.access(data_dir, os.R_OK | os.X_OK):
        return None
    user = data_dir.stat().st_uid
    return fail(
        "data directory", f"{data_dir} belongs to another user", f"run this as user {user}, or as root"
    )


# Memory and time


def holders(lock: Path) -> list[str]:
    """The processes that hold this lock: the rollup, if it runs and can be seen from here."""
    inode = lock.stat().st_ino if lock.exists() else -1
    return [line.split()[4] for line in _lines(Path("/proc/locks")) if f":{inode} " in line]


def of_swap(running: list[str], swaps: Path = Path("/proc/swaps")) -> Iterator[Finding]:
    """Whether memory could end on a disk."""
    disks = [line.split()[0] for line in _lines(swaps)[1:] if not line.startswith("/dev/zram")]
    if not disks:
        yield ok("swap", "memory is not written to a disk")
    elif running and all(_never_swapped(pid) for pid in running):
        yield ok("swap", "memory of the running server is not written to a disk")
    else:
        yield warn(
            "swap",
            f"memory may be written to {', '.join(disks)}, day keys and tokens too, and stay there",
            "switch it off (swapoff -a), or for Headcount alone (MemorySwapMax=0), or encrypt it",
        )


def of_core_dumps(running: list[str]) -> Iterator[Finding]:
    """Whether a process would write its memory to a file when it crashes."""
    for pid in running:
        for line in _lines(Path("/proc", pid, "limits")):
            if line.startswith("Max core file size") and line.split()[4] not in ("0", "1"):
                yield fail("core dumps", f"process {pid} may write one", "restart it: it switches them off")
                return
    yield ok("core dumps", "none is written" if running else "none is written by a server that runs")


def of_the_clock() -> Iterator[Finding]:
    """Whether the time is kept, as far as systemd knows."""
    kept = _said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if kept == "no":
        yield warn("clock", "nobody sets it by the network", "run timedatectl set-ntp true, or chrony")
    elif kept == "yes":
        yield ok("clock", "it is set by the network")


def of_memory_for_keys(data_dir: Path) -> Iterator[Finding]:
    """The RAM disk on which the day keys live."""
    folders = daykeys.folders(data_dir)
    bases = [folder.parent for folder in folders] or daykeys.ram_disks()
    if not bases:
        yield fail(
            "day keys",
            "neither /run nor /dev/shm is a RAM disk that can be written",
            "mount a tmpfs at /dev/shm, or give the service a RuntimeDirectory of systemd's",
        )
        return
    yield ok("day keys", f"they live in memory, under {bases[0]}")
    user = folders[0].stat().st_uid if folders else os.geteuid()
    if bases[0] == Path("/dev/shm") and user >= FIRST_PERSON and Path("/run/systemd/system").is_dir():  # noqa: S108 - a look
        yield warn(
            "day keys",
            "systemd clears /dev/shm of a person's files at logout: the day's visitors would be counted twice",
            f"run it under a system user, or run loginctl enable-linger {user}",
        )


def of_old_keys(data_dir: Path, now: datetime) -> Iterator[Finding]:
    """Keys that outlived their day: also where a server looked for them that ran as another user."""
    for folder in daykeys.folders(data_dir):
        if DayKeys(folder).left_over(now, KEY_SLACK):
            yield fail(
                "day keys",
                f"{folder} has keys of days that ended",
                f"delete {folder}, unless the server that runs uses it and is about to",
            )


# Files


def of_files(config: Config) -> Iterator[Finding]:
    """Who may read what stands on the disk."""
    data_dir = config.data_dir
    if not data_dir.exists():
        yield ok("data directory", f"{data_dir} is made at the first start")
        return
    if data_dir.stat().st_mode & (stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH):
        yield warn("data directory", f"{data_dir} is open to other users", f"run chmod 700 {data_dir}")
    else:
        yield ok("data directory", f"{data_dir} is for its user alone")
    secrets = (data_dir / secret.FILE, data_dir / "postgres.password", Path("headcount.toml"))
    for path in secrets:
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield fail("secrets", f"{path} can be read by other users", f"run chmod 600 {path}")
    for path in files.damaged(data_dir):
        yield warn(
            "spool",
            f"{path} is damaged, and was set aside",
            "check the disk; the log says what was lost; then delete it",
        )
    waiting = backlog.look(data_dir / "spool")
    if waiting.unreadable:
        yield fail(
            "spool",
            f"{waiting.unreadable} of its files cannot be read",
            "look into the log; keep the files: docs/operations.md says what to do with them",
        )


def of_disk(config: Config) -> Iterator[Finding]:
    """Room for what may wait while Postgres is down."""
    folder = config.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    wanted = config.spool_limit * config.workers + config.outbox_limit
    if free < LITTLE_DISK:
        yield fail("disk", f"{_size(free)} are free", "make room: when it is full, events are answered 503")
    elif free < wanted:
        yield warn(
            "disk",
            f"{_size(free)} are free, and up to {_size(wanted)} may wait there while Postgres is down",
            "make room, or lower HEADCOUNT_SPOOL_LIMIT and HEADCOUNT_OUTBOX_LIMIT",
        )
    else:
        yield ok("disk", f"{_size(free)} are free, of which {_size(wanted)} may wait for Postgres")


def _never_swapped(pid: str) -> bool:
    """Whether the control group of a process may not be swapped out."""
    groups = [
        line.removeprefix("0::") for line in _lines(Path("/proc", pid, "cgroup")) if line.startswith("0::")
    ]
    limits = [_lines(Path(f"/sys/fs/cgroup{group}/memory.swap.max")) for group in groups]
    return bool(limits) and all(limit == ["0"] for limit in limits)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _said(*command: str) -> str:
    """What a program prints; nothing if there is none or it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _size(number: float) -> str:
    return f"{number / (1 << 30):.1f} GiB"
