"""What the management API and the command line give: a struct of fields that may be left out, checked one by one."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from headcount import errors
from headcount.wire import json

T = TypeVar("T", bound=msgspec.Struct)


def read(kind: type[T], given: Any) -> T:
    """The fields of a mapping, each of its type. Raises BadInput that names the field."""
    if not isinstance(given, dict):
        raise errors.BadInput("body", "must be a JSON object")
    described = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    unknown = sorted(given.keys() - described.keys())
    if unknown:
        raise errors.BadInput(str(unknown[0])[:100], f"there is only {', '.join(described)}")
    checked = {}
    for name, value in given.items():
        try:
            checked[described[name].name] = msgspec.convert(value, described[name].type)
        except msgspec.ValidationError as error:
            raise errors.BadInput(name, str(error)) from None
    return kind(**checked)


def given(fields: msgspec.Struct) -> dict[str, Any]:
    """The fields that were not left out."""
    return {name: value for name in fields.__struct_fields__ if (value := getattr(fields, name)) is not UNSET}


def text(field: str, value: str, most: int) -> str:
    """The text without blanks around it. Raises BadInput if it is longer than `most` or cannot be stored."""
    value = json.clean(field, value.strip())
    if len(value) > most:
        raise errors.BadInput(field, f"has at most {most} characters; this has {len(value)}")
    return value


def between(field: str, value: int, low: int, high: int, unit: str = "") -> int:
    """The number itself. Raises BadInput that names both limits."""
    if not low <= value <= high:
        raise errors.BadInput(
            field, f"must be from {low} to {high}{unit and f' {unit}'}; this is {str(value)[:30]}"
        )
    return value


def quoted(name: str) -> str:
    """A name that somebody gave, as an error may repeat it: cut, and without what steers a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name[:63])
