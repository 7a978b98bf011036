"""`headcount product`: products, their keys and releases, and how many installs there are."""

from __future__ import annotations

from typing import Any

import click

from headcount import errors
from headcount.cli import plan, product_stats, session, words
from headcount.config import Config
from headcount.services.management import Management
from headcount.store.products import Sold
from headcount.web import products
from headcount.wire import fields
from headcount.wire import product as wire
from headcount.wire import release as release_fields


@click.group()
def product() -> None:
    """Products, their keys and releases."""


product.add_command(product_stats.stats)


@product.command()
@click.argument("name")
@click.option("--plan", "plan_name", help="Add a first plan of this name, with the options below.")
@click.option("--customer-fields", is_flag=True, help="Keep a name and an e-mail address with each license.")
@plan.settings
@click.pass_obj
def add(
    config: Config, /, name: str, plan_name: str | None, customer_fields: bool, as_json: bool, **options: Any
) -> None:
    """Add a product and print its root key. Clients carry that."""
    first = words.given(options)
    if first and plan_name is None:
        raise errors.BadInput("plan", f"is required for --{next(iter(first)).replace('_', '-')}")
    of_plan = {} if plan_name is None else {"plan": {"name": plan_name, **first}}
    asked = fields.read(wire.Fields, {"name": name, "customer_fields": customer_fields, **of_plan})
    sold = session.manage(config, lambda management: products.add(management.products, asked))
    if as_json:
        session.print_json(products.shown(sold))
        return
    click.echo(f"{name} is added. This is its public root key; build it into the clients:\n")
    click.echo(f"    {products.shown(sold)['root_key']}\n")
    for one in sold.product.plans:
        session.print_table([], [("plan", one.name), *plan.rows(one)])
    click.echo(_next_step(sold))


@product.command("list")
@session.json_option
@click.pass_obj
def list_products(config: Config, as_json: bool) -> None:
    """List the products."""
    found = session.manage(config, lambda management: management.products.sold())
    if as_json:
        session.print_json([products.shown(sold) for sold in found])
    elif not found:
        click.echo("There is no product yet: headcount product add NAME --plan team --seats 5")
    else:
        session.print_table(
            ["product", "plans", "releases", "customer fields", "root key"],
            [
                (
                    sold.product.name,
                    ", ".join(one.name for one in sold.product.plans),
                    len(sold.product.releases),
                    "kept" if sold.customer_fields else "not kept",
                    products.shown(sold)["root_key"],
                )
                for sold in found
            ],
        )


@product.command()
@click.argument("name")
@session.json_option
@click.pass_obj
def show(config: Config, name: str, as_json: bool) -> None:
    """Show a product with its keys, plans and releases."""
    _print(session.manage(config, lambda management: management.products.find(name)), as_json)


@product.command("set")
@click.argument("name")
@click.option(
    "--customer-fields/--no-customer-fields",
    default=None,
    help="Keep a name and an e-mail address with each license; switched off, those that are kept are deleted.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@session.json_option
@click.pass_obj
def set_product(config: Config, name: str, customer_fields: bool | None, yes: bool, as_json: bool) -> None:
    """Change a product."""
    wanted = {} if customer_fields is None else {"customer_fields": customer_fields}
    switch = wire.customer_fields(fields.read(wire.Change, wanted))
    if not switch and not yes:
        click.confirm(f"Delete the names and e-mail addresses of all customers of {name}?", abort=True)

    async def work(management: Management) -> tuple[Sold, int]:
        emptied = await management.products.set(name, customer_fields=switch)
        return await management.products.find(name), emptied

    sold, emptied = session.manage(config, work)
    if as_json:
        session.print_json({**products.shown(sold), "emptied": emptied})
    elif switch:
        click.echo(f"{name} keeps a name and an e-mail address with each license from now on.")
    else:
        click.echo(
            f"{name} keeps neither names nor e-mail addresses; those of {emptied} licenses are deleted."
        )


@product.command("rotate-key")
@click.argument("name")
@click.option("--overlap-days", type=int, help="Days that the old keys stay good; 30 unless given.")
@click.option("--now", "at_once", is_flag=True, help="After a theft: the old keys are good no longer.")
@session.json_option
@click.pass_obj
def rotate_key(config: Config, name: str, overlap_days: int | None, at_once: bool, as_json: bool) -> None:
    """Make new keys that sign answers and license files. The root key stays: clients need no change."""
    if at_once and overlap_days is not None:
        raise errors.BadInput("overlap_days", "and --now cannot be given together")
    days = wire.OVERLAP_DAYS if overlap_days is None else overlap_days

    async def work(management: Management) -> Sold:
        await management.products.rotate_key(name, days, at_once=at_once)
        return await management.products.find(name)

    sold = session.manage(config, work)
    if as_json:
        session.print_json(products.shown(sold))
        return
    old = "is believed no longer" if at_once else f"is believed for {days} more days"
    click.echo(f"{name} has new keys, which sign from now on. What the old ones have signed {old}.\n")
    _print_keys(sold)


@product.command()
@click.argument("name")
@click.argument("version")
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option("--url", help="Where to get it.")
@click.option("--notes", help="What is new, in a sentence.")
@click.option("--security", is_flag=True, help="It mends a weakness.")
@click.option("--minimum", help="The oldest version that can be updated to it directly.")
@click.option("--plans", multiple=True, help="A plan it is for; left out: all.")
@click.option("--withdraw", is_flag=True, help="Tell installs about it no longer.")
@session.json_option
@click.pass_obj
def release(
    config: Config, /, name: str, version: str, channel: str, withdraw: bool, as_json: bool, **options: Any
) -> None:
    """Tell installs that there is a version. The same version again replaces what was said of it."""
    if withdraw:
        session.manage(config, lambda management: management.products.withdraw(name, channel, version))
        session.tell(
            as_json,
            f"{name} {version} is withdrawn from {channel}.",
            version=version,
            channel=channel,
            withdrawn=True,
        )
        return
    given = {"version": version, "channel": channel, **words.given(options)}
    asked = fields.read(release_fields.Fields, given)
    found = session.manage(config, lambda management: management.products.release(name, asked))
    if as_json:
        session.print_json(products.release_shown(found))
    else:
        click.echo(f"Installs of {name} are told about {found.version} at their next check.\n")
        described = products.release_shown(found) | {"plans": found.plans or "all"}
        session.print_table([], [(what, words.plain(value)) for what, value in described.items()])


def _print(sold: Sold, as_json: bool) -> None:
    found = products.shown(sold)
    if as_json:
        session.print_json(found)
        return
    session.print_table(
        [],
        [
            ("product", found["name"]),
            ("root key", found["root_key"]),
            ("customer fields", "kept" if sold.customer_fields else "not kept"),
            ("added", words.day(found["created_at"])),
        ],
    )
    click.echo()
    _print_keys(sold)
    for one in sold.product.plans:
        click.echo()
        session.print_table([], [("plan", one.name), *plan.rows(one)])
    if sold.product.releases:
        click.echo()
        session.print_table(
            ["release", "channel", "security", "plans", "url"],
            [
                (one.version, one.channel, words.plain(one.security), ", ".join(one.plans) or "all", one.url)
                for one in sold.product.releases
            ],
        )


def _print_keys(sold: Sold) -> None:
    session.print_table(
        ["key", "signs", "from", "until"],
        [
            (
                key["kid"],
                {"check": "answers", "file": "license files"}[key["use"]],
                words.day(key["not_before"]),
                "in use" if key["not_after"] is None else words.day(key["not_after"]),
            )
            for key in products.shown(sold)["keys"]
        ],
    )


def _next_step(sold: Sold) -> str:
    name = sold.product.name
    for one in sold.product.plans:
        return f"\nNow: headcount license issue --product {name} --plan {one.name}"
    return f"Now: headcount plan add PLAN --product {name} --seats 5"
