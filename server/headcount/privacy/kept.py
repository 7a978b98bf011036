"""What is kept for a license key, said to whoever holds it: each field with its purpose and retention."""

from __future__ import annotations

from typing import Any

from headcount.privacy.inventory import ENTRIES, Place

TABLES = {"license": "license", "instances": "instance", "heartbeats": "heartbeat", "sharing": "sharing"}
"""Part of an export, and the table it comes from."""
_TITLES = {
    "license": "The license",
    "instances": "Installs",
    "heartbeats": "Heartbeats",
    "sharing": "Signs that the key is passed around, a day",
}


def reasons() -> dict[str, dict[str, dict[str, str]]]:
    """Purpose and retention of each field, by part."""
    return {
        part: {
            entry.field: {"purpose": entry.purpose, "kept": entry.retention}
            for entry in ENTRIES
            if entry.place is Place.POSTGRES and entry.record == table
        }
        for part, table in TABLES.items()
    }


def as_text(found: dict[str, Any]) -> str:
    """An export as a page for people."""
    lines = ["This is everything that Headcount keeps for this license key.", ""]
    for part, fields in reasons().items():
        rows = [found[part]] if part == "license" else found[part]
        lines += [f"{_TITLES[part]}: {len(rows)}", ""]
        for row in rows[:1]:  # the first with its reasons, the others as they are
            lines += [
                f"  {name} = {_shown(value)}\n      {_why(fields[name])}" for name, value in row.items()
            ]
        lines += [
            "  " + ", ".join(f"{name} = {_shown(value)}" for name, value in row.items()) for row in rows[1:]
        ]
        lines.append("")
    return "\n".join(lines)


def _why(field: dict[str, str]) -> str:
    return f"{field['purpose']} Kept {field['kept']}."


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else str(value)
