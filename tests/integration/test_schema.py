"""The schema, the named queries and the inventory tell the same story."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import headcount
from headcount.privacy import inventory
from headcount.store import queries

PACKAGE = Path(headcount.__file__).parent


async def test_every_column_is_listed_and_says_the_same_purpose(db: Any) -> None:
    rows = await db.fetch(
        """
        select c.relname as record, a.attname as field, col_description(c.oid, a.attnum) as purpose
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
            and a.attnum > 0 and not a.attisdropped
        """
    )
    stored = {(row["record"], row["field"]): row["purpose"] for row in rows}
    assert stored == {
        (entry.record, entry.field): entry.purpose
        for entry in inventory.ENTRIES
        if entry.place is inventory.Place.POSTGRES
    }


@pytest.mark.parametrize("name", sorted(queries.load()))
async def test_a_named_query_fits_the_schema(db: Any, name: str) -> None:
    for stage in ("stage_counts", "stage_hours", "stage_visits"):
        await db.execute(queries.load()[stage])
    await db.prepare(queries.load()[name])


def test_every_named_query_is_used() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    made = {
        f"delete_site_{what}"
        for what in ("counters", "months", "hours", "dropped", "hits", "visits", "purges", "audits")
    }
    assert [name for name in queries.load() if f'"{name}"' not in source and name not in made] == []


@pytest.mark.parametrize("name", sorted(queries.load()))
def test_a_named_query_says_what_it_is_for(name: str) -> None:
    assert re.match(r"-- [A-Z].*[.]\n", queries.load()[name])
