"""`headcount product stats`: what a vendor wants to see every Monday, in the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import partial

import click
from rich.console import Console

from headcount.cli import asking, drawing, session, tables
from headcount.cli.drawing import Bars
from headcount.clock import Clock
from headcount.config import Config
from headcount.services.product_reports import ProductReports, Seats, SeenInstall, Signals
from headcount.stats.dates import DAY
from headcount.stats.product import ALL_CHECKS, MORE
from headcount.stats.question import PRODUCT, DateRange, Query
from headcount.stats.vocabulary import INSTALL_DIMENSIONS, INSTALL_METRICS, PRODUCT_WORDS

LISTED = 10
"""Installs or licenses of a list that are printed; JSON has more."""
TABLES = (
    ("Versions", "install:version", "installs"),
    ("Plans", "install:plan", "installs"),
    ("Countries", "install:country_name", "installs"),
    ("Environments", "install:environment", "installs"),
    ("Systems", "install:os", "installs"),
    ("Checks by answer", "install:status", "heartbeats"),
    ("States", "install:state", "installs"),
)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the command prints."""

    product: str
    date_range: list[str]
    installs_on: str | None
    """The day whose installs are given: the last of the range that was counted."""
    figures: dict[str, int | None]
    before: int | None
    """Installs on the day before the range; None: that day was not counted."""
    seats: Seats
    chart: Bars
    """Installs by time."""
    tables: dict[str, Bars]
    silent: list[SeenInstall]
    """Installs that hold a seat and are silent now."""
    silent_total: int
    signals: Signals
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.argument("name")
@click.option("--period", default="30d", help=f"{', '.join(PRODUCT_WORDS.ranges)}, or FROM,TO as dates.")
@session.json_option
@click.pass_obj
def stats(config: Config, name: str, period: str, as_json: bool) -> None:
    """Show how many installs there are, and which of them to look at."""
    session.run(_stats(config, name, period, as_json))


async def _stats(config: Config, name: str, period: str, as_json: bool) -> None:
    async with session.open_database(config) as database:
        await show(ProductReports(database, Clock()), name, period, Console(), as_json)


async def show(
    reports: ProductReports, name: str, period: str, console: Console, as_json: bool = False
) -> None:
    """Print the figures of a product. Raises NotFound, and BadInput for a period that does not exist."""
    overview = await gather(reports, name, asking.date_range(period, PRODUCT_WORDS))
    if as_json:
        asking.write_json(console, asdict(overview))
    else:
        draw(console, overview)


async def gather(reports: ProductReports, name: str, days: DateRange) -> Overview:
    """Ask for everything that is shown."""
    id, subject = await reports.find(name), f"{PRODUCT}{name}"
    ask = partial(reports.query, id)
    answer = await ask(Query(subject, INSTALL_METRICS, days))
    first, last = (datetime.fromisoformat(moment).date() for moment in answer.query["date_range"])
    before = await ask(Query(subject, ("installs",), (first - DAY, first - DAY)))
    silent, silent_total = await reports.silent(id)
    return Overview(
        product=name,
        date_range=[first.isoformat(), last.isoformat()],
        installs_on=answer.meta["installs_on"],
        figures=dict(zip(INSTALL_METRICS, answer.results[0]["metrics"], strict=True)),
        before=before.results[0]["metrics"][0],
        seats=await reports.seats(id),
        chart=await asking.by_time(ask, subject, days, "installs"),
        tables={
            title: await asking.top(ask, subject, days, INSTALL_DIMENSIONS[key], metric)
            for title, key, metric in TABLES
        },
        silent=silent,
        silent_total=silent_total,
        signals=await reports.signals(id, first, last),
        warnings=asking.warnings(answer),
    )


def draw(console: Console, overview: Overview) -> None:
    """Print it, no wider than the terminal."""
    drawing.heading(console, f"{overview.product}   {' to '.join(overview.date_range)}\n")
    _draw_figures(console, overview)
    drawing.chart(console, "Active installs by time", overview.chart, drawing.last)
    for title, bars in overview.tables.items():
        drawing.table(console, title, bars)
    _draw_silent(console, overview)
    _draw_signals(console, overview.signals)
    for warning in overview.warnings:
        drawing.note(console, warning)
    if any(overview.tables.values()):
        drawing.note(console, f"{MORE[1]} {ALL_CHECKS[1]}")


def _draw_figures(console: Console, overview: Overview) -> None:
    figures, seats = overview.figures, overview.seats
    drawing.figure(console, "Active installs", _number(figures["installs"]), _change(overview))
    for name in ("new", "returning", "lost"):
        drawing.figure(console, name.capitalize(), _number(figures[f"{name}_installs"]))
    drawing.figure(console, "Silent now", _number(overview.silent_total))
    drawing.figure(console, "Checks", _number(figures["heartbeats"]))
    sold = f"of {seats.sold:,} sold with {_licenses(seats.licenses - seats.unlimited)}"
    drawing.figure(console, "Seats taken", _number(seats.used), sold)
    if seats.unlimited:
        unlimited = f"of {_licenses(seats.unlimited)} without a limit"
        drawing.figure(console, "", _number(seats.used_unlimited), unlimited)


def _change(overview: Overview) -> str:
    """How many more or fewer installs there are than on the day before the range."""
    now, before = overview.figures["installs"], overview.before
    if now is None or before is None:
        return ""
    day = date.fromisoformat(overview.date_range[0]) - DAY
    return f"{now - before:+,} since {day}" if now != before else f"as many as on {day}"


def _draw_silent(console: Console, overview: Overview) -> None:
    _list(
        console,
        "Silent installs",
        overview.silent_total,
        ["license", "customer", "install", "version", "silent since"],
        [
            (one.license, one.customer_ref, one.instance[: tables.SHORT], one.version, _minute(one.last_seen))
            for one in overview.silent
        ],
    )


def _draw_signals(console: Console, signals: Signals) -> None:
    _list(
        console,
        "Licenses with more installs, networks or countries on one day than seats",
        signals.shared_total,
        ["license", "customer", "plan", "seats", "installs", "networks", "countries"],
        [
            (one.license, one.customer_ref, one.plan, one.seats, one.instances, one.networks, one.countries)
            for one in signals.shared
        ],
    )
    _list(
        console,
        "Installs that seem to be copied",
        signals.forked_total,
        ["license", "customer", "install", "version", "times", "last seen"],
        [
            (
                one.license,
                one.customer_ref,
                one.instance[: tables.SHORT],
                one.version,
                one.forks,
                _minute(one.last_seen),
            )
            for one in signals.forked
        ],
    )


def _list(
    console: Console, title: str, total: int, columns: list[str], rows: list[tuple[object, ...]]
) -> None:
    """A table of the first rows under the title; nothing if there are none."""
    if not rows:
        return
    shown = rows[:LISTED]
    drawing.heading(console, f"\n{title}" + (f" ({len(shown)} of {total:,})" if total > len(shown) else ""))
    session.print_table(columns, shown, console)


def _licenses(count: int) -> str:
    return f"{count:,} license" + ("" if count == 1 else "s")


def _number(count: int | None) -> str:
    return "not counted" if count is None else f"{count:,}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
