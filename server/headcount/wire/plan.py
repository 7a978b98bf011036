"""Products and their plans as the API and the command line give them, checked field by field."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors
from headcount.licensed import DAY, PRODUCTION, Plan
from headcount.wire import check, fields
from headcount.wire.schema import fits, says, text

MAX_SEATS = 1_000_000
MAX_ENTITLEMENTS = 100
MAX_TEXT = 200
MAX_NUMBER = (1 << 53) - 1
"""What JavaScript holds exactly (RFC 8259, 6)."""
MAX_ENVIRONMENTS = 20
CHECKS_IN_LEASE = 3
"""An install that missed one or two checks has not gone."""
MIN_INTERVAL, MAX_INTERVAL = 10, 30 * DAY
MIN_LEASE, MAX_LEASE = CHECKS_IN_LEASE * MIN_INTERVAL, 365 * DAY
MAX_GRACE = 365 * DAY
_ENTITLEMENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENVIRONMENT = re.compile(r"[a-z0-9._-]{1,32}")

Name = Annotated[str, says(pattern=fits(check.PRODUCT))]
Seats = Annotated[int, says(minimum=0, maximum=MAX_SEATS)]
Entitlements = Annotated[
    dict[
        Annotated[str, says(pattern=fits(_ENTITLEMENT))],
        bool
        | Annotated[int, says(minimum=-MAX_NUMBER, maximum=MAX_NUMBER)]
        | Annotated[str, says(**text(0, MAX_TEXT))],
    ],
    says(maxProperties=MAX_ENTITLEMENTS),
]
Environments = Annotated[
    tuple[Annotated[str, says(pattern=fits(_ENVIRONMENT), **{"not": {"const": PRODUCTION}})], ...],
    says(maxItems=MAX_ENVIRONMENTS),
]


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given of a plan; what is left out stays as it is. Durations in seconds."""

    product: Name | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    seats: Seats | UnsetType | None = UNSET
    entitlements: Entitlements | UnsetType = UNSET
    check_interval: Annotated[int, says(minimum=MIN_INTERVAL, maximum=MAX_INTERVAL)] | UnsetType = UNSET
    lease: Annotated[int, says(minimum=MIN_LEASE, maximum=MAX_LEASE)] | UnsetType = UNSET
    grace: Annotated[int, says(minimum=0, maximum=MAX_GRACE)] | UnsetType = UNSET
    environments: Environments | UnsetType = UNSET


def name(field: str, value: str | UnsetType) -> str:
    """The name of a product or a plan. Raises BadInput."""
    if value is UNSET:
        raise errors.BadInput(field, "is required")
    if not check.PRODUCT.fullmatch(value):
        raise errors.BadInput(
            field, "has 1 to 63 of the characters a-z 0-9 . _ -, and begins with a letter or digit"
        )
    return value


def merge(plan: Plan, given: Fields) -> Plan:
    """The plan with these fields, checked as a whole. Raises BadInput that names the field and its limit."""
    changes = {field: value for field, value in fields.given(given).items() if field != "product"}
    new = msgspec.structs.replace(plan, **changes)
    name("name", new.name)
    if new.seats is not None and not 0 <= new.seats <= MAX_SEATS:
        raise errors.BadInput("seats", f"must be from 0 to {MAX_SEATS}, or null for no limit")
    _check_durations(new)
    _check_entitlements(new.entitlements)
    _check_environments(new.environments)
    return new


def _check_durations(plan: Plan) -> None:
    fields.between("check_interval", plan.check_interval, MIN_INTERVAL, MAX_INTERVAL, "seconds")
    least = CHECKS_IN_LEASE * plan.check_interval
    if plan.lease < least:
        raise errors.BadInput(
            "lease", f"must be at least {CHECKS_IN_LEASE} times check_interval: {least} seconds"
        )
    fields.between("lease", plan.lease, least, MAX_LEASE, "seconds")
    fields.between("grace", plan.grace, 0, MAX_GRACE, "seconds")


def _check_entitlements(entitlements: dict[str, bool | int | str]) -> None:
    if len(entitlements) > MAX_ENTITLEMENTS:
        raise errors.BadInput(
            "entitlements", f"has at most {MAX_ENTITLEMENTS} entries; this has {len(entitlements)}"
        )
    for entitlement, value in entitlements.items():
        if not _ENTITLEMENT.fullmatch(entitlement):
            raise errors.BadInput("entitlements", "has names of 1 to 64 letters, digits and . _ -")
        if isinstance(value, str):
            fields.text("entitlements", value, MAX_TEXT)
        else:
            fields.between("entitlements", value, -MAX_NUMBER, MAX_NUMBER)


def _check_environments(environments: tuple[str, ...]) -> None:
    if len(environments) > MAX_ENVIRONMENTS:
        raise errors.BadInput(
            "environments", f"has at most {MAX_ENVIRONMENTS} entries; this has {len(environments)}"
        )
    for environment in environments:
        if not _ENVIRONMENT.fullmatch(environment):
            raise errors.BadInput("environments", "has names of 1 to 32 of the characters a-z 0-9 . _ -")
        if environment == PRODUCTION:
            raise errors.BadInput("environments", "never has production: it always needs a seat")
