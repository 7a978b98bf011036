"""`headcount audit`: recount a closed day from its raw rows, and compare."""

from __future__ import annotations

from datetime import date, datetime

import click
import msgspec

from headcount import app
from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.services.audits import Audit, Due
from headcount.services.sites import Sites


@click.command()
@click.option("--site", "domain", help="Only this site, and no licenses.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="A local day; else the last that has ended.")
@session.json_option
@click.pass_context
def audit(context: click.Context, domain: str | None, day: datetime | None, as_json: bool) -> None:
    """Recount a day from its raw rows and compare that with its counters. The server does so every night.

    Visitors are left out: raw rows cannot know them. The exit code is 1 if something differs.
    """
    found = session.run(_audits(context.obj, domain, day.date() if day else None))
    if as_json:
        session.print_json(msgspec.to_builtins(found))
    else:
        session.print_table(
            ["site", "day", "result"], [(one.site or "licenses", one.day, _result(one)) for one in found]
        )
        differing = [(one, difference) for one in found for difference in one.differences]
        if differing:
            click.echo()
            session.print_table(
                ["site", "dimension", "values", "counted", "in raw rows"],
                [
                    (one.site or "licenses", d.dimension or "(whole)", d.values, d.counted, d.recounted)
                    for one, d in differing
                ],
            )
            click.echo(
                "\nNumbers are visits, page views, events, bounces and seconds, over the values that differ."
            )
    if any(one.differences for one in found):
        context.exit(1)


async def _audits(config: Config, domain: str | None, day: date | None) -> list[Audit]:
    async with session.open_database(config) as database:
        sites = Sites(database, Clock())
        audits = app.audits_of(config, database, Clock())
        chosen = [await sites.find(domain)] if domain else [*await sites.all(), None]
        return [await audits.run(Due(one, day or audits.last_closed(one))) for one in chosen]


def _result(audit: Audit) -> str:
    if not audit.compared:
        return "not compared: raw rows of that day are missing"
    return f"differs in {len(audit.differences)} dimensions" if audit.differences else "agrees"
