"""The PostgreSQL that Headcount brings along: started, shared and stopped for one data directory.

Every process that uses it holds a shared lock on `postgres.users`; the last one out stops the server. What
changes its state happens under the lock on `postgres.lock`. A killed process leaves no lock, and the server
running: the next one joins it. Every call may block and none needs a loop: asynchronous callers use a thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from headcount import errors
from headcount.store import account, cluster, files, postmaster, sockets

LOG_LIMIT = 1_000_000  # bytes
_LOCK_PATIENCE, _START_PATIENCE, _ORPHAN_PATIENCE = 120.0, 60.0, 20.0  # seconds
_OURS_TO_MEND = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class Embedded:
    """The PostgreSQL of one data directory, as one of the processes that use it sees it."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.pgdata = self.data_dir / "postgres"
        self._settings = {**cluster.SETTINGS, **(settings or {})}
        self._users: int | None = None
        self._folder: Path | None = None
        self._child: int | None = None

    def start(self) -> str:
        """Start it, or join those that use it already; the DSN for asyncpg, with the password in it.

        BadConfig: it cannot work like this. ServiceBusy: it might, tried again.
        """
        with self._reporting():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            joined = self._users is not None
            with self._locked() as lock:
                users = self._join()
                try:
                    self._bring_up(lock, users)
                except BaseException:
                    if not joined:
                        self._leave()
                    raise
                return self._dsn()

    def dsn(self) -> str:
        """The DSN of the server as it runs, without joining those that use it. DatabaseDown: it does not."""
        with self._reporting():
            running = postmaster.find(self.pgdata)
            if running is None or not running.ready or running.folder is None:
                raise errors.DatabaseDown
            self._folder = running.folder
            return self._dsn()

    def is_running(self) -> bool:
        """Whether the server is alive and not on its way out."""
        with self._reporting():
            self._bury()
            running = postmaster.find(self.pgdata)
            return running is not None and running.status != "stopping"

    def ensure(self) -> None:
        """Start it again if it is gone; made to be called every second. The DSN stays what it was."""
        if self._users is None or not self.is_running():
            self.start()
        with self._reporting():
            os.close(self._open_log())

    def release(self) -> None:
        """Use it no longer; the last user stops it. Without effect when it is not in use from here."""
        if self._users is None:
            return
        with self._reporting():
            try:
                with self._locked():
                    if files.try_lock(self._users, fcntl.LOCK_EX):
                        self._stop()
            finally:
                self._leave()

    def _join(self) -> int:
        if self._users is not None:
            return self._users
        users = files.open_shared(self.data_dir / "postgres.users")
        if not files.try_lock(users, fcntl.LOCK_SH):  # held exclusively only under the lock that we hold
            os.close(users)
            raise errors.DatabaseDown(f"{self.data_dir} is locked by something else than Headcount.")
        self._users = users
        return users

    def _leave(self) -> None:
        if self._users is not None:
            files.unlock(self._users)
            self._users = None

    def _bring_up(self, lock: int, users: int) -> None:
        self._bury()
        running = postmaster.find(self.pgdata)
        if running is not None and running.status == "stopping":
            if not postmaster.gone(running.pid, _START_PATIENCE):
                raise errors.DatabaseDown("Postgres has been told to stop and does not come to an end.")
            self._bury()
            running = None
        if running is None:
            self._refuse_another_container(lock, users)
            running = self._launch()
        elif not running.ready:
            running = self._await(running.pid)
        if running is None or running.folder is None:
            raise errors.DatabaseDown(f"Postgres did not start: {self._said(0)}")
        sockets.check(running.folder, self.pgdata.stat().st_uid)
        postmaster.greet(running.folder, _START_PATIENCE)
        self._folder = running.folder

    def _refuse_another_container(self, lock: int, users: int) -> None:
        """Two containers on one data directory see each other's locks, but not each other's servers.

        Postgres guards its files by pids and shared memory, which they do not see either: two servers on the
        same files would destroy them.
        """
        here = os.readlink("/proc/self/ns/pid").encode()
        there = os.pread(lock, 100, 0)
        alone = files.try_lock(users, fcntl.LOCK_EX)
        files.try_lock(users, fcntl.LOCK_SH)  # taken exclusively only under the lock that we hold: succeeds
        if there not in (b"", here) and not alone:
            raise errors.BadConfig(
                f"Another container uses {self.data_dir}, and its PostgreSQL cannot be seen from here: "
                "give both the same HEADCOUNT_DATABASE_URL, or each a data directory of its own."
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, here, 0)

    def _launch(self) -> postmaster.Postmaster:
        folder = self._folder or sockets.choose(self.data_dir)
        ours = self._cluster(folder.parent)
        ours.prepare()
        sockets.make(folder, ours.account)
        postmaster.forget(self.pgdata, folder)
        postmaster.end_orphans(self.pgdata)
        for _ in files.patiently(_ORPHAN_PATIENCE, step=0.1):
            pid, before = self._spawn(ours.server(folder))
            running = self._await(pid)
            self._bury()
            if running is not None or "shared memory block" not in self._said(before):
                break
        if running is None:
            _remove(folder)
            raise self._failure(self._said(before))
        return running

    def _failure(self, said: str) -> errors.HeadcountError:
        if "database files are incompatible" in said:
            version = (self.pgdata / "PG_VERSION").read_text().strip()
            return errors.BadConfig(
                f"{self.pgdata} was made by PostgreSQL {version}, and this Headcount brings another: take a "
                "dump with the Headcount that made it, and load that into an empty data directory."
            )
        return errors.DatabaseDown(f"Postgres did not start: {said}")

    def _spawn(self, command: list[str]) -> tuple[int, int]:
        """Become the parent of a server: its pid, and how long the log was before."""
        # No core files: they hold data. 1, not 0: that also keeps the kernel from piping one to a collector.
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))
        log = self._open_log()
        try:
            before = os.fstat(log).st_size
            process = subprocess.Popen(  # noqa: S603 - no shell, and only our own words
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=cluster.environment(),
                umask=0o077,
                start_new_session=True,  # an interrupt from the terminal is for us, not for the server
            )
        finally:
            os.close(log)
        self._child = process.pid
        # It may outlive us, and others may stop it: looked after by its pid, not by this object, which would
        # complain when it is collected.
        process.returncode = 0
        return process.pid, before

    def _await(self, pid: int) -> postmaster.Postmaster | None:
        """The server when it takes connections, None if it has ended. DatabaseDown: it takes long."""
        for _ in files.patiently(_START_PATIENCE):
            running = postmaster.find(self.pgdata)
            if running is not None and running.pid == pid and running.ready:
                return running
            if not postmaster.alive(pid):
                return None
        raise errors.DatabaseDown("Postgres is still recovering.")

    def _stop(self) -> None:
        stopped = postmaster.stop(self.pgdata)
        self._bury()
        if not stopped:
            raise errors.DatabaseDown("Postgres was told to stop and has not.")
        if self._folder is not None:
            _remove(self._folder)

    def _bury(self) -> None:
        """Wait for our child if it has ended: its number stays taken until then."""
        if self._child is not None and not postmaster.alive(self._child):
            with suppress(ChildProcessError):
                os.waitpid(self._child, os.WNOHANG)
            self._child = None

    def _cluster(self, base: Path) -> cluster.Cluster:
        programs = cluster.programs()
        needs = [
            (programs / "postgres", account.READ | account.ENTER),
            (programs / "initdb", account.READ | account.ENTER),
            (programs.parent / "share", account.READ | account.ENTER),
            (self.data_dir, account.ENTER),
            (base.resolve(), account.ENTER),
        ]
        who = account.choose([self.pgdata, self.data_dir], needs)
        return cluster.Cluster(self.data_dir, programs, who, self._settings)

    def _dsn(self) -> str:
        password = quote((self.data_dir / "postgres.password").read_text().strip(), safe="")
        host = quote(os.fsencode(self._folder or ""), safe="")
        return f"postgresql://{cluster.NAME}:{password}@/{cluster.NAME}?host={host}&port={cluster.PORT}"

    def _open_log(self) -> int:
        """The log to append to, emptied first if it has grown too long."""
        log = files.open_shared(self.data_dir / "postgres.log", os.O_WRONLY | os.O_APPEND)
        if os.fstat(log).st_size > LOG_LIMIT:
            os.ftruncate(log, 0)
        return log

    def _said(self, before: int) -> str:
        return cluster.last_lines((self.data_dir / "postgres.log").read_bytes()[before:])

    def _locked(self) -> AbstractContextManager[int]:
        return files.exclusively(self.data_dir / "postgres.lock", _LOCK_PATIENCE)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (OSError, subprocess.SubprocessError) as error:
            number = error.errno if isinstance(error, OSError) else None
            kind = errors.BadConfig if number in _OURS_TO_MEND else errors.DatabaseDown
            raise kind(f"The PostgreSQL in {self.data_dir} cannot be used: {error}") from error


def _remove(folder: Path) -> None:
    with suppress(OSError):  # not empty, or gone: no harm
        folder.rmdir()
