"""What a check is answered: decided from what is known, without a look anywhere.

A license is good until it ends, and for the plan's grace after that. Then the install needs a seat, unless its
environment does not count. Times are Unix seconds.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from headcount.licensed import PRODUCTION, License, Plan, Standing, Status

GOOD = (Status.ACTIVE, Status.GRACE)
"""Answers with which software may run."""
BAD = {Standing.SUSPENDED: Status.SUSPENDED, Standing.REVOKED: Status.REVOKED}


class Seat(Enum):
    """Whether an install has a seat."""

    HELD = 1
    FULL = 2
    """It has none, and all are taken."""
    UNSURE = 3
    """Nobody can tell: Postgres does not answer."""


class Verdict(NamedTuple):
    """The answer's decision, and until when it holds."""

    status: Status
    conclusive: bool
    valid_until: int
    grace_until: int


def standing(license: License, plan: Plan, now: int) -> Status:
    """What the license itself is worth, seats aside."""
    return status(license.standing, license.expires_at, plan.grace, now)


def status(standing: Standing, expires_at: int | None, grace: int, now: int) -> Status:
    """What a license is worth that stands so, ends then and has so many seconds of grace."""
    if standing in BAD:
        return BAD[standing]
    if expires_at is None or now < expires_at:
        return Status.ACTIVE
    return Status.GRACE if now < expires_at + grace else Status.EXPIRED


def needs_seat(plan: Plan, environment: str) -> bool:
    """Whether an install of this environment takes a seat and is counted."""
    return environment == PRODUCTION or environment not in plan.environments


def limit(license: License, plan: Plan) -> int | None:
    """Seats of the license; None: no limit."""
    return plan.seats if license.seats is None else license.seats


def judge(license: License, plan: Plan, seat: Seat, now: int) -> Verdict:
    """The verdict on an install of this license. An install that needs no seat counts as holding one."""
    worth = standing(license, plan, now)
    if worth not in GOOD:
        return refusal(worth, now)
    if seat is Seat.FULL:
        return refusal(Status.OVER_SEATS, now)
    end = None if license.expires_at is None else license.expires_at + plan.grace
    if seat is Seat.UNSURE:
        until = _earlier(now + plan.grace, end)
        return Verdict(worth, False, until, until)
    if worth is Status.GRACE:
        assert end is not None  # noqa: S101 - only a license that ends has a grace
        return Verdict(worth, True, min(now + plan.lease, end), end)
    valid = _earlier(now + plan.lease, license.expires_at)
    return Verdict(worth, True, valid, valid + plan.grace)


def refusal(status: Status, now: int) -> Verdict:
    """A no, which holds for the moment it is said."""
    return Verdict(status, True, now, now)


def _earlier(one: int, other: int | None) -> int:
    return one if other is None else min(one, other)
