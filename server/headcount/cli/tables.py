"""Licenses and installs as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headcount.cli import session, words
from headcount.clock import Clock
from headcount.licensed import Instance
from headcount.store.issued import License
from headcount.web import licenses

SHORT = 16
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
        ["id", "product", "plan", "status", "seats taken", "ends", "customer"],
        [
            (
                one.id,
                one.product,
                one.plan,
                described["status"],
                _seats(one),
                words.day(described["expires_at"]),
                one.customer_ref,
            )
            for one, described in rows
        ],
    )


def print_installs(found: Sequence[Instance]) -> None:
    session.print_table(
        ["install", "state", "seat", "version", "country", "environment", "last seen", "license file until"],
        [_install(one) for one in found],
    )


def _install(found: Instance) -> tuple[str | None, ...]:
    described = licenses.instance_shown(found)
    until = described["offline_until"]
    return (
        described["instance"][:SHORT],
        found.state,
        "yes" if found.seat else "no",
        found.version,
        found.country,
        found.environment,
        words.day(described["last_seen"]),
        None if until is None else words.day(until),
    )


def _seats(found: License) -> str:
    return f"{found.used} of {'any number' if found.seats_limit is None else found.seats_limit}"
