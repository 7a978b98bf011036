"""Bars, charts and plain text in the terminal; no line is wider than it, and nothing that is shown steers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

MAX_WIDTH = 100
CHART_ROWS = 5
LABEL, COUNT, BAR = 36, 9, 40
"""Columns of a table's label, count and bar, where the terminal has room for them."""

Bars = list[tuple[str, int]]
"""(label, count), in the order in which they are drawn."""
Together = Callable[[Sequence[int]], int]


def width_of(console: Console) -> int:
    return min(console.width, MAX_WIDTH)


def heading(console: Console, text: str) -> None:
    console.print(Text(text, style="bold"), width=width_of(console))


def note(console: Console, sentence: str) -> None:
    console.print(Text(f"\n{sentence}", style="dim"), width=width_of(console))


def figure(console: Console, name: str, value: str, more: str = "") -> None:
    """A line with a figure, and what else is to be said of it."""
    line = Text(f"{name:<18}") + Text(f"{value:>12}", style="bold") + Text(f"   {more}" if more else "")
    console.print(line, width=width_of(console))


def table(console: Console, title: str, bars: Bars) -> None:
    """A bar a line under the title; labels, counts and bars stand in the same places in every table."""
    if not bars:
        return
    heading(console, f"\n{title}")
    width = width_of(console)
    most = max(count for _, count in bars)
    labels = min(LABEL, (width - COUNT - 2) * 2 // 3)
    for label, count in bars:
        line = safe(console, label)
        line.truncate(labels, overflow="ellipsis" if _unicode(console) else "crop", pad=True)
        line.append(f"{count:>{COUNT},}  ")
        line.append(_bar(console, count, most, max(1, min(BAR, width - line.cell_len))), style="cyan")
        console.print(line, no_wrap=True, crop=True)


def chart(console: Console, title: str, bars: Bars, together: Together = sum) -> None:
    """Columns under the title, the highest of them CHART_ROWS lines high; none if there is nothing to show.

    `together`: what stands for the counts of neighbours that share a column.
    """
    if not any(count for _, count in bars):
        return
    heading(console, f"\n{title}")
    width = width_of(console)
    axis = max(len(f"{count:,}") for _, count in bars) + 1
    while len(bars) > width - axis:  # a narrow terminal
        pairs = [bars[at : at + 2] for at in range(0, len(bars), 2)]
        bars = [(pair[0][0], together([count for _, count in pair])) for pair in pairs]
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


def last(counts: Sequence[int]) -> int:
    """What stands for neighbours whose counts do not add up."""
    return counts[-1]


def cell(console: Console, value: object) -> Text:
    """What a table shows of a value."""
    nothing = "–" if _unicode(console) else "-"
    return safe(console, nothing if value in (None, "") else str(value))


def safe(console: Console, label: str) -> Text:
    """The label without what would steer or break the terminal: visitors write paths and campaign names."""
    printable = "".join(character if character.isprintable() else "?" for character in label)
    return Text(printable.encode(console.encoding, "replace").decode(console.encoding))


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
