"""Products as the API and the command line give them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors

OVERLAP_DAYS = 30
"""How long retired keys stay in the key set, unless something else is said."""


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given of a new product."""

    name: str | UnsetType = UNSET
    customer_fields: bool = False
    plan: dict[str, Any] | UnsetType = UNSET
    """The fields of a first plan."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What may be changed of a product."""

    customer_fields: bool | UnsetType = UNSET


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """How new keys take the place of the old ones."""

    overlap_days: int = OVERLAP_DAYS
    now: bool = False
    """The old ones leave the key set at once: after a theft."""


def customer_fields(given: Change) -> bool:
    """The one thing that can be changed. Raises BadInput if it is not given."""
    if given.customer_fields is UNSET:
        raise errors.BadInput("customer_fields", "is required: true or false")
    return given.customer_fields
