"""`headcount privacy`: what is stored and why, and replacing what should not have been."""

from __future__ import annotations

import click

from headcount import redaction
from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.model import REDACTED
from headcount.privacy import inventory
from headcount.services.redactions import Redactions
from headcount.services.sites import Sites


@click.group()
def privacy() -> None:
    """What is kept, and getting rid of what should not be."""


@privacy.command()
@session.json_option
def show(as_json: bool) -> None:
    """Print the inventory: each stored field with its purpose and how long it is kept."""
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
@click.option("--site", "domain", required=True, help="The site.")
@click.option("--path", help="Pages to replace; * stands for any text.")
@click.option("--dimension", help=f"Instead of --path: {', '.join(redaction.DIMENSIONS)} or props:NAME.")
@click.option("--value", help="With --dimension: values to replace; * stands for any text.")
@click.pass_obj
def redact(config: Config, domain: str, path: str | None, dimension: str | None, value: str | None) -> None:
    """Replace values already stored by ":redacted". This cannot be undone."""
    if (path is None) == (dimension is None) or (dimension is None) != (value is None):
        raise click.UsageError("give --path PATTERN, or --dimension NAME and --value PATTERN")

    async def work() -> int:
        async with session.open_database(config) as database:
            site = await Sites(database, Clock()).find(domain)
            asked = redaction.parse(site.id, dimension or "page", path or value or "")
            return await Redactions(database, Clock()).request(asked)

    moved = session.run(work())
    click.echo(f"{moved} daily counts were moved to {REDACTED}, and raw rows likewise.")
    click.echo(
        "What the server still holds in memory and on its way follows within seconds, or when it starts."
    )
