"""`headcount doctor`: what is the matter with this installation, what to do, and how the settings were understood."""

from __future__ import annotations

import sys

import click
import msgspec

from headcount import app
from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.services.doctor import examine
from headcount.services.finding import Finding, Level


@click.command()
@click.option(
    "--server", metavar="URL", help="Where the server answers, if it is not where it is set to listen."
)
@session.json_option
@click.pass_obj
def doctor(config: Config, server: str | None, as_json: bool) -> None:
    """Check the whole installation and say what to do; print the settings, secrets starred.

    It changes nothing. The exit code is 1 if something fails.
    """

    async def work() -> list[Finding]:
        database = app.database_of(config)
        try:
            return await examine(config, database, Clock(), server)
        finally:
            await database.close()

    findings, described = session.run(work()), config.described()
    if as_json:
        settings = {name: value for name, value, _ in described}
        session.print_json({"findings": msgspec.to_builtins(findings), "settings": settings})
    else:
        session.print_table(["setting", "value", "purpose"], described)
        click.echo()
        session.print_table(["", "", "finding"], [(f.level, f.subject, _sentence(f)) for f in findings])
    if any(finding.level is Level.FAIL for finding in findings):
        sys.exit(1)


def _sentence(finding: Finding) -> str:
    return f"{finding.says}. To do: {finding.advice}." if finding.advice else f"{finding.says}."
