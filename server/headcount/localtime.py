"""Local days and hours of IANA time zones: 23- and 25-hour days and half-hour zones included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

QUARTER = 900_000
"""Milliseconds; every offset and every change of offset in use today falls on a quarter of an hour."""


class LocalHour(NamedTuple):
    """A local day and hour; `hour` is the Unix second at which that hour began."""

    day: date
    hour: int


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names that a site's time zone may have."""
    return frozenset(available_timezones())


def local_hour(zone: str, milliseconds: int) -> LocalHour:
    """The local day and hour in `zone` at a moment in milliseconds since 1970."""
    return _quarter(zone, milliseconds // QUARTER)


@lru_cache(maxsize=4096)
def _quarter(zone: str, quarter: int) -> LocalHour:
    local = datetime.fromtimestamp(quarter * QUARTER / 1000, ZoneInfo(zone))
    return LocalHour(local.date(), int(local.replace(minute=0, second=0, microsecond=0).timestamp()))


def day_start(zone: str, day: date) -> datetime:
    """The moment at which the local day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@lru_cache(maxsize=4096)
def day_end(zone: str, day: date) -> datetime:
    """The moment at which the local day has ended, in UTC."""
    return day_start(zone, day + timedelta(days=1))


def today(zone: str, now: datetime) -> date:
    """The local day in `zone` at `now`."""
    return now.astimezone(ZoneInfo(zone)).date()
