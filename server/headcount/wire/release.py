"""Releases as the API and the command line give them, checked field by field."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors
from headcount.licensed import Release
from headcount.licensing import versions
from headcount.wire import fields
from headcount.wire.schema import fits, says, text

MAX_RELEASES = 500
"""Of a product: all of them are in the local copy of every node."""
MAX_URL = MAX_NOTES = 500
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_URL = re.compile(r"https?://[^\s\"<>\\^`{|}]+")


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given of a release; what is left out is empty."""

    version: str | UnsetType = UNSET
    channel: Annotated[str, says(pattern=fits(_CHANNEL))] | UnsetType = UNSET
    url: Annotated[str, says(**text(0, MAX_URL, rf"^\s*(?:{_URL.pattern})?\s*$"))] | UnsetType = UNSET
    notes: Annotated[str, says(**text(0, MAX_NOTES))] | UnsetType = UNSET
    security: bool | UnsetType = UNSET
    minimum: str | UnsetType = UNSET
    plans: tuple[str, ...] | UnsetType = UNSET


def release(given: Fields) -> Release:
    """The release with these fields. Raises BadInput that names the field and its limit."""
    if given.version is UNSET:
        raise errors.BadInput("version", "is required")
    found = Release(**{**fields.given(given), "version": version("version", given.version)})
    url = fields.text("url", found.url, MAX_URL)
    if url and not _URL.fullmatch(url):
        raise errors.BadInput("url", "must be an address that begins with https:// or http://")
    return msgspec.structs.replace(
        found,
        channel=channel(found.channel),
        url=url,
        notes=fields.text("notes", found.notes, MAX_NOTES),
        minimum=version("minimum", found.minimum) if found.minimum else "",
        plans=tuple(dict.fromkeys(found.plans)),
    )


def version(field: str, text: str) -> str:
    """The version in its plain form. Raises BadInput."""
    plain = versions.version(text) if len(text) <= versions.MAX_LENGTH else ""
    if not plain:
        raise errors.BadInput(
            field,
            f"must be a version such as 2.4.1 or 2.5.0-beta.1, of at most {versions.MAX_LENGTH} characters",
        )
    return plain


def channel(text: str) -> str:
    """The name of a release channel. Raises BadInput."""
    if not _CHANNEL.fullmatch(text):
        raise errors.BadInput(
            "channel", "has 1 to 32 of the characters a-z 0-9 . _ -, and begins with a letter or digit"
        )
    return text
