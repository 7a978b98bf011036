"""What a check is answered, as a table."""

from __future__ import annotations

import pytest

from headcount.licensed import License, Plan, Standing, Status
from headcount.licensing import judge
from headcount.licensing.judge import Seat

NOW = 1_000_000
PLAN = Plan(id=1, name="team", seats=5, check_interval=100, lease=1000, grace=500)


def license(
    standing: Standing = Standing.ACTIVE, expires_at: int | None = None, seats: int | None = None
) -> License:
    return License(
        id=1, product=1, digest=b"", plan=1, standing=standing, seats=seats, expires_at=expires_at, used=0
    )


@pytest.mark.parametrize(
    ("standing", "expires_at", "seat", "status", "valid", "grace"),
    [
        (Standing.ACTIVE, None, Seat.HELD, "active", 1000, 1500),
        (Standing.ACTIVE, NOW + 1, Seat.HELD, "active", 1, 501),
        (Standing.ACTIVE, NOW + 5000, Seat.HELD, "active", 1000, 1500),
        (Standing.ACTIVE, NOW, Seat.HELD, "grace", 500, 500),
        (Standing.ACTIVE, NOW - 499, Seat.HELD, "grace", 1, 1),
        (Standing.ACTIVE, NOW - 500, Seat.HELD, "expired", 0, 0),
        (Standing.SUSPENDED, None, Seat.HELD, "suspended", 0, 0),
        (Standing.REVOKED, NOW - 9999, Seat.HELD, "revoked", 0, 0),
        (Standing.ACTIVE, None, Seat.FULL, "over_seats", 0, 0),
        (Standing.ACTIVE, NOW - 1, Seat.FULL, "over_seats", 0, 0),
        (Standing.ACTIVE, NOW - 500, Seat.FULL, "expired", 0, 0),
    ],
)
def test_a_verdict_names_the_status_and_until_when_it_holds(
    standing: Standing, expires_at: int | None, seat: Seat, status: str, valid: int, grace: int
) -> None:
    verdict = judge.judge(license(standing, expires_at), PLAN, seat, NOW)
    assert verdict == (Status(status), True, NOW + valid, NOW + grace)


@pytest.mark.parametrize(("expires_at", "until"), [(None, 500), (NOW + 100, 500), (NOW - 400, 100)])
def test_without_postgres_a_new_install_may_run_until_the_grace_of_the_plan(
    expires_at: int | None, until: int
) -> None:
    verdict = judge.judge(license(expires_at=expires_at), PLAN, Seat.UNSURE, NOW)
    assert verdict[1:] == (False, NOW + until, NOW + until)
    assert verdict.status in judge.GOOD


@pytest.mark.parametrize(
    ("environment", "needs"), [("production", True), ("staging", False), ("other", True), ("demo", True)]
)
def test_environments_of_the_plan_need_no_seat(environment: str, needs: bool) -> None:
    assert judge.needs_seat(PLAN, environment) is needs


def test_production_always_needs_a_seat() -> None:
    assert judge.needs_seat(Plan(id=1, name="odd", environments=("production",)), "production")


@pytest.mark.parametrize(("own", "limit"), [(None, 5), (7, 7), (0, 0)])
def test_a_license_may_have_seats_of_its_own(own: int | None, limit: int) -> None:
    assert judge.limit(license(seats=own), PLAN) == limit
