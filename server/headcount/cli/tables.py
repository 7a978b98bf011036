"""Licenses and installs as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headcount.cli import session, words
from headcount.clock import Clock
from headcount.licensed import Instance
from headcount.store.issued import License
from headcount.web import licenses

SHORT = 12
"""Digits of an install's digest that are shown; `license release` takes as many."""
_CUSTOMER = ("customer_ref", "customer_name", "customer_email")


def shown(found: License) -> dict[str, Any]:
    """A license as the API shows it now."""
    return licenses.shown(found, Clock().now())


def print_license(found: License, as_json: bool) -> None:
    described = shown(found)
    if as_json:
        session.print_json(described)
        return
    named = [(name.replace("_", " "), described[name]) for name in _CUSTOMER if described.get(name)]
    session.print_table(
        [],
        [
            ("id", found.id),
            ("product", found.product),
            ("plan", found.plan),
            ("status", described["status"]),
            ("seats taken", _seats(found)),
            ("ends", words.day(described["expires_at"])),
            *named,
            ("issued", words.day(described["created_at"])),
        ],
    )


def print_licenses(found: Sequence[License]) -> None:
    rows = [(one, shown(one)) for one in found]
    session.print_table(
        ["id", "product", "plan", "status", "seats", "ends", "customer"],
        [
            (
                one.id,
                one.product,
                one.plan,
                described["status"],
                _seats(one),
                words.day(described["expires_at"])[:10],
                one.customer_ref,
            )
            for one, described in rows
        ],
    )


def print_installs(found: Sequence[Instance]) -> None:
    columns = ["install", "state", "seat", "version", "country", "environment", "last seen (UTC)"]
    # Eighty columns are not enough for this one too, and most vendors have no license files.
    offline = any(one.offline_until is not None for one in found)
    session.print_table(
        [*columns, "file until"] if offline else columns,
        [(*_install(one), *([_offline(one)] if offline else [])) for one in found],
    )


def _install(found: Instance) -> tuple[str, ...]:
    described = licenses.instance_shown(found)
    return (
        described["instance"][:SHORT],
        found.state,
        "yes" if found.seat else "no",
        found.version,
        found.country,
        found.environment,
        words.day(described["last_seen"])[:16],
    )


def _offline(found: Instance) -> str | None:
    until = licenses.instance_shown(found)["offline_until"]
    return None if until is None else words.day(until)[:10]


def _seats(found: License) -> str:
    return f"{found.used} of {'any number' if found.seats_limit is None else found.seats_limit}"
