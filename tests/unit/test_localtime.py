"""Local days and hours: 23- and 25-hour days, half-hour zones, midnights that do not exist."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import localtime

ZONES = [
    "Etc/UTC",
    "Europe/Riga",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
]
moments = st.integers(1_577_836_800, 2_051_222_400).map(lambda second: datetime.fromtimestamp(second, UTC))
"""Any second from 2020 to 2034."""


def hours_of(zone: str, day: date) -> list[int]:
    start, end = localtime.day_start(zone, day), localtime.day_end(zone, day)
    steps = range(int((end - start).total_seconds()) // 900)
    moments = [round((start + step * timedelta(minutes=15)).timestamp() * 1000) for step in steps]
    return sorted({localtime.local_hour(zone, at).hour for at in moments})


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Riga", date(2026, 3, 29), 23),
        ("Europe/Riga", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Asia/Kolkata", date(2026, 3, 29), 24),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # the clock jumps at midnight: the day begins at one
    ],
)
def test_a_day_has_as_many_hours_as_it_has(zone: str, day: date, hours: int) -> None:
    assert len(hours_of(zone, day)) == hours


def test_hours_of_a_half_hour_zone_begin_at_the_half_hour() -> None:
    assert {hour % 3600 for hour in hours_of("Asia/Kolkata", date(2026, 3, 10))} == {1800}


@given(moments, st.sampled_from(ZONES))
def test_the_day_is_the_one_on_the_local_calendar(moment: datetime, zone: str) -> None:
    found = localtime.local_hour(zone, round(moment.timestamp() * 1000))
    local = moment.astimezone(ZoneInfo(zone))
    assert found.day == local.date() == localtime.today(zone, moment)


@given(moments, st.sampled_from(ZONES))
def test_an_hour_began_less_than_an_hour_and_a_half_ago(moment: datetime, zone: str) -> None:
    at = round(moment.timestamp() * 1000)
    assert 0 <= at / 1000 - localtime.local_hour(zone, at).hour < 5400


@given(moments, st.sampled_from(ZONES))
def test_every_moment_lies_within_its_day(moment: datetime, zone: str) -> None:
    day = localtime.today(zone, moment)
    assert localtime.day_start(zone, day) <= moment < localtime.day_end(zone, day)
