"""What `headcount stats` prints."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
from rich.console import Console

import make_rows
from headcount import errors
from headcount.cli import stats
from headcount.services.reports import Reports
from headcount.store.postgres import Database
from make_rows import TODAY, Hit, Visit

if TYPE_CHECKING:
    from make_rows import Connection

SITE = make_rows.site()


@pytest.fixture
async def reports(dsn: str) -> AsyncIterator[Reports]:
    database = Database(lambda: dsn)
    yield Reports(database, make_rows.StoppedClock(), 30)
    await database.close()


async def store(db: Connection) -> None:
    visits = [
        Visit(
            (Hit(page="/pricing"), Hit("Signup")),
            duration=75,
            attributes={"source": "Google", "country": "LV"},
        ),
        Visit((Hit(page="/"),), visitor=1, day=TODAY - timedelta(days=3), attributes={"browser": "Firefox"}),
        Visit((Hit(page="/[bold]\x1b[31m" + "long" * 50),), visitor=2),
    ]
    await make_rows.store(db, visits)
    await db.execute("insert into dropped values (1, $1, 'bot_tool', 4)", TODAY)


async def printed(reports: Reports, period: str = "7d", width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    await stats.show(reports, SITE, period, Console(file=file, width=width))
    file.flush()
    file.seek(0)
    return file.read()


async def test_figures_chart_and_tables_are_printed(reports: Reports, db: Connection) -> None:
    await store(db)
    text = await printed(reports)
    assert "example.com   2026-11-16 00:00 to 2026-11-22 23:59" in text
    assert [
        line.split() for line in text.splitlines() if line.startswith(("Visitors  ", "Visit duration"))
    ] == [
        ["Visitors", "3"],
        ["Visit", "duration", "25", "s"],
    ]
    for words in ("by time", "Pages", "/pricing", "Direct / None", "Latvia", "Firefox", "Signup", "bot_tool"):
        assert words in text
    assert "█" in text
    assert "sum of the daily visitors" in text


async def test_what_visitors_wrote_cannot_steer_the_terminal(reports: Reports, db: Connection) -> None:
    await store(db)
    text = await printed(reports)
    assert "\x1b" not in text
    assert "/[bold]?[31mlong" in text


@pytest.mark.parametrize("width", [30, 40, 80, 200])
@pytest.mark.parametrize("period", ["day", "24h", "30d", "12mo", "2026-11-20,2026-11-22"])
async def test_no_line_is_wider_than_the_terminal(
    reports: Reports, db: Connection, width: int, period: str
) -> None:
    await store(db)
    assert max(len(line) for line in (await printed(reports, period, width)).splitlines()) <= width


async def test_a_plain_terminal_gets_plain_text(reports: Reports, db: Connection) -> None:
    await store(db)
    text = await printed(reports, encoding="ascii")
    assert "#" in text
    assert text.isascii()


async def test_a_site_without_visits_has_figures_and_no_tables(reports: Reports) -> None:
    text = await printed(reports, "day")
    assert text.splitlines()[2].split() == ["Visitors", "0"]
    assert "Pages" not in text


async def test_json_holds_the_same(reports: Reports, db: Connection) -> None:
    await store(db)
    file = io.StringIO()
    await stats.show(reports, SITE, "7d", Console(file=file), as_json=True)
    found = orjson.loads(file.getvalue())
    assert found["figures"]["visitors"] == 3
    assert found["tables"]["Sources"] == [["Direct / None", 2], ["Google", 1]]
    assert found["tables"]["Events"] == [["Signup", 1]]
    assert found["ignored"] == [["bot_tool", 4]]
    assert len(found["chart"]) == 7


async def test_an_unknown_period_is_refused(reports: Reports) -> None:
    with pytest.raises(errors.BadInput, match="7d"):
        await printed(reports, "fortnight")
