"""Carries out redactions in Postgres, and asks every node to do so with what it still holds."""

from __future__ import annotations

from headcount.clock import Clock
from headcount.redaction import Redaction
from headcount.services.sites import new_id
from headcount.store.postgres import Database


class Redactions:
    """What was stored of a site and should not have been."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def request(self, redaction: Redaction) -> int:
        """Replace the values in Postgres now, and leave the request for the nodes; how many counts were moved."""
        await self._database.execute(
            "add_redaction",
            new_id(),
            redaction.site,
            redaction.dimension,
            redaction.pattern,
            self._clock.now(),
        )
        return await self.carry_out(redaction)

    async def carry_out(self, redaction: Redaction) -> int:
        """Replace the values in Postgres; doing it again changes nothing more."""
        database, site, like = self._database, redaction.site, redaction.like
        async with database.transaction() as connection:
            moved = await database.fetch(connection, "redact_counts", site, redaction.dimensions, like)
            await database.change(connection, "delete_site_months", site)  # made anew, without the values
            if redaction.prop is not None:
                await database.change(connection, "redact_props_of_hits", site, redaction.prop, like)
            else:
                for dimension in redaction.dimensions:
                    await database.change(connection, "redact_hits", site, dimension, like)
                    await database.change(connection, "redact_visits", site, dimension, like)
        return int(moved[0]["moved"])

    async def waiting(self) -> dict[int, Redaction]:
        """The requests of the last day."""
        rows = await self._database.rows("list_redactions")
        return {row["id"]: Redaction(row["site_id"], row["dimension"], row["pattern"]) for row in rows}
