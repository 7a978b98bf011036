"""Date ranges and time buckets in the site's zone. Ranges end with today.

A local day has 23, 24 or 25 hours. Of an hour that occurs twice in autumn both labels carry their offset, an
hour that spring leaves out has none, and in half-hour zones an hour begins at :30 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from headcount import errors, localtime
from headcount.stats.question import MAX_ROWS, DateRange

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The local days from `first` to `last`, or a window within them."""

    zone: str
    first: date
    last: date
    window: tuple[datetime, datetime] | None = None
    """From the one moment to before the other, in whole minutes UTC; None: the whole days."""

    @property
    def start(self) -> datetime:
        """The first moment, in UTC."""
        return self.window[0] if self.window else localtime.day_start(self.zone, self.first)

    @property
    def end(self) -> datetime:
        """The moment at which it is over, in UTC."""
        return self.window[1] if self.window else localtime.day_end(self.zone, self.last)

    def echo(self) -> list[str]:
        """Its first and last second with the site's offset."""
        zone = ZoneInfo(self.zone)
        return [moment.astimezone(zone).isoformat() for moment in (self.start, self.end - SECOND)]


def resolve(asked: DateRange, zone: str, now: datetime, first_day: date | None) -> Period:
    """The period that is meant. `first_day` is the first day with counts, for "all"."""
    today = localtime.today(zone, now)
    if asked == "24h":
        return _window(zone, _minute(now) - 24 * HOUR, _minute(now) + MINUTE)
    if isinstance(asked, str):
        return Period(zone, min(today, _first(asked, today, first_day)), today)
    first, last = asked
    if isinstance(first, datetime) and isinstance(last, datetime):
        end = min(_minute(last + SECOND), localtime.day_end(zone, today))
        _refuse_future(first.astimezone(ZoneInfo(zone)).date(), today, zone)
        return _window(zone, _minute(first), max(end, _minute(first) + MINUTE))
    _refuse_future(first, today, zone)
    return Period(zone, first, min(last, today))


def widened(period: Period) -> Period:
    """The same, begun with the local hour in which it begins."""
    return replace(period, window=(hour_start(period.zone, period.start), period.end))


def whole_hours(period: Period, now: datetime) -> bool:
    """Whether no local hour is cut in two, but for the one that is not over yet."""
    starts = hour_start(period.zone, period.start) == period.start
    return starts and (period.end > now or hour_start(period.zone, period.end) == period.end)


def interval(period: Period) -> str:
    """The time dimension that `time` stands for; the bounds are Plausible's."""
    length = period.end - SECOND - period.start
    if length // HOUR <= 48:
        return "time:hour"
    if length // DAY <= 40:
        return "time:day"
    return "time:week" if length // (7 * DAY) <= 52 else "time:month"


def check_buckets(period: Period, time: str) -> None:
    """Raise BadInput if the range has more buckets of this time dimension than an answer has rows."""
    length = period.end - period.start
    number = length // {"time:hour": HOUR, "time:day": DAY}.get(time, 7 * DAY)
    if number > MAX_ROWS:
        raise errors.BadInput(
            "date_range", f"has {number} buckets of {time}; an answer has at most {MAX_ROWS}"
        )


def labels(period: Period, time: str) -> list[str]:
    """The label of each bucket, in order, empty ones included."""
    if time == "time:hour":
        return _hours(period)
    begins = bucket(period, time)
    return list(dict.fromkeys(begins(day).isoformat() for day in days(period.first, period.last)))


def days(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last."""
    return (first + number * DAY for number in range((last - first) // DAY + 1))


def bucket(period: Period, time: str) -> Callable[[date], date]:
    """What gives the beginning of the day, week or month that a day falls into, which is its label.

    A week begins on its Monday, or with the range if that is later; a month on its first.
    """
    if time == "time:week":
        return lambda day: max(day - day.weekday() * DAY, period.first)
    if time == "time:month":
        return lambda day: day.replace(day=1)
    return lambda day: day


def hour_label(zone: str, moment: datetime) -> str:
    """The local hour as Plausible writes it, with the offset if the clock shows that hour twice."""
    local = moment.astimezone(ZoneInfo(zone)).replace(minute=0, second=0, microsecond=0)
    text = local.strftime("%Y-%m-%d %H:%M:%S")
    if any(_twice(local.replace(minute=minute)) for minute in (0, 59)):
        return text + local.isoformat()[19:]
    return text


def hour_start(zone: str, moment: datetime) -> datetime:
    """The moment at which the local hour began, as the door counts it."""
    return datetime.fromtimestamp(localtime.local_hour(zone, int(moment.timestamp()) * 1000).hour, UTC)


def _first(word: str, today: date, first_day: date | None) -> date:
    if word == "all":
        return first_day or today
    if word == "year":
        return today.replace(month=1, day=1)
    if word in ("month", "6mo", "12mo"):
        months = today.year * 12 + today.month - {"month": 1, "6mo": 6, "12mo": 12}[word]
        return date(months // 12, months % 12 + 1, 1)
    return today - {"day": 0, "7d": 6, "28d": 27, "30d": 29, "91d": 90}[word] * DAY


def _window(zone: str, start: datetime, end: datetime) -> Period:
    zone_info = ZoneInfo(zone)
    days = Period(zone, start.astimezone(zone_info).date(), (end - SECOND).astimezone(zone_info).date())
    return days if (days.start, days.end) == (start, end) else replace(days, window=(start, end))


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _hours(period: Period) -> list[str]:
    zone = ZoneInfo(period.zone)
    moment, found = period.start, dict[str, None]()
    while moment < period.end:
        found[hour_label(period.zone, moment)] = None
        local = moment.astimezone(zone)
        moment += HOUR - timedelta(minutes=local.minute, seconds=local.second)
    return list(found)


def _twice(local: datetime) -> bool:
    before, after = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return before is not None and after is not None and before > after  # less: the clock skips it


def _refuse_future(first: date, today: date, zone: str) -> None:
    if first > today:
        raise errors.BadInput("date_range", f"begins after today, which is {today} in {zone}")
