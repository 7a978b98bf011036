"""`headcount site`: add, list, change, rename, reset and delete sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from headcount.cli import session
from headcount.config import Config
from headcount.model import Site
from headcount.web import script, sites
from headcount.wire import site as wire


@click.group()
def site() -> None:
    """The websites that are counted."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `add` and `set` share."""
    options = (
        click.option("--timezone", help="IANA name, such as Europe/Riga."),
        click.option(
            "--hostnames", multiple=True, help="A hostname to accept; *.example.com for subdomains."
        ),
        click.option("--query-params", multiple=True, help="A query parameter that stays part of the page."),
        click.option("--props", multiple=True, help="An event property that is kept."),
        click.option(
            "--retention-days", type=int, help="Days that raw rows live, 1 to 30; 0: as the server."
        ),
        click.option("--gpc/--no-gpc", default=None, help="Honour Sec-GPC and DNT."),
        click.option("--fold-digits/--no-fold-digits", default=None, help="Long digit runs become :number."),
        session.json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@site.command()
@click.argument("domain")
@_settings
@click.pass_obj
def add(config: Config, /, domain: str, as_json: bool, **given: Any) -> None:
    """Add a site and print its tag. Repeat an option that takes a list: --props plan --props size."""

    async def work() -> Site:
        async with session.open_sites(config) as service:
            return await service.add(wire.from_values({"domain": domain, **_given(given)}))

    _print(config, session.run(work()), as_json)


@site.command("list")
@session.json_option
@click.pass_obj
def list_sites(config: Config, as_json: bool) -> None:
    """List the sites."""

    async def work() -> list[Site]:
        async with session.open_sites(config) as service:
            return await service.all()

    found = session.run(work())
    if as_json:
        session.print_json([_shown(config, one) for one in found])
        return
    if not found:
        click.echo("There is no site yet: headcount site add DOMAIN")
        return
    session.print_table(
        ["domain", "time zone", "hostnames", "raw days", "GPC"],
        [
            (
                one.domain,
                one.timezone + (f" → {one.next_timezone}" if one.next_timezone else ""),
                ", ".join(one.hostnames) or "its own",
                one.retention_days or config.retention_days,
                "honoured" if one.gpc else "ignored",
            )
            for one in found
        ],
    )


@site.command("set")
@click.argument("domain")
@_settings
@click.pass_obj
def set_site(config: Config, /, domain: str, as_json: bool, **given: Any) -> None:
    """Change settings. A new time zone takes effect at the old one's next midnight.

    Repeat an option that takes a list: --props plan --props size. An empty one, --props '', empties the list.
    """
    _change(config, domain, _given(given), as_json)


@site.command()
@click.argument("domain")
@click.argument("new_domain")
@session.json_option
@click.pass_obj
def rename(config: Config, domain: str, new_domain: str, as_json: bool) -> None:
    """Give a site another domain; its counts stay."""
    _change(config, domain, {"domain": new_domain}, as_json)


@site.command()
@click.argument("domain")
@click.option("--yes", is_flag=True, help="Do not ask.")
@session.json_option
@click.pass_obj
def reset(config: Config, domain: str, yes: bool, as_json: bool) -> None:
    """Forget everything that was counted; settings and tokens stay."""
    if not yes:
        click.confirm(f"Delete everything that was counted for {domain}?", abort=True)

    async def work() -> None:
        async with session.open_sites(config) as service:
            await service.reset(domain)

    session.run(work())
    session.tell(as_json, f"{domain} starts again from zero.", domain=domain, reset=True)


@site.command()
@click.argument("domain")
@click.option("--yes", is_flag=True, help="Do not ask.")
@session.json_option
@click.pass_obj
def delete(config: Config, domain: str, yes: bool, as_json: bool) -> None:
    """Remove a site and every row of it."""
    if not yes:
        click.confirm(f"Delete {domain} and everything that was counted for it?", abort=True)

    async def work() -> None:
        async with session.open_sites(config) as service:
            await service.delete(domain)

    session.run(work())
    session.tell(as_json, f"{domain} is gone.", domain=domain, deleted=True)


def _change(config: Config, domain: str, given: dict[str, Any], as_json: bool) -> None:
    async def work() -> Site:
        async with session.open_sites(config) as service:
            return await service.set(domain, wire.from_values(given))

    _print(config, session.run(work()), as_json)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the API would have them."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, tuple):
            if value:
                given[name] = [item for item in value if item]
        elif value is not None:
            given[name] = None if name == "retention_days" and value == 0 else value
    return given


def _shown(config: Config, site: Site) -> dict[str, Any]:
    return {**sites.shown(site), "tag": script.tag(config.origin, site.domain)}


def _print(config: Config, site: Site, as_json: bool) -> None:
    if as_json:
        session.print_json(_shown(config, site))
        return
    session.print_table([], [(name, _plain(value)) for name, value in sites.shown(site).items()])
    click.echo(f"\nPaste this into its pages:\n\n    {script.tag(config.origin, site.domain)}\n")


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
