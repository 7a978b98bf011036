"""The one way to Postgres. Drivers' exceptions end here: callers see `errors.DatabaseDown`, or a bug.

The pool is opened at first use and again after a failure, so that a process starts without Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from headcount import errors
from headcount.store import queries

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 30.0
LONG = 3600.0
"""Seconds for what goes through all raw rows of a site or a day: nobody waits for it."""

_SESSION = {
    "application_name": "headcount",
    "timezone": "UTC",
    "client_min_messages": "warning",
    # When the network has gone amid a transaction, Postgres would hold its locks for two hours, and the next
    # flush would wait for them.
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.exceptions.TransactionRollbackError,  # two wanted each other's locks: one has to try again
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


class Database:
    """A pool of connections, and the named queries."""

    def __init__(self, dsn: Callable[[], str], size: int = 4) -> None:
        self._dsn = dsn
        self._size = size
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._sql = queries.load()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for a few statements; DatabaseDown when there is none or it breaks."""
        with _spoken():
            pool = await self._open()
            async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection within one transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection whose statements all see the same moment; it only reads."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def rows(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of the named query."""
        return await self.select(self._sql[name], *arguments)

    async def row(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """The first row of the named query."""
        async with self.connection() as connection:
            return await connection.fetchrow(self._sql[name], *arguments)

    async def execute(self, name: str, *arguments: object) -> int:
        """Carry out the named query; the number of rows it changed."""
        async with self.connection() as connection:
            return await self.change(connection, name, *arguments)

    async def select(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of a statement that was built: only from our own words, with values as arguments."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def select_raw(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """The same for a statement over raw rows of many days."""
        async with self.snapshot() as connection:
            # Hits are joined with their visits day by day, in small hash tables: two thirds of the time.
            await connection.execute("set local enable_partitionwise_join = on")
            return await connection.fetch(sql, *arguments)

    async def change(
        self, connection: Connection, name: str, *arguments: object, seconds: float | None = None
    ) -> int:
        """Carry out the named query within a transaction of the caller; the number of rows it changed."""
        status = await connection.execute(self._sql[name], *arguments, timeout=seconds)
        return int(status.split()[-1]) if status.split()[-1].isdigit() else 0

    async def copy(
        self, connection: Connection, table: str, columns: Iterable[str], records: Iterable[tuple[Any, ...]]
    ) -> None:
        """Append many rows at once within a transaction of the caller."""
        await connection.copy_records_to_table(table, columns=list(columns), records=records)

    async def fetch(
        self, connection: Connection, name: str, *arguments: object, seconds: float | None = None
    ) -> list[asyncpg.Record]:
        """All rows of the named query within a transaction of the caller."""
        return await connection.fetch(self._sql[name], *arguments, timeout=seconds)

    def within(self, connection: Connection) -> Database:
        """The same, but all that it is asked for happens in the caller's transaction."""
        return _Within(connection)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn(),
                    min_size=0,
                    max_size=self._size,
                    timeout=CONNECT_TIMEOUT,
                    command_timeout=STATEMENT_TIMEOUT,
                    init=_prepare,
                    server_settings=_SESSION,
                )
            return self._pool


class _Within(Database):
    """Has one connection, on which a transaction is under way; a transaction of its own is a savepoint in that."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = queries.load()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        with _spoken():
            yield self._connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection:
            yield connection


@contextmanager
def _spoken() -> Iterator[None]:
    """Drivers' exceptions as our own."""
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise errors.Conflict("request", "it exists already") from None
    except _DOWN as error:
        raise errors.DatabaseDown from error


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # Binary, because COPY knows nothing else: a version byte, then the text.
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda value: orjson.loads(value[1:]),
        schema="pg_catalog",
        format="binary",
    )
