"""`headcount stats`: the figures of a site in the terminal; plain text when it is piped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial

import click
from rich.console import Console

from headcount.cli import asking, drawing, session
from headcount.cli.drawing import Bars
from headcount.clock import Clock
from headcount.config import Config
from headcount.model import Site
from headcount.services.reports import Reports
from headcount.services.sites import Sites
from headcount.stats.question import DIMENSIONS, RANGES, DateRange, Match, Not, Operator, Query

FIGURES = ("visitors", "visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration")
TABLES = (
    ("Pages", "event:page", "visitors"),
    ("Sources", "visit:source", "visitors"),
    ("Countries", "visit:country_name", "visitors"),
    ("Devices", "visit:device", "visitors"),
    ("Browsers", "visit:browser", "visitors"),
    ("Events", "event:name", "events"),
)
_FILTERS = {"event:name": (Not(Match(Operator.IS, DIMENSIONS["event:name"], ("pageview",))),)}


@dataclass(frozen=True, slots=True)
class Overview:
    """What the command prints."""

    site: str
    date_range: list[str]
    figures: dict[str, int | float | None]
    chart: Bars
    """Visitors by time."""
    tables: dict[str, Bars] = field(default_factory=dict)
    ignored: Bars = field(default_factory=list)
    """What was not counted, by reason."""
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.argument("domain")
@click.option("--period", default="7d", help=f"{', '.join(RANGES)}, or FROM,TO as dates.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def stats(config: Config, domain: str, period: str, as_json: bool) -> None:
    """Show the figures of a site."""
    session.run(_stats(config, domain, period, as_json))


async def _stats(config: Config, domain: str, period: str, as_json: bool) -> None:
    async with session.open_database(config) as database:
        site = await Sites(database, Clock()).find(domain)
        await show(Reports(database, Clock(), config.retention_days), site, period, Console(), as_json)


async def show(reports: Reports, site: Site, period: str, console: Console, as_json: bool = False) -> None:
    """Print the figures of a site. Raises BadInput for a period that does not exist."""
    overview = await gather(reports, site, asking.date_range(period))
    if as_json:
        asking.write_json(console, asdict(overview))
    else:
        draw(console, overview)


async def gather(reports: Reports, site: Site, date_range: DateRange) -> Overview:
    """Ask for everything that is shown."""
    ask, whole = partial(reports.query, site), Query(site.domain, FIGURES, date_range)
    answer = await ask(whole)
    return Overview(
        site=site.domain,
        date_range=answer.query["date_range"],
        figures=dict(zip(FIGURES, answer.results[0]["metrics"], strict=True)),
        chart=await asking.by_time(ask, site.domain, date_range, "visitors"),
        tables={
            title: await asking.top(
                ask, site.domain, date_range, DIMENSIONS[key], metric, _FILTERS.get(key, ())
            )
            for title, key, metric in TABLES
        },
        ignored=await reports.dropped(site, whole),
        warnings=asking.warnings(answer),
    )


def draw(console: Console, overview: Overview) -> None:
    """Print it, no wider than the terminal."""
    first, last = (moment[:16].replace("T", " ") for moment in overview.date_range)
    drawing.heading(console, f"{overview.site}   {first} to {last}\n")
    for name, value in overview.figures.items():
        drawing.figure(console, name.replace("_", " ").capitalize(), _figure(name, value))
    drawing.chart(console, "Visitors by time", overview.chart)
    for title, bars in {**overview.tables, "Not counted": overview.ignored}.items():
        drawing.table(console, title, bars)
    for warning in overview.warnings:
        drawing.note(console, warning)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name == "bounce_rate":
        return f"{value} %"
    if name == "visit_duration":
        minutes, seconds = divmod(int(value), 60)
        return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
    return f"{value:,}"
