"""Seats and states against a plain model: whatever happens in whatever order, both say the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headcount.licensing.transitions import Act
from headcount.wire import license as wire
from vendor import PLAN, Vendor

if TYPE_CHECKING:
    from conftest import Connection

HOUR = 3600.0
INTERVAL, LEASE = PLAN["check_interval"], PLAN["lease"]


@dataclass
class Install:
    seat: bool
    heard: float
    """Seconds of uptime."""
    staging: bool


@dataclass
class Model:
    """What the documentation says, in the shortest way."""

    seats: int = 2
    suspended: bool = False
    uptime: float = 0
    installs: dict[int, Install] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(one.seat for one in self.installs.values())

    def check(self, number: int, staging: bool) -> str:
        one = self.installs.setdefault(number, Install(False, self.uptime, staging))
        one.heard, one.staging = self.uptime, staging
        if self.suspended:
            return "suspended"
        if not staging and not one.seat:
            if self.used >= self.seats:
                return "over_seats"
            one.seat = True
        return "active"

    def free_silent(self) -> None:
        for one in self.installs.values():
            if self.uptime - one.heard > LEASE or one.staging:
                one.seat = False

    def state(self, number: int) -> str:
        silence = self.uptime - self.installs[number].heard
        if silence <= INTERVAL:
            return "active"
        if silence <= 3 * INTERVAL:
            return "late"
        return "silent" if silence <= LEASE else "lapsed"

    def counted(self) -> int:
        return sum(
            one.seat and not one.staging and self.state(number) in ("active", "late")
            for number, one in self.installs.items()
        )


steps = st.one_of(
    st.tuples(st.just("check"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("check"), st.integers(1, 4), st.just(False)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0, 50.0, 168.0]), st.just(False)),
    st.tuples(st.just("outage"), st.sampled_from([5.0, 1000.0]), st.just(False)),
    st.tuples(st.just("release"), st.integers(1, 4), st.just(False)),
    st.tuples(st.just("seats"), st.integers(0, 3), st.just(False)),
    st.tuples(st.just("suspend"), st.just(0), st.booleans()),
)


@pytest.mark.timeout(120)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(steps, max_size=14))
async def test_seats_and_states_follow_the_model(
    vendor: Vendor, db: Connection, history: list[tuple[str, float, bool]]
) -> None:
    model = Model()
    key, found = await vendor.licenses.issue("acme", "team", wire.Fields(seats=2))
    await vendor.settle()
    for what, number, flag in history:
        if what == "check":
            environment = "staging" if flag else "production"
            answer = await vendor.check(key, f"install-{number}", environment=environment)
            await vendor.drain()
            assert answer["status"] == model.check(int(number), flag)
        elif what == "wait":
            await vendor.pass_by(hours=number)
            await vendor.free_silent()
            model.uptime += number * HOUR
            model.free_silent()
        elif what == "outage":
            vendor.step(timedelta(hours=number))
            await vendor.jobs.tick()
            await vendor.free_silent()
            model.free_silent()
        elif what == "release" and number in model.installs:
            await vendor.post("release", {"key": key, "instance": f"install-{number}"})
            model.installs[int(number)].seat = False
        elif what == "seats":
            await vendor.licenses.set(found.id, wire.Change(seats=int(number)))
            model.seats = int(number)
        elif what == "suspend" and flag != model.suspended:
            await vendor.licenses.act(found.id, Act.SUSPEND if flag else Act.REINSTATE)
            model.suspended = flag
        await vendor.settle()
        await agrees(db, found.id, model)


async def agrees(db: Connection, license: int, model: Model) -> None:
    used = await db.fetchval("select used from license where id = $1", license)
    rows = await db.fetch("select seat, state, counts from install where license_id = $1", license)
    states = sorted((one.seat, model.state(number)) for number, one in model.installs.items())
    assert used == model.used
    assert sorted((row["seat"], row["state"]) for row in rows) == states
    assert sum(row["counts"] for row in rows) == model.counted()
