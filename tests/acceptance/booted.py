"""A real systemd with our units, in namespaces of its own: nothing that it does reaches the machine around it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import headcount
from acceptance.reverse import DEPLOY
from acceptance.server import until

SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ["sysinit", "basic", "sockets", "shutdown", "multi-user", "network", "umount", "final", "local-fs"]
BOOT = """
set -e
mount --make-rprivate /
cp /etc/passwd {folder}/passwd && echo headcount:x:990:990::/var/lib/headcount:/usr/sbin/nologin >> {folder}/passwd
cp /etc/group {folder}/group && echo headcount:x:990: >> {folder}/group
mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/group /etc/group
for place in /run /var/lib /dev/shm; do mount -t tmpfs tmpfs $place; done
chmod 0755 /run /var/lib && chmod 1777 /dev/shm
umount -R /sys/fs/cgroup || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
mkdir /run/systemd
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH={folder}/units \
    {systemd} --system --unit=sysinit.target --log-target=null --show-status=no
"""


def missing() -> str:
    """Why it cannot be run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    if not SYSTEMD.exists() or shutil.which("nsenter") is None:
        return "needs systemd and util-linux"
    if _interpreter() is None or str(Path(headcount.__file__)).startswith(("/root", "/home")):
        return "needs Python and the checkout outside of /root and /home, which the unit cannot see"
    return ""


class Booted:
    """systemd as the first process, and our units for it to start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outer: subprocess.Popen[bytes] | None = None
        self._inner = 0

    async def __aenter__(self) -> Self:
        self._write()
        spaces = ("--pid", "--mount", "--uts", "--cgroup", "--net", "--fork", "--mount-proc", "--kill-child")
        command = ["unshare", *spaces, "sh", str(self._folder / "boot.sh")]
        with (self._folder / "boot.log").open("ab") as output:
            self._outer = await asyncio.to_thread(subprocess.Popen, command, stdout=output, stderr=output)
        await until(self._is_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._outer is not None
        self._outer.kill()  # and with it the first process of the namespace, and with that all others
        await asyncio.to_thread(self._outer.wait)

    async def run(self, *words: str) -> str:
        """What a command prints in there, whatever its exit code is."""
        process = await asyncio.create_subprocess_exec(
            *("nsenter", "-t", str(self._inner), "-m", "-p", "-n", "-u", "-C", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return printed.decode().strip()

    async def shows(self, name: str) -> str:
        """A property of the service."""
        return await self.run("systemctl", "show", "headcount.service", "--value", "-p", name)

    def _write(self) -> None:
        units = self._folder / "units"
        units.mkdir()
        for name in TARGETS:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        service = (DEPLOY / "headcount.service").read_text()
        start = "ExecStart=/opt/headcount/.venv/bin/headcount serve"
        assert start in service
        libraries = next(path for path in sys.path if path.endswith("site-packages"))
        here = f"PYTHONPATH={Path(headcount.__file__).parents[1]}:{libraries}"
        ours = f"Environment={here}\nExecStart={_interpreter()} -m headcount.cli.main serve\nWatchdogSec=10"
        said = "StandardOutput=append:/run/said\nStandardError=append:/run/said"
        service = service.replace("WatchdogSec=30\n", "").replace(start, f"{ours}\n{said}")
        (units / "headcount.service").write_text(service)
        shutil.copy(DEPLOY / "headcount.socket", units)
        (self._folder / "boot.sh").write_text(BOOT.format(folder=self._folder, systemd=SYSTEMD))

    async def _is_up(self) -> bool:
        assert self._outer is not None
        assert self._outer.poll() is None, (self._folder / "boot.log").read_text()
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        self._inner = int(children[0]) if children else 0
        return bool(self._inner) and "active" in await self.run("systemctl", "is-active", "sysinit.target")


def _interpreter() -> str | None:
    """A Python of our version that the account of the service can start."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [Path(sys.executable).resolve(), Path("/usr/bin", version)]
    return next((str(one) for one in found if one.exists() and one.parts[1] not in ("root", "home")), None)
