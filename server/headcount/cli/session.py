"""What commands share: a running loop, the database, and how things are printed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console
from rich.table import Table

from headcount import app, errors
from headcount.cli import drawing
from headcount.clock import Clock
from headcount.config import Config
from headcount.services.management import Management
from headcount.services.sites import Sites
from headcount.store import secret
from headcount.store.postgres import Database

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of a command to its end."""
    return asyncio.run(work)


@asynccontextmanager
async def open_database(config: Config) -> AsyncIterator[Database]:
    """Postgres, beside a running server or without one."""
    async with app.postgres(config) as database:
        yield database


@asynccontextmanager
async def open_sites(config: Config) -> AsyncIterator[Sites]:
    async with open_database(config) as database:
        yield Sites(database, Clock())


@asynccontextmanager
async def open_management(config: Config) -> AsyncIterator[Management]:
    """Products and licenses."""
    async with open_database(config) as database:
        yield Management(database, Clock(), secret.load(config.secret_key, config.data_dir))


def manage(config: Config, work: Callable[[Management], Awaitable[T]]) -> T:
    """Run what a command does with products and licenses."""

    async def whole() -> T:
        async with open_management(config) as management:
            return await work(management)

    return run(whole())


def print_json(value: object, err: bool = False) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(), err=err)


def write_json(value: object, output: Path | None) -> None:
    """Print JSON, or write it to a file. Raises BadInput if that cannot be written."""
    if output is None:
        print_json(value)
        return
    try:
        output.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise errors.BadInput("output", f"cannot be written: {error.strerror}") from None
    click.echo(f"{output} is written.")


def tell(as_json: bool, sentence: str, **facts: object) -> None:
    """What a command has done: a sentence, or the facts as JSON."""
    if as_json:
        print_json(facts)
    else:
        click.echo(sentence)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], console: Console | None = None
) -> None:
    """A plain table; nothing in a cell is taken for markup, or steers the terminal."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(drawing.cell(console, cell) for cell in row))
    console.print(table)
