"""Runs the timed jobs of a process: one task each, with jitter, an error counter and cancellation.

A job holds no loop and no sleep. An error rises to here, is logged once by its kind, and the job goes on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from headcount import errors

log = logging.getLogger(__name__)


AFTER_FAILURE = 1.0
"""Seconds that a job waits at least when it has failed."""
TRY_AGAIN = 60.0
"""Seconds after which a job that has failed is tried again at the latest."""
PATIENCE = 5
"""Failures in a row after which it is said that a job waits: a Postgres that is just starting is no news."""


@dataclass(frozen=True, slots=True)
class Job:
    """A purpose, a period in seconds, and what to do. True from it: go on at once, there is more."""

    purpose: str
    period: float
    work: Callable[[], Awaitable[bool | None]]


async def run(jobs: Sequence[Job]) -> None:
    """Run the jobs until cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_repeat(job), name=job.purpose)


async def _repeat(job: Job) -> None:
    failures = 0
    task = asyncio.current_task()
    while task is not None:
        more = False
        try:
            more = bool(await job.work())
            if failures >= PATIENCE:
                log.info("works again: %s", job.purpose)
            failures = 0
        except errors.HeadcountError as error:
            failures += 1
            if failures == PATIENCE:
                log.warning("waits: %s: %s", job.purpose, error.message)
        except Exception as error:
            failures += 1
            # In full the first time, then short: a job of a few milliseconds would fill the disk.
            log.error("failed: %s: %s", job.purpose, type(error).__name__, exc_info=failures == 1)
        if task.cancelling():
            return  # what broke when it was cancelled has hidden that
        if not more:
            # Jitter, so that jobs of one period do not meet.
            period = min(max(job.period, AFTER_FAILURE), TRY_AGAIN) if failures else job.period
            await asyncio.sleep(period * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
