"""Carries out redaction requests on this node: in open ledgers, in the outbox, and again in Postgres."""

from __future__ import annotations

from datetime import timedelta

from headcount import redaction, tally
from headcount.clock import Clock
from headcount.jobs.drain import Drain
from headcount.services.redactions import Redactions
from headcount.store.postgres import Database
from headcount.store.state import State

KEEP_REQUESTS = timedelta(days=1)


class Redactor:
    """Each node does this once for each request; done twice it does no harm."""

    def __init__(
        self, database: Database, engine: Drain, redactions: Redactions, state: State, clock: Clock
    ) -> None:
        self._database = database
        self._engine = engine
        self._redactions = redactions
        self._state = state
        self._clock = clock

    async def run(self) -> None:
        """Look for requests that are new here."""
        waiting = await self._redactions.waiting()
        done = self._state.redacted()
        for id, request in waiting.items():
            if id not in done:
                await self._carry_out(id, request)
        await self._database.execute("delete_old_redactions", self._clock.now() - KEEP_REQUESTS)

    async def _carry_out(self, id: int, request: redaction.Redaction) -> None:
        while await self._engine.take() or not self._engine.caught_up:
            pass  # what was spooled before the request is meant too

        def replace(target: tally.Tally, state: State) -> None:
            redaction.in_tally(target, request)
            state.rewrite(target, request.site, lambda flush: redaction.in_flush(flush, request))

        await self._engine.exclusively(replace)
        while await self._engine.send():
            pass
        await self._redactions.carry_out(request)
        self._state.note_redacted([id])
