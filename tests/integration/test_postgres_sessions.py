"""What Postgres is told of our sessions."""

from __future__ import annotations

from headcount.store.postgres import Database


async def test_a_session_whose_client_is_gone_holds_its_locks_for_half_a_minute(dsn: str) -> None:
    database = Database(lambda: dsn)
    async with database.connection() as connection:
        timeout = await connection.fetchval("show idle_in_transaction_session_timeout")
    await database.close()
    assert timeout == "30s"
