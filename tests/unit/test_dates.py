"""Ranges end with today in the site's zone; buckets are local days and hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from headcount import errors
from headcount.stats import dates
from headcount.stats.dates import Period
from headcount.stats.question import DateRange

NOW = datetime(2026, 11, 22, 14, 20, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def resolve(asked: DateRange, zone: str = BERLIN, now: datetime = NOW) -> Period:
    return dates.resolve(asked, zone, now, first_day=date(2025, 3, 4))


def labels_of(day: str, zone: str, time: str = "time:hour") -> list[str]:
    return dates.labels(Period(zone, date.fromisoformat(day), date.fromisoformat(day)), time)


def between(first: str, last: str) -> Period:
    return Period(BERLIN, date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("day", "2026-11-22"),
        ("7d", "2026-11-16"),
        ("28d", "2026-10-26"),
        ("30d", "2026-10-24"),
        ("91d", "2026-08-24"),
        ("month", "2026-11-01"),
        ("6mo", "2026-06-01"),
        ("12mo", "2025-12-01"),
        ("year", "2026-01-01"),
        ("all", "2025-03-04"),
    ],
)
def test_a_named_range_ends_with_today(asked: str, first: str) -> None:
    assert resolve(asked) == between(first, "2026-11-22")


def test_months_reach_back_over_new_year() -> None:
    january = datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert resolve("6mo", now=january).first == date(2026, 8, 1)


def test_today_is_the_sites_today() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    assert resolve("day", zone="Asia/Kolkata", now=late).last == date(2026, 11, 23)
    assert resolve("day", zone="America/New_York", now=late).last == date(2026, 11, 22)


def test_all_of_a_site_without_counts_is_today() -> None:
    assert dates.resolve("all", BERLIN, NOW, None) == between("2026-11-22", "2026-11-22")


def test_24_hours_are_a_window_in_minutes() -> None:
    period = resolve("24h")
    assert period.window == (
        datetime(2026, 11, 21, 14, 20, tzinfo=UTC),
        datetime(2026, 11, 22, 14, 21, tzinfo=UTC),
    )
    assert (period.first, period.last) == (date(2026, 11, 21), date(2026, 11, 22))


def test_custom_dates_are_cut_at_today() -> None:
    assert resolve((date(2026, 11, 1), date(2027, 1, 1))) == between("2026-11-01", "2026-11-22")


def test_a_range_after_today_is_refused() -> None:
    with pytest.raises(errors.BadInput, match="after today, which is 2026-11-22"):
        resolve((date(2026, 11, 23), date(2026, 11, 24)))


def test_date_times_that_are_whole_days_are_days() -> None:
    asked = (
        datetime.fromisoformat("2026-10-25T00:00:00+02:00"),
        datetime.fromisoformat("2026-10-26T23:59:59+01:00"),
    )
    assert resolve(asked) == between("2026-10-25", "2026-10-26")


def test_what_is_echoed_is_understood_as_the_same_range() -> None:
    for asked in ("7d", "24h", "year"):
        first, last = resolve(asked).echo()
        assert resolve((datetime.fromisoformat(first), datetime.fromisoformat(last))) == resolve(asked)


def test_date_times_within_days_are_a_window() -> None:
    asked = (
        datetime.fromisoformat("2026-11-20T12:00:00+02:00"),
        datetime.fromisoformat("2026-11-20T15:59:59+02:00"),
    )
    period = resolve(asked)
    assert period.window == (datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 20, 14, tzinfo=UTC))
    assert dates.whole_hours(period, NOW)
    assert not dates.whole_hours(resolve((asked[0] + dates.MINUTE, asked[1])), NOW)


@pytest.mark.parametrize(
    ("first", "last", "time"),
    [
        ("2026-11-22", "2026-11-22", "time:hour"),
        ("2026-11-21", "2026-11-22", "time:hour"),
        ("2026-11-20", "2026-11-22", "time:day"),
        ("2026-10-14", "2026-11-22", "time:day"),
        ("2026-10-12", "2026-11-22", "time:week"),
        ("2025-12-01", "2026-11-22", "time:week"),
        ("2025-11-01", "2026-11-22", "time:month"),
    ],
)
def test_time_alone_picks_the_interval_as_plausible_does(first: str, last: str, time: str) -> None:
    assert dates.interval(between(first, last)) == time


def test_day_labels_are_dates() -> None:
    assert dates.labels(resolve("7d"), "time:day") == [f"2026-11-{day}" for day in range(16, 23)]


def test_weeks_are_labelled_by_monday_but_the_first_by_the_range() -> None:
    period = between("2026-11-05", "2026-11-22")
    assert dates.labels(period, "time:week") == ["2026-11-05", "2026-11-09", "2026-11-16"]


def test_months_are_labelled_by_their_first_day() -> None:
    assert dates.labels(resolve("91d"), "time:month") == [
        "2026-08-01",
        "2026-09-01",
        "2026-10-01",
        "2026-11-01",
    ]


def test_an_ordinary_day_has_24_hours() -> None:
    assert labels_of("2026-11-22", BERLIN) == [f"2026-11-22 {hour:02}:00:00" for hour in range(24)]


def test_the_hour_that_occurs_twice_carries_its_offset() -> None:
    found = labels_of("2026-10-25", BERLIN)
    assert len(found) == len(set(found)) == 25
    assert found[2:4] == ["2026-10-25 02:00:00+02:00", "2026-10-25 02:00:00+01:00"]


def test_the_hour_that_spring_leaves_out_has_no_label() -> None:
    found = labels_of("2026-03-29", BERLIN)
    assert len(found) == 23
    assert found[1:3] == ["2026-03-29 01:00:00", "2026-03-29 03:00:00"]


def test_a_day_may_begin_at_one_oclock() -> None:
    found = labels_of("2026-04-24", "Africa/Cairo")  # clocks go from 0:00 to 1:00
    assert len(found) == 23
    assert found[0] == "2026-04-24 01:00:00"


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham"])
def test_hours_of_zones_with_odd_offsets_are_round_on_the_local_clock(zone: str) -> None:
    found = labels_of("2026-07-01", zone)
    assert len(found) == 24
    assert all(label.endswith(":00:00") for label in found)


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/Havana", "Antarctica/Troll", BERLIN])
def test_every_hour_has_a_label_of_its_range_whatever_the_clock_does(zone: str) -> None:
    year = Period(zone, date(2025, 11, 23), date(2026, 11, 22))
    known, moment = set(dates.labels(year, "time:hour")), year.start
    while moment < year.end:
        assert dates.hour_label(zone, dates.hour_start(zone, moment)) in known
        moment += timedelta(minutes=15)


def test_24_hours_by_hour_begin_with_a_whole_hour() -> None:
    period = dates.widened(resolve("24h"))
    found = dates.labels(period, "time:hour")
    assert (found[0], found[-1], len(found)) == ("2026-11-21 15:00:00", "2026-11-22 15:00:00", 25)
    assert dates.whole_hours(period, NOW)


def test_too_many_buckets_are_refused() -> None:
    with pytest.raises(errors.BadInput, match="at most 10000"):
        dates.check_buckets(between("2020-01-01", "2026-11-22"), "time:hour")
