"""`headcount plan`: add, list and change plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from headcount.cli import session, words
from headcount.config import Config
from headcount.licensed import Plan
from headcount.services.management import Management
from headcount.store.products import Sold
from headcount.web import products
from headcount.wire import fields
from headcount.wire import plan as wire


@click.group()
def plan() -> None:
    """What customers can buy of a product."""


def settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that everything shares that makes or changes a plan."""
    options = (
        click.option("--seats", type=words.seats, help="Installs that a license may have; none: no limit."),
        click.option("--entitlements", multiple=True, help="What it allows: NAME, or NAME=VALUE."),
        click.option("--check-interval", type=words.duration, help="Time between two checks, such as 12h."),
        click.option("--lease", type=words.duration, help="Silence after which an install frees its seat."),
        click.option(
            "--grace",
            type=words.duration,
            help="Time to go on without an answer, and past the end of a license.",
        ),
        click.option("--environments", multiple=True, help="An environment whose installs need no seat."),
        session.json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@plan.command()
@click.argument("name")
@click.option("--product", required=True, help="The product.")
@settings
@click.pass_obj
def add(config: Config, /, name: str, product: str, as_json: bool, **options: Any) -> None:
    """Add a plan. Repeat an option that takes a list: --entitlements sso --entitlements projects=50."""
    given = fields.read(wire.Fields, {"name": name, **words.given(options)})
    found = session.manage(config, lambda management: management.products.add_plan(product, given))
    _print(product, found, as_json)


@plan.command("list")
@click.option("--product", help="Only those of this product.")
@session.json_option
@click.pass_obj
def list_plans(config: Config, product: str | None, as_json: bool) -> None:
    """List the plans."""

    async def work(management: Management) -> list[Sold]:
        service = management.products
        return await service.sold() if product is None else [await service.find(product)]

    sold = session.manage(config, work)
    found = [(one.product.name, plan) for one in sold for plan in one.product.plans]
    if as_json:
        session.print_json([products.plan_shown(*one) for one in found])
    elif not found:
        click.echo("There is no plan yet: headcount plan add NAME --product PRODUCT")
    else:
        session.print_table(
            ["product", "plan", "seats", "check interval", "lease", "grace", "entitlements"],
            [(of, one.name, *_columns(one), words.plain(one.entitlements)) for of, one in found],
        )


@plan.command("set")
@click.argument("name")
@click.option("--product", required=True, help="The product.")
@settings
@click.pass_obj
def set_plan(config: Config, /, name: str, product: str, as_json: bool, **options: Any) -> None:
    """Change a plan; its licenses follow at once. Installs that hold a seat keep it.

    Repeat an option that takes a list: it replaces the list. An empty one, --environments '', empties it.
    """
    given = fields.read(wire.Fields, words.given(options))
    found = session.manage(config, lambda management: management.products.set_plan(product, name, given))
    _print(product, found, as_json)


def rows(found: Plan) -> list[tuple[str, str]]:
    """A plan as a table of names and values."""
    return [
        ("seats", seats(found.seats)),
        ("entitlements", words.plain(found.entitlements)),
        ("check interval", words.lasting(found.check_interval)),
        ("lease", words.lasting(found.lease)),
        ("grace", words.lasting(found.grace)),
        ("environments without seats", words.plain(found.environments)),
    ]


def seats(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


def _columns(found: Plan) -> tuple[str, ...]:
    times = map(words.lasting, (found.check_interval, found.lease, found.grace))
    return seats(found.seats), *times


def _print(product: str, found: Plan, as_json: bool) -> None:
    if as_json:
        session.print_json(products.plan_shown(product, found))
    else:
        session.print_table([], [("product", product), ("plan", found.name), *rows(found)])
