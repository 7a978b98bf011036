"""`headcount token`: make, list and revoke access tokens."""

from __future__ import annotations

from typing import Any

import click

from headcount.cli import session
from headcount.config import Config
from headcount.model import Scope
from headcount.web import sites


@click.group()
def token() -> None:
    """Access tokens for the API."""


@token.command()
@click.option("--site", help="The site it is for; left out: all sites.")
@click.option("--product", help="The product it is for; left out: all products.")
@click.option(
    "--scopes",
    default=str(Scope.STATS_READ),
    show_default=True,
    help=f"Comma list of {', '.join(Scope)}.",
)
@session.json_option
@click.pass_obj
def create(config: Config, site: str | None, product: str | None, scopes: str, as_json: bool) -> None:
    """Make a token. It is shown once and never again."""
    wanted = [part.strip() for part in scopes.split(",") if part.strip()]
    asked = sites.token_fields({"site": site, "product": product, "scopes": wanted})

    async def work() -> dict[str, Any]:
        async with session.open_sites(config) as service:
            text, kept = await service.add_token(asked.site, asked.scopes, asked.product)
            return {"token": text, **sites.token_shown(kept, await service.names())}

    made = session.run(work())
    if as_json:
        session.print_json(made)
    else:
        click.echo(made["token"])
        click.echo("It is not kept: this is the only time it is shown.", err=True)


@token.command("list")
@session.json_option
@click.pass_obj
def list_tokens(config: Config, as_json: bool) -> None:
    """List the tokens, without the tokens themselves."""

    async def work() -> list[dict[str, Any]]:
        async with session.open_sites(config) as service:
            names = await service.names()
            return [sites.token_shown(one, names) for one in await service.tokens()]

    found = session.run(work())
    if as_json:
        session.print_json(found)
    elif not found:
        click.echo("There is no token yet: headcount token create --site DOMAIN")
    else:
        session.print_table(
            ["id", "site", "product", "scopes"],
            [(one["id"], *_for(one["site"], one["product"]), ", ".join(one["scopes"])) for one in found],
        )


@token.command()
@click.argument("id", type=int)
@session.json_option
@click.pass_obj
def revoke(config: Config, id: int, as_json: bool) -> None:
    """Revoke a token, at once. Its ID stands in `headcount token list`."""

    async def work() -> None:
        async with session.open_sites(config) as service:
            await service.delete_token(id)

    session.run(work())
    session.tell(as_json, "It is revoked.", id=str(id), revoked=True)


def _for(site: str | None, product: str | None) -> tuple[str | None, str | None]:
    """What a token is for, in two columns."""
    return (site, product) if site or product else ("all", "all")
