"""What `headcount product stats` prints."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
from rich.console import Console

import make_rows
from headcount import errors
from headcount.cli import product_stats
from headcount.services.product_reports import ProductReports
from headcount.store.postgres import Database
from make_installs import DAY, MADE, NOW, TODAY, Install, Selling, count_one, make_product, since, store

if TYPE_CHECKING:
    from make_installs import Connection

BEFORE = date(2026, 10, 23)
"""The day before the range of 30 days."""


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(lambda: dsn)
    yield database
    await database.close()


@pytest.fixture
def reports(database: Database) -> ProductReports:
    return ProductReports(database, make_rows.StoppedClock(NOW))


async def sell(db: Connection, database: Database) -> None:
    """Installs that came and went, two of them silent, one license of them passed around, one install copied."""
    await make_product(db)
    back = Install((MADE, TODAY))
    lost = since(MADE, BEFORE + DAY, version="1.9.0")
    await store(db, [since(MADE), since(MADE), back, lost, *[since(TODAY, country="DE")] * 1_500])
    await count_one(db, "status", "unknown", heartbeats=31)
    selling = Selling(database)
    shared = await selling.license(customer_ref="C-\x1b[31m7")
    for instance in (b"one" * 10, b"two" * 10):
        await selling.install(shared, instance)
    await selling.license(customer_ref="quiet")
    await db.execute("update uptime set milliseconds = 4 * 3600 * 1000")
    await db.execute("update instance set forks = 2 where instance = $1", b"two" * 10)
    await db.execute("insert into sharing values (1, $1, $2, 3, 12, 2)", shared.id, TODAY - timedelta(days=5))


async def printed(
    reports: ProductReports, period: str = "30d", width: int = 100, encoding: str = "utf-8"
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    await product_stats.show(reports, "shop", period, Console(file=file, width=width))
    file.flush()
    file.seek(0)
    return file.read()


def figures(text: str) -> list[str]:
    """The lines of figures, with single blanks."""
    return [" ".join(line.split()) for line in text.splitlines()[2:10] if line]


async def test_figures_are_compared_with_the_day_before_the_range(
    reports: ProductReports, db: Connection, database: Database
) -> None:
    await sell(db, database)
    text = await printed(reports)
    assert text.startswith("shop   2026-10-24 to 2026-11-22\n")
    assert figures(text)[:7] == [
        "Active installs 1,503 +1,500 since 2026-10-23",
        "New 1,500",
        "Returning 1",
        "Lost 1",
        "Silent now 2",
        "Checks 1,562",
        "Seats taken 2 of 10 sold with 2 licenses",
    ]


async def test_tables_and_lists_say_where_to_look(
    reports: ProductReports, db: Connection, database: Database
) -> None:
    await sell(db, database)
    text = await printed(reports)
    for words in (
        "Active installs by time",
        "Versions\n2.4.1                                   1,503  ███",
        "Plans\nteam",
        "Countries\nGermany",
        "Environments\nproduction",
        "Systems\nlinux",
        "Checks by answer\nactive",
        "unknown                                    31",
        "States\nactive",
        "Silent installs\n",
        f"{(b'one' * 10).hex()[:12]}  2.4.1    2026-11-22 15:20 UTC",
        "Licenses with more installs, networks or countries on one day than seats\n",
        "Installs that seem to be copied\n",
        "these do not add up to the total",
    ):
        assert words in text
    assert "quiet" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("period", ["day", "30d", "12mo", "2026-11-20,2026-11-22"])
async def test_no_line_is_wider_than_the_terminal(
    reports: ProductReports, db: Connection, database: Database, width: int, period: str
) -> None:
    await sell(db, database)
    assert max(len(line) for line in (await printed(reports, period, width)).splitlines()) <= width


async def test_a_plain_terminal_gets_plain_text(
    reports: ProductReports, db: Connection, database: Database
) -> None:
    await sell(db, database)
    text = await printed(reports, encoding="ascii")
    assert "#" in text
    assert text.isascii()


async def test_neighbours_in_a_narrow_chart_are_not_added_up(reports: ProductReports, db: Connection) -> None:
    await make_product(db)
    await store(db, [*[since(MADE)] * 7])
    assert "\n7 ███████████████\n" in await printed(reports, "30d", 20)


async def test_a_product_without_installs_has_figures_and_no_tables(
    reports: ProductReports, db: Connection
) -> None:
    await make_product(db)
    text = await printed(reports)
    assert figures(text) == [
        "Active installs 0 as many as on 2026-10-23",
        "New 0",
        "Returning 0",
        "Lost 0",
        "Silent now 0",
        "Checks 0",
        "Seats taken 0 of 0 sold with 0 licenses",
    ]
    assert len(text.splitlines()) == 9


async def test_what_was_not_counted_is_no_zero(reports: ProductReports, db: Connection) -> None:
    await make_product(db, closed=None)
    text = await printed(reports)
    assert figures(text)[0] == "Active installs not counted"
    assert text.count("Installs have not been counted yet.") == 1


async def test_licenses_without_a_limit_stand_apart(
    reports: ProductReports, db: Connection, database: Database
) -> None:
    await make_product(db)
    await Selling(database, seats=None).install()
    await Selling(database, name="solo", seats=1).install()
    assert figures(await printed(reports))[-2:] == [
        "Seats taken 1 of 1 sold with 1 license",
        "1 of 1 license without a limit",
    ]


async def test_json_holds_the_same(reports: ProductReports, db: Connection, database: Database) -> None:
    await sell(db, database)
    file = io.StringIO()
    await product_stats.show(reports, "shop", "7d", Console(file=file), as_json=True)
    found = orjson.loads(file.getvalue())
    assert found["date_range"] == ["2026-11-16", "2026-11-22"]
    assert (found["figures"]["installs"], found["before"]) == (1503, 2)
    assert found["seats"]["sold"] == 10
    assert found["tables"]["Countries"] == [["Germany", 1500], ["Latvia", 3]]
    assert found["silent_total"] == len(found["silent"]) == 2
    (shared,) = found["signals"]["shared"]
    assert (shared["seats"], shared["instances"], shared["networks"], shared["countries"]) == (5, 3, 12, 2)
    (copied,) = found["signals"]["forked"]
    assert (copied["license"], copied["forks"]) == (shared["license"], 2)


async def test_an_unknown_product_or_period_is_refused(reports: ProductReports, db: Connection) -> None:
    with pytest.raises(errors.NotFound, match="there is no product shop"):
        await printed(reports)
    await make_product(db)
    with pytest.raises(errors.BadInput, match="by the day of UTC"):
        await printed(reports, "24h")
