"""`headcount stats`: the figures of a site in the terminal; plain text when it is piped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import click
import orjson
from rich.console import Console
from rich.text import Text

from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.model import Site
from headcount.services.reports import Reports
from headcount.services.sites import Sites
from headcount.stats.question import DIMENSIONS, RANGES, DateRange, Match, Not, Operator, Query
from headcount.wire import query as wire

TOP = 10
MAX_WIDTH = 100
CHART_ROWS = 5
LABEL, COUNT, BAR = 36, 9, 40
"""Columns of a table's label, count and bar, where the terminal has room for them."""
FIGURES = ("visitors", "visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration")
TABLES = (
    ("Pages", "event:page", "visitors"),
    ("Sources", "visit:source", "visitors"),
    ("Countries", "visit:country_name", "visitors"),
    ("Devices", "visit:device", "visitors"),
    ("Browsers", "visit:browser", "visitors"),
    ("Events", "event:name", "events"),
)
_NOT_PAGEVIEW = Not(Match(Operator.IS, DIMENSIONS["event:name"], ("pageview",)))

Bars = list[tuple[str, int]]
"""(label, count), in the order in which they are drawn."""


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
    overview = await gather(reports, site, wire.date_range(period.split(",") if "," in period else period))
    if as_json:
        console.file.write(orjson.dumps(asdict(overview), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        draw(console, overview)


async def gather(reports: Reports, site: Site, date_range: DateRange) -> Overview:
    """Ask for everything that is shown."""
    whole = Query(site.domain, FIGURES, date_range)
    answer = await reports.query(site, whole)
    warnings = [warning["warning"] for warning in answer.meta.get("metric_warnings", {}).values()]
    return Overview(
        site=site.domain,
        date_range=answer.query["date_range"],
        figures=dict(zip(FIGURES, answer.results[0]["metrics"], strict=True)),
        chart=await _chart(reports, site, date_range),
        tables={title: await _top(reports, site, date_range, *asked) for title, *asked in TABLES},
        ignored=await reports.dropped(site, whole),
        warnings=warnings,
    )


def draw(console: Console, overview: Overview) -> None:
    """Print it, no wider than the terminal."""
    width = min(console.width, MAX_WIDTH)
    first, last = (moment[:16].replace("T", " ") for moment in overview.date_range)
    console.print(Text(f"{overview.site}   {first} to {last}", style="bold"), width=width)
    console.print()
    for name, value in overview.figures.items():
        line = Text(f"{name.replace('_', ' ').capitalize():<18}")
        console.print(line + Text(f"{_figure(name, value):>12}", style="bold"), width=width)
    if any(count for _, count in overview.chart):
        console.print(Text("\nVisitors by time", style="bold"))
        _draw_chart(console, overview.chart, width)
    for title, bars in {**overview.tables, "Not counted": overview.ignored}.items():
        if bars:
            console.print(Text(f"\n{title}", style="bold"))
            _draw_bars(console, bars, width)
    for warning in overview.warnings:
        console.print(Text(f"\n{warning}", style="dim"), width=width)


async def _chart(reports: Reports, site: Site, date_range: DateRange) -> Bars:
    query = Query(
        site.domain, ("visitors",), date_range, (DIMENSIONS["time"],), include=frozenset({"time_labels"})
    )
    answer = await reports.query(site, query)
    counts = {row["dimensions"][0]: row["metrics"][0] for row in answer.results}
    return [(label, counts.get(label, 0)) for label in answer.meta["time_labels"]]


async def _top(reports: Reports, site: Site, date_range: DateRange, key: str, metric: str) -> Bars:
    filters = (_NOT_PAGEVIEW,) if key == "event:name" else ()
    query = Query(site.domain, (metric,), date_range, (DIMENSIONS[key],), filters, limit=TOP)
    answer = await reports.query(site, query)
    return [(row["dimensions"][0], row["metrics"][0]) for row in answer.results]


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name == "bounce_rate":
        return f"{value} %"
    if name == "visit_duration":
        minutes, seconds = divmod(int(value), 60)
        return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
    return f"{value:,}"


def _draw_bars(console: Console, bars: Bars, width: int) -> None:
    """One line each; labels, counts and bars stand in the same places in every table."""
    most = max(count for _, count in bars)
    labels = min(LABEL, (width - COUNT - 2) * 2 // 3)
    for label, count in bars:
        line = _safe(console, label)
        line.truncate(labels, overflow="ellipsis" if _unicode(console) else "crop", pad=True)
        line.append(f"{count:>{COUNT},}  ")
        line.append(_bar(console, count, most, max(1, min(BAR, width - line.cell_len))), style="cyan")
        console.print(line, no_wrap=True, crop=True)


def _draw_chart(console: Console, bars: Bars, width: int) -> None:
    """Columns, the highest of them CHART_ROWS lines high."""
    axis = max(len(f"{count:,}") for _, count in bars) + 1
    while len(bars) > width - axis:  # a narrow terminal: draw neighbours together
        bars = [(bars[at][0], sum(count for _, count in bars[at : at + 2])) for at in range(0, len(bars), 2)]
    column = min(4, max(1, (width - axis) // len(bars)))
    most = max(count for _, count in bars)
    for row in reversed(range(CHART_ROWS)):
        left = {CHART_ROWS - 1: f"{most:,}", 0: "0"}.get(row, "")
        tops = (_top_of(console, count * CHART_ROWS / most - row) for _, count in bars)
        cells = "".join((top * max(1, column - 1)).ljust(column) for top in tops)
        console.print(
            Text(f"{left:>{axis - 1}} ") + Text(cells.rstrip(), style="cyan"), no_wrap=True, crop=True
        )
    first, last = bars[0][0], bars[-1][0]
    gap = max(1, column * len(bars) - len(first) - len(last))
    ends = first if len(bars) == 1 else f"{first}{' ' * gap}{last}"
    console.print(Text(" " * axis + ends, style="dim"), no_wrap=True, overflow="ellipsis", width=width)


def _top_of(console: Console, level: float) -> str:
    """One cell of a column that reaches `level` cells above the foot of this one."""
    if level <= 0:
        return " "
    if not _unicode(console):
        return "#" if level >= 0.5 else "."
    return "▁▂▃▄▅▆▇█"[min(7, max(0, round(level * 8) - 1))]


def _bar(console: Console, count: int, most: int, room: int) -> str:
    eighths = max(1, round(count * room * 8 / most)) if count else 0
    if not _unicode(console):
        return "#" * max(1, eighths // 8) if count else ""
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _safe(console: Console, label: str) -> Text:
    """The label without what would steer or break the terminal: visitors write paths and campaign names."""
    printable = "".join(character if character.isprintable() else "?" for character in label)
    return Text(printable.encode(console.encoding, "replace").decode(console.encoding))
