"""`headcount geoip`: which country file is in use, and using another."""

from __future__ import annotations

from pathlib import Path

import click

from headcount.cli import session
from headcount.config import Config
from headcount.store.geoip import SHIPPED, Countries, Facts


@click.group()
def geoip() -> None:
    """The file that turns addresses into countries."""


@geoip.command()
@session.json_option
@click.pass_obj
def show(config: Config, as_json: bool) -> None:
    """Show the file in use."""
    countries = Countries(config.geoip_file, config.data_dir)
    countries.refresh()
    assert countries.facts is not None  # noqa: S101 - refresh has raised otherwise
    _print(countries.facts, as_json)


@geoip.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@session.json_option
@click.pass_obj
def use(config: Config, file: Path, as_json: bool) -> None:
    """Check FILE and use a copy of it. A running server takes it within ten seconds."""
    if config.geoip_file:
        raise click.ClickException("HEADCOUNT_GEOIP_FILE names the file: replace that one, or unset it")
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _print(Countries("", config.data_dir).use(file), as_json)


def _print(facts: Facts, as_json: bool) -> None:
    shown = {
        "file": str(facts.path),
        "kind": facts.kind,
        "built": facts.built_at.date().isoformat(),
        "bytes": facts.bytes,
        "licence": "CC BY 4.0, IP Geolocation by DB-IP (https://db-ip.com)"
        if facts.path == SHIPPED
        else None,
    }
    if as_json:
        session.print_json(shown)
    else:
        session.print_table([], [(name, value) for name, value in shown.items() if value is not None])
