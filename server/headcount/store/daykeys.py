"""One random key a time zone and local day, in memory and on a RAM disk; never in Postgres or a backup.

The first process that needs a key makes it: written under a temporary name, then linked, which fails if it
exists already; the loser reads the winner's. A key is destroyed five minutes after its day has ended.
"""

from __future__ import annotations

import os
import secrets
import stat
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from headcount import errors, localtime
from headcount.store import files

RAM_DISKS = (Path("/run/headcount"), Path("/run"), Path("/dev/shm"))  # noqa: S108 - `folder` looks at what is there
"""Best first. /run/headcount is made by systemd (deploy/headcount.service), and for the service alone."""
GRACE = timedelta(minutes=5)
SIZE = 32


def folder(data_dir: Path) -> Path:
    """The folder on a RAM disk for the keys of this data directory, made if it is missing. Raises BadConfig."""
    for base in ram_disks():
        return _ours(base / _name(data_dir))
    raise errors.BadConfig(
        "Headcount keeps its day keys on a RAM disk: neither /run nor /dev/shm is one that can be written"
    )


def ram_disks() -> list[Path]:
    """Those that we can write."""
    return [base for base in RAM_DISKS if os.access(base, os.W_OK | os.X_OK) and _in_memory(base)]


def folders(data_dir: Path) -> list[Path]:
    """The folders for the keys of this data directory that exist, whoever runs the server; nothing is made."""
    if not (data_dir / "id").exists():
        return []  # no server has ever run here
    return [folder for base in RAM_DISKS if (folder := base / _name(data_dir)).is_dir()]


def alive(data_dir: Path) -> list[tuple[str, date]]:
    """The zone and day of each key that exists now, whoever runs the server; nothing is made."""
    return sorted({key for folder in folders(data_dir) for key in DayKeys(folder).alive()})


def _ours(folder: Path) -> Path:
    """The folder, made if it is missing, and nobody else's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise errors.BadConfig(f"{folder} must be a folder of mode 0700 that belongs to who runs Headcount")
    return folder


def _name(data_dir: Path) -> str:
    return f"headcount-days-{files.data_id(data_dir)}"


class DayKeys:
    """The day keys in one folder of a RAM disk (mode 0700), shared by all processes of the node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[tuple[str, date], bytes] = {}

    def get(self, zone: str, day: date) -> bytes:
        """The key of the zone's local day; made if there is none yet."""
        key = self._keys.get((zone, day))
        if key is None:
            key = self._keys[zone, day] = self._read_or_make(self._path(zone, day))
        return key

    def alive(self) -> list[tuple[str, date]]:
        """The zone and day of each key on the RAM disk."""
        return sorted(_named(path.name) for path in self._folder.glob("*@*"))

    def left_over(self, now: datetime, slack: timedelta) -> list[tuple[str, date]]:
        """The keys that should have been destroyed so long ago."""
        return [(zone, day) for zone, day in self.alive() if now >= _end(zone, day) + GRACE + slack]

    def usable(self) -> bool:
        """Whether a key can be made: the folder is ours, and on a RAM disk that can be written."""
        try:
            return os.access(_ours(self._folder), os.W_OK | os.X_OK) and _in_memory(self._folder)
        except (OSError, errors.BadConfig):
            return False

    def destroy_ended(self, now: datetime) -> list[tuple[str, date]]:
        """Destroy the keys of the days that ended five minutes ago or earlier; which these were."""
        ended = [(zone, day) for zone, day in {*self.alive(), *self._keys} if now >= _end(zone, day) + GRACE]
        for zone, day in ended:
            self._keys.pop((zone, day), None)
            _destroy(self._path(zone, day))
        return ended

    def _path(self, zone: str, day: date) -> Path:
        return self._folder / f"{zone.replace('/', '~')}@{day.isoformat()}"

    def _read_or_make(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            pass
        # It may have gone since the start: systemd removes what is on a RAM disk when a user logs out.
        temporary = _ours(self._folder) / f".{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SIZE))
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        return path.read_bytes()


def _in_memory(folder: Path) -> bool:
    """Whether a RAM disk is mounted there: in a container, /run is often a folder of the image, on a disk."""
    device = folder.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    mounts = [
        (left.split()[2], right.split()[0]) for left, _, right in (line.partition(" - ") for line in lines)
    ]
    return (name, "tmpfs") in mounts or (name, "ramfs") in mounts


def _end(zone: str, day: date) -> datetime:
    try:
        return localtime.day_end(zone, day)
    except (ValueError, ZoneInfoNotFoundError):  # a zone that an update of the time zones has removed
        return localtime.day_end("Etc/GMT+12", day)


def _named(name: str) -> tuple[str, date]:
    zone, _, day = name.partition("@")
    return zone.replace("~", "/"), date.fromisoformat(day)


def _destroy(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            path.unlink()  # before it is overwritten: zeros must never be taken for a key
            file.write(bytes(SIZE))
    except FileNotFoundError:
        pass  # another process was first
