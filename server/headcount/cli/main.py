"""The command `headcount`: settings are read once, errors are one sentence each."""

from __future__ import annotations

import sys
from typing import Any

import click

from headcount import __version__, config, errors, logs
from headcount.cli import (
    audit,
    backup,
    doctor,
    geoip,
    license,
    plan,
    privacy,
    product,
    serve,
    site,
    stats,
    token,
)

HELP = {"-h", "--help"}


class Group(click.Group):
    """Reads the settings for every command; prints our own errors without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            if not HELP.intersection(context.args):  # help is given whatever the settings are
                context.obj = config.load()
                logs.configure(context.obj.log_level, context.obj.log_format)
            return super().invoke(context)
        except errors.BadInput as error:
            raise click.ClickException(f"{error.field}: {error.message}") from None
        except errors.DatabaseDown as error:
            raise click.ClickException(f"{error.message} ({_told(error.__cause__)})") from None
        except errors.HeadcountError as error:
            raise click.ClickException(error.message) from None


@click.group(cls=Group, context_settings={"help_option_names": sorted(HELP)})
@click.version_option(__version__, prog_name="headcount")
def main() -> None:
    """Headcount counts visits, and keeps nothing about the visitors."""


def _told(cause: BaseException | None) -> str:
    """Why Postgres does not answer: the operator has to know, and it says nothing of visitors."""
    return f"{type(cause).__name__}: {cause}" if cause is not None else "no reason given"


for command in (
    serve.serve,
    stats.stats,
    site.site,
    token.token,
    product.product,
    plan.plan,
    license.license,
    privacy.privacy,
    geoip.geoip,
    audit.audit,
    backup.backup,
    backup.restore,
    doctor.doctor,
):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
