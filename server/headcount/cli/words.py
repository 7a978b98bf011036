"""How durations, seats and entitlements are written on the command line, and how they are shown again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import click

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(\d{1,12})([smhd]?)")
_NUMBER = re.compile(r"-?\d{1,18}")


NONE = -1
"""Stands for `none` until it is handed on: None is what was not given."""


def duration(text: str) -> int:
    """Seconds, from `30s`, `5m`, `12h`, `1d`, or a number of seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration such as 30s, 5m, 12h or 1d")
    return int(found[1]) * UNITS[found[2] or "s"]


def seats(text: str) -> int:
    """A number, or `none`."""
    if text == "none":
        return NONE
    if not text.isdecimal() or len(text) > 18:
        raise click.BadParameter(f"{text!r} is neither a number nor none")
    return int(text)


def entitlements(given: Iterable[str]) -> dict[str, bool | int | str]:
    """`sso` and `sso=true` are true, `projects=50` is a number, everything else a text. An empty one is none."""
    found: dict[str, bool | int | str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if one:
            found[name] = _value(text) if equals else True
    return found


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the API would have them."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, tuple):
            if value:
                found[name] = entitlements(value) if name == "entitlements" else [one for one in value if one]
        elif value is not None:
            found[name] = None if name == "seats" and value == NONE else value
    return found


def lasting(seconds: int) -> str:
    """The same as it may be written, in the largest unit that is exact."""
    for unit, size in UNITS.items():
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def plain(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, dict):
        return ", ".join(name if one is True else f"{name}={_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def day(moment: str | None) -> str:
    """A moment of an answer to the minute, in UTC."""
    return "never" if moment is None else f"{moment[:16].replace('T', ' ')} UTC"


def _value(text: str) -> bool | int | str:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if _NUMBER.fullmatch(text) else text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
