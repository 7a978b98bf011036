"""The account that Postgres runs under. It refuses root, so root hands it to another account by `setpriv`.

Nothing here loosens the permissions of a folder: what that account cannot reach it is given the capability
to read past, and where even that cannot be had, the operator is told which folder is in the way.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headcount import errors

READ, ENTER = os.R_OK, os.X_OK

# Bits of linux/capability.h.
_BITS = {"dac_override": 1, "dac_read_search": 2, "setpcap": 8}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom Postgres runs as, and by which words a command is turned over to it."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder of ours."""
        if self.prefix:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose(folders: Iterable[Path], needs: Iterable[tuple[Path, int]]) -> Account:
    """Ourselves; as root, the owner of the first of the folders that another account owns, else a system
    account. `needs` are absolute paths without symbolic links, each with what must be possible there.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    uid, gid = _owner(folders) or _system_account()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise errors.BadConfig(
            "PostgreSQL refuses to run as root, and there is no setpriv (package util-linux) to switch from "
            "root to another account: run Headcount under another account, or set HEADCOUNT_DATABASE_URL."
        )
    switch = [setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    return Account(uid, gid, (*switch, *_capability(uid, gid, needs), "--"))


def _owner(folders: Iterable[Path]) -> tuple[int, int] | None:
    for folder in folders:
        if folder.exists() and (status := folder.stat()).st_uid != 0:
            return status.st_uid, status.st_gid
    return None


def _system_account() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise errors.BadConfig(
        "PostgreSQL refuses to run as root, and neither account postgres nor nobody exists: "
        "run Headcount under another account, or set HEADCOUNT_DATABASE_URL."
    )


def _capability(uid: int, gid: int, needs: Iterable[tuple[Path, int]]) -> list[str]:
    blocked = [hit for path, need in needs for hit in _blocked(uid, gid, path, need)]
    if not blocked:
        return ["--inh-caps=-all"]
    # To run a file that it may not run, dac_read_search is not enough; to enter folders and read, it is.
    only_folders = all(path.is_dir() or not need & ENTER for path, need in blocked)
    wanted = ["dac_read_search", "dac_override"] if only_folders else ["dac_override"]
    ours = _capabilities()
    for name in wanted:
        if name in ours and "setpcap" in ours:
            # initdb and postgres ask access(2) about their own program, which looks at capabilities of an
            # account other than root only under no_setuid_fixup.
            grants = [f"--{kind}=-all,+{name}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
            return ["--securebits=+no_setuid_fixup", *grants]
    path, _ = blocked[0]
    raise errors.BadConfig(
        f"PostgreSQL refuses to run as root and has to run as account {_name(uid)}, which may not "
        f"{'enter' if path.is_dir() else 'use'} {path}: allow it (chmod o+{'x' if path.is_dir() else 'rx'}), "
        "or move HEADCOUNT_DATA_DIR or the installation elsewhere, or set HEADCOUNT_DATABASE_URL."
    )


def _blocked(uid: int, gid: int, path: Path, need: int) -> Iterator[tuple[Path, int]]:
    """The parts of this path that the account may not enter or use, by their modes, outermost first."""
    for part in [*reversed(path.parents), path]:
        required = need if part == path else ENTER
        status = part.stat()
        shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
        if (status.st_mode >> shift) & required != required:
            yield part, required


def _capabilities() -> set[str]:
    """Those of ours that can be handed on."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = int(fields["CapPrm"], 16) & int(fields["CapEff"], 16) & int(fields["CapBnd"], 16)
    return {name for name, bit in _BITS.items() if held >> bit & 1}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
