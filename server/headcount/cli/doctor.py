"""`headcount doctor`: what was understood of the settings."""

from __future__ import annotations

import click

from headcount.cli import session
from headcount.config import Config


@click.command()
@session.json_option
@click.pass_obj
def doctor(config: Config, as_json: bool) -> None:
    """Print the settings as they were understood, secrets starred."""
    described = config.described()
    if as_json:
        session.print_json({name: value for name, value, _ in described})
    else:
        session.print_table(["setting", "value", "purpose"], described)
