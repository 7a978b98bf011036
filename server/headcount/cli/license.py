"""`headcount license`: issue licenses and handle them. A LICENSE is named by its id or by its key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import click

from headcount import errors
from headcount.cli import session, tables, words
from headcount.config import Config
from headcount.licensed import Instance
from headcount.licensing.transitions import Act
from headcount.services.instances import START, Place
from headcount.services.licenses import STAYS, Erased
from headcount.services.management import Management
from headcount.store.issued import License
from headcount.web import licenses
from headcount.wire import fields, json, paging
from headcount.wire import license as wire

MAX_REQUEST = 8 << 10


@click.group()
def license() -> None:
    """What customers hold. LICENSE is its id or its key."""


def _customer(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whose license it is."""
    options = (
        click.option("--customer-ref", help="Your own reference to the customer."),
        click.option("--customer-name", help="Name, where the product keeps customer fields."),
        click.option("--customer-email", help="E-mail address, where the product keeps customer fields."),
        session.json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@license.command()
@click.option("--product", required=True, help="The product.")
@click.option("--plan", required=True, help="The plan.")
@click.option("--seats", type=words.seats, help="Seats in place of the plan's.")
@click.option("--expires-at", help="When it ends: a date, or a moment such as 2030-12-31T12:00:00Z.")
@click.option("--for", "lasts", type=words.duration, help="How long it lasts, such as 365d.")
@_customer
@click.pass_obj
def issue(config: Config, /, as_json: bool, lasts: int | None, **options: Any) -> None:
    """Issue a license and print its key. The key is shown once and never again."""
    given = words.given(options) | ({} if lasts is None else {"for": lasts})
    asked = fields.read(wire.Fields, given)
    key, found = session.manage(
        config, lambda management: management.licenses.issue(options["product"], options["plan"], asked)
    )
    if as_json:
        session.print_json({"key": key, **tables.shown(found)})
        return
    click.echo(key)
    click.echo(
        f"It is not kept: this is the only time it is shown. The id of the license is {found.id}.", err=True
    )


@license.command()
@click.argument("name", metavar="LICENSE")
@session.json_option
@click.pass_obj
def show(config: Config, name: str, as_json: bool) -> None:
    """Show a license and its installs."""

    async def work(management: Management) -> tuple[License, list[Instance]]:
        found = await _named(management, name)
        return found, await _all_instances(management, found.id)

    found, instances = session.manage(config, work)
    if as_json:
        session.print_json(
            {**tables.shown(found), "instances": [licenses.instance_shown(one) for one in instances]}
        )
        return
    tables.print_license(found, as_json)
    if instances:
        click.echo()
        tables.print_installs(instances)


@license.command("list")
@click.option("--product", help="Only those of this product.")
@click.option("--plan", help="Only those of plans of this name.")
@click.option(
    "--status", type=click.Choice([one.value for one in wire.STATUSES]), help="Only those that are so now."
)
@click.option("--customer-ref", help="Only those of this customer.")
@session.json_option
@click.pass_obj
def list_licenses(config: Config, /, as_json: bool, **options: str | None) -> None:
    """List the licenses."""
    filters = fields.read(wire.Filters, words.given(options))
    found = session.manage(config, lambda management: _all_licenses(management, filters))
    if as_json:
        session.print_json([tables.shown(one) for one in found])
    elif not found:
        click.echo("There is no such license: headcount license issue --product PRODUCT --plan PLAN")
    else:
        tables.print_licenses(found)


@license.command("set")
@click.argument("name", metavar="LICENSE")
@click.option("--plan", help="Another plan of the product.")
@click.option("--seats", type=words.seats, help="Seats in place of the plan's; none: as the plan.")
@_customer
@click.pass_obj
def set_license(config: Config, /, name: str, as_json: bool, **options: Any) -> None:
    """Change plan, seats or customer. Installs that hold a seat keep it."""
    given = fields.read(wire.Change, words.given(options))
    _change(config, name, as_json, lambda management, id: management.licenses.set(id, given))


@license.command()
@click.argument("name", metavar="LICENSE")
@session.json_option
@click.pass_obj
def suspend(config: Config, name: str, as_json: bool) -> None:
    """Put a license on hold. Its installs are told so at their next check."""
    _act(config, name, Act.SUSPEND, as_json)


@license.command()
@click.argument("name", metavar="LICENSE")
@session.json_option
@click.pass_obj
def reinstate(config: Config, name: str, as_json: bool) -> None:
    """Let a suspended license be good again."""
    _act(config, name, Act.REINSTATE, as_json)


@license.command()
@click.argument("name", metavar="LICENSE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@session.json_option
@click.pass_obj
def revoke(config: Config, name: str, yes: bool, as_json: bool) -> None:
    """End a license for good: it cannot be taken back."""
    if not yes:
        click.confirm("Revoke this license for good?", abort=True)
    _act(config, name, Act.REVOKE, as_json)


@license.command()
@click.argument("name", metavar="LICENSE")
@click.option(
    "--for", "lasts", type=words.duration, help="So much longer, such as 365d, from its end or from now on."
)
@click.option("--until", help="To the end of a date, or to a moment such as 2030-12-31T12:00:00Z.")
@click.option("--never", is_flag=True, help="It does not end.")
@session.json_option
@click.pass_obj
def renew(
    config: Config, name: str, lasts: int | None, until: str | None, never: bool, as_json: bool
) -> None:
    """Let a license end later, or never."""
    if (lasts is not None) + (until is not None) + never != 1:
        raise click.UsageError("Give one of --for, --until and --never.")
    given = {"expires_at": until} if lasts is None else {"for": lasts}
    term = fields.read(wire.Term, given)
    _change(config, name, as_json, lambda management, id: management.licenses.renew(id, term))


@license.command()
@click.argument("name", metavar="LICENSE")
@_customer
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def transfer(config: Config, /, name: str, yes: bool, as_json: bool, **options: Any) -> None:
    """Give a license to another customer. The key stays; the installs of the one before are forgotten."""
    given = fields.read(wire.Customer, words.given(options))
    if not yes:
        click.confirm("Free all its seats, and forget its installs and their heartbeats?", abort=True)
    _change(config, name, as_json, lambda management, id: management.licenses.transfer(id, given))


@license.command()
@click.argument("name", metavar="LICENSE")
@click.argument("install", required=False)
@click.option("--all", "every", is_flag=True, help="The seats of all its installs.")
@session.json_option
@click.pass_obj
def release(config: Config, name: str, install: str | None, every: bool, as_json: bool) -> None:
    """Free the seat of an INSTALL, which `license show` lists. One that still runs takes a seat again."""
    if every == (install is not None):
        raise click.UsageError("Give an INSTALL, or --all.")

    async def work(management: Management) -> int:
        id = (await _named(management, name)).id
        instance = None if install is None else await _install(management, id, install)
        return await management.licenses.release(id, instance)

    freed = session.manage(config, work)
    session.tell(as_json, f"{words.count(freed, 'seat')} freed.", released=freed)


@license.command()
@click.argument("name", metavar="LICENSE")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file."
)
@session.json_option
@click.pass_obj
def export(config: Config, name: str, output: Path | None, as_json: bool) -> None:
    """Print everything that is kept of a license, as JSON."""

    async def work(management: Management) -> dict[str, Any]:
        return await management.instances.export((await _named(management, name)).id)

    session.write_json(session.manage(config, work), output)


@license.command()
@click.argument("name", metavar="LICENSE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@session.json_option
@click.pass_obj
def erase(config: Config, name: str, yes: bool, as_json: bool) -> None:
    """Delete a license with its installs and heartbeats. Daily counts stay."""
    if not yes:
        click.confirm("Delete this license and everything that is kept of it?", abort=True)

    async def work(management: Management) -> Erased:
        return await management.licenses.erase((await _named(management, name)).id)

    erased = session.manage(config, work)
    if as_json:
        session.print_json({"erased": {"licenses": 1, **erased._asdict()}, "stays": STAYS})
        return
    deleted = (
        words.count(erased.installs, "install"),
        words.count(erased.heartbeats, "heartbeat"),
        words.count(erased.sharing, "day") + " of signs of sharing",
    )
    click.echo(f"Deleted: the license, {', '.join(deleted)}.\n\nThis stays:")
    for what, why in STAYS.items():
        click.echo(f"- {what}: {why}")


@license.command()
@click.argument("request", type=click.File("rb"))
@click.option("--days", type=int, default=365, show_default=True, help="How long it is good for.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file."
)
@session.json_option
@click.pass_obj
def file(config: Config, request: IO[bytes], days: int, output: Path | None, as_json: bool) -> None:
    """Make the license file for a REQUEST file. -: standard input."""
    given = json.decode(request.read(MAX_REQUEST + 1), MAX_REQUEST, "request")
    if not isinstance(given, dict):
        raise errors.BadInput("request", "must be a JSON object")
    asked = fields.read(wire.Request, {**given, "days": days})
    session.write_json(session.manage(config, lambda management: management.offline.write(asked)), output)


def _act(config: Config, name: str, act: Act, as_json: bool) -> None:
    _change(config, name, as_json, lambda management, id: management.licenses.act(id, act))


def _change(
    config: Config, name: str, as_json: bool, work: Callable[[Management, int], Awaitable[License]]
) -> None:
    async def whole(management: Management) -> License:
        return await work(management, (await _named(management, name)).id)

    tables.print_license(session.manage(config, whole), as_json)


async def _named(management: Management, name: str) -> License:
    """The license of this id or key. Raises BadInput and NotFound."""
    if (id := paging.number(name)) is not None:
        return await management.licenses.get(id)
    if not name.strip().upper().startswith("HC"):
        raise errors.BadInput("license", "must be the id or the key of a license")
    return await management.licenses.find(name)


async def _install(management: Management, id: int, digits: str) -> bytes:
    """The digest that begins with these digits. Raises BadInput if no install's does, or that of several."""
    begins = digits.lower()
    found = [
        one.digest for one in await _all_instances(management, id) if one.digest.hex().startswith(begins)
    ]
    if len(found) != 1:
        why = "several installs begin so: give more digits" if found else "the license has no such install"
        raise errors.BadInput("install", why)
    return found[0]


async def _all_licenses(management: Management, filters: wire.Filters) -> list[License]:
    found: list[License] = []
    while page := await management.licenses.page(filters, paging.MAX_LIMIT, found[-1].id if found else 0):
        found += page
    return found


async def _all_instances(management: Management, id: int) -> list[Instance]:
    found: list[Instance] = []
    place = START
    while page := await management.instances.page(None, id, paging.MAX_LIMIT, place):
        found += page
        place = Place(id, page[-1].digest)
    return found
