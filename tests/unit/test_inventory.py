"""Nothing is stored that is not listed, and nothing is listed that is not stored."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from headcount import licensed, model, visits
from headcount.privacy import inventory
from headcount.privacy.inventory import Place
from headcount.store import figures, spool, state


def listed(place: Place, record: str) -> set[str]:
    return {entry.field for entry in inventory.ENTRIES if (entry.place, entry.record) == (place, record)}


def columns(path: Path) -> dict[str, set[str]]:
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        found = {table: {row[1] for row in db.execute(f"pragma table_info({table})")} for table in tables}
    db.close()
    return {table: names for table, names in found.items() if not table.startswith("sqlite_")}


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (Place.SPOOL, model.Hit),
        (Place.SPOOL, model.Dropped),
        (Place.STATE, visits.Visit),
        (Place.STATE, model.HitRow),
        (Place.STATE, model.VisitRow),
        (Place.STATE, model.CountRow),
        (Place.LOCAL, model.Site),
        (Place.LOCAL, model.Token),
        (Place.SPOOL, licensed.Heartbeat),
        (Place.STATE, licensed.HeartbeatRow),
        (Place.STATE, licensed.SharingRow),
        (Place.LOCAL, licensed.Product),
        (Place.LOCAL, licensed.SigningKey),
        (Place.LOCAL, licensed.Plan),
        (Place.LOCAL, licensed.Release),
        (Place.LOCAL, licensed.License),
        (Place.RAM, figures.Published),
        (Place.RAM, figures.Figures),
        (Place.RAM, figures.Progress),
    ],
)
def test_a_record_holds_exactly_the_fields_that_are_listed(place: Place, kind: type[msgspec.Struct]) -> None:
    assert set(kind.__struct_fields__) == listed(place, kind.__name__)


def test_the_state_file_has_exactly_the_columns_that_are_listed(tmp_path: Path) -> None:
    state.State(tmp_path / "state.db").close()
    assert columns(tmp_path / "state.db") == {
        record: listed(Place.STATE, record)
        for record in ("source", "position", "visit", "cell", "outbox", "redacted", "sharing")
    }


async def test_a_spool_has_exactly_the_columns_that_are_listed(tmp_path: Path) -> None:
    async with spool.Spool(tmp_path, 1 << 20, lambda: 0):
        pass
    (path,) = tmp_path.glob("*.db")
    assert columns(path) == {"batch": listed(Place.SPOOL, "batch")}


def test_every_entry_says_why_and_how_long() -> None:
    assert all(entry.purpose.endswith((".", "…")) and entry.retention for entry in inventory.ENTRIES)


def test_nothing_is_listed_twice() -> None:
    keys = [(entry.place, entry.record, entry.field) for entry in inventory.ENTRIES]
    assert len(keys) == len(set(keys))
