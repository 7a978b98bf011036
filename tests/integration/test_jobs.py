"""The loop that runs timed jobs: it ends when it is told to."""

from __future__ import annotations

import asyncio

from headcount import errors
from headcount.jobs import loop
from headcount.jobs.loop import Job


async def test_a_job_that_breaks_while_it_is_cancelled_ends_all_the_same() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise errors.DatabaseDown  # as a transaction does whose connection has gone meanwhile

    running = asyncio.create_task(loop.run([Job("be cancelled", 1.0, work)]))
    await began.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=10)
    assert done == {running}
