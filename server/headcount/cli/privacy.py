"""`headcount privacy`: what is stored and why, and replacing what should not have been."""

from __future__ import annotations

from typing import Any

import click

from headcount import redaction
from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.model import REDACTED
from headcount.privacy import inventory
from headcount.services.redactions import Redactions
from headcount.services.sites import Sites
from headcount.store import daykeys

MAX_PURGES = 20


@click.group()
def privacy() -> None:
    """What is kept, and getting rid of what should not be."""


@privacy.command()
@session.json_option
def show(as_json: bool) -> None:
    """Print what is stored, why and how long."""
    if as_json:
        session.print_json([entry.as_dict() for entry in inventory.ENTRIES])
        return
    for place in inventory.Place:
        click.secho(f"\n{place.value}", bold=True)
        session.print_table(
            ["field", "purpose", "kept"],
            [
                (f"{entry.record}.{entry.field}", entry.purpose, entry.retention)
                for entry in inventory.ENTRIES
                if entry.place is place
            ],
        )


@privacy.command()
@session.json_option
@click.pass_obj
def status(config: Config, as_json: bool) -> None:
    """Print what was purged and what is still there. Raw rows by site, purges, gaps, and day keys."""

    async def work() -> dict[str, Any]:
        async with session.open_database(config) as database:
            sites = await Sites(database, Clock()).all()
            oldest = {site.domain: await database.row("oldest_raw_row", site.id) for site in sites}
            return {
                "oldest_raw_day": {domain: row["day"] if row else None for domain, row in oldest.items()},
                "purges": [dict(row) for row in await database.rows("list_purges", MAX_PURGES)],
                "gaps": [dict(row) for row in await database.rows("list_gaps")],
                "day_keys": [f"{zone} {day}" for zone, day in daykeys.alive(config.data_dir)],
            }

    found = session.run(work())
    if as_json:
        session.print_json(found)
        return
    session.print_table(["site", "oldest raw day"], list(found["oldest_raw_day"].items()))
    click.echo()
    session.print_table(
        ["purged at", "kind", "days before", "rows"],
        [
            (f"{row['ran_at']:%Y-%m-%d %H:%M}", row["kind"], row["before"], row["rows"])
            for row in found["purges"]
        ],
    )
    click.echo(f"\nday keys alive: {', '.join(found['day_keys']) or 'none'}")
    for gap in found["gaps"]:
        click.echo(f"missing since a restore: flushes {gap['first_missing']} to {gap['last_missing']}")


@privacy.command()
@click.option("--site", "domain", required=True, help="The site.")
@click.option("--path", help="Pages to replace; * stands for any text.")
@click.option("--dimension", help=f"Instead of --path: {', '.join(redaction.DIMENSIONS)} or props:NAME.")
@click.option("--value", help="With --dimension: values to replace; * stands for any text.")
@session.json_option
@click.pass_obj
def redact(
    config: Config, domain: str, path: str | None, dimension: str | None, value: str | None, as_json: bool
) -> None:
    """Replace values already stored by ":redacted". This cannot be undone."""
    if (path is None) == (dimension is None) or (dimension is None) != (value is None):
        raise click.UsageError("give --path PATTERN, or --dimension NAME and --value PATTERN")

    async def work() -> int:
        async with session.open_database(config) as database:
            site = await Sites(database, Clock()).find(domain)
            asked = redaction.parse(site.id, dimension or "page", path or value or "")
            return await Redactions(database, Clock()).request(asked)

    moved = session.run(work())
    done = (
        f"{moved} daily counts were moved to {REDACTED}, and raw rows likewise."
        if moved
        else "No stored count matches."
    )
    rest = "What the server still holds in memory and on its way follows within seconds, or when it starts."
    session.tell(as_json, f"{done}\n{rest}", site=domain, counts_moved=moved)
