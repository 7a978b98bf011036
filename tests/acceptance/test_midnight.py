"""20,000 events of 2,000 people on three sites, across the midnight of each of their time zones.

It is the night in which Riga's clocks go back, so one of the days has 25 hours. The clock of the server stands
still while a minute's events are sent, so that what comes first is certain; then every counter is compared
with a count by brute force, and the answers of the stats API with both.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from acceptance.brute import ATTRIBUTES, Count, Expected
from acceptance.crowd import Crowd, Sent, Visitor, by_minute, others, people
from acceptance.server import Clock, Server, until
from headcount.store import embedded

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.timeout(240)

EVENTS, PEOPLE = 20_000, 2_000
START, MINUTES = datetime(2026, 10, 24, 18, tzinfo=UTC), 660
DAYS = [date(2026, 10, 24), date(2026, 10, 25)]
ZONES = {
    "riga.example": "Europe/Riga",
    "kolkata.example": "Asia/Kolkata",
    "york.example": "America/New_York",
}
MIDNIGHTS = {"riga.example": 180, "kolkata.example": 30, "york.example": 600}
"""Minutes after the start."""
DIMENSIONS = {
    **{f"visit:{name}": name for name in (*ATTRIBUTES, "entry_page", "exit_page")},
    **{f"event:{name}": name for name in ("page", "hostname", "name")},
    **{f"event:props:{name}": f"props:{name}" for name in ("plan", "url")},
}
UNSET = {"visit:source": "Direct / None", "visit:referrer": "Direct / None"}
METRICS = ["visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration", "events"]
FROM_RAW_ROWS = [["is_not", f"visit:{name}", ["none such"]] for name in ("browser", "os")]
"""Always true, and nothing that one counter could know."""


@dataclass
class Night:
    """What was sent, what it ought to come to, and the server that has it."""

    server: Server
    token: str
    expected: Expected

    async def rows(self, statement: str) -> list[asyncpg.Record]:
        """Rows of the server's own database."""
        connection = await asyncpg.connect(embedded.Embedded(self.server.data_dir).dsn())
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    async def ask(self, site: str, metrics: Sequence[str] = METRICS, **question: Any) -> dict[str, Any]:
        question = {"date_range": [str(day) for day in DAYS], **question}
        return await self.server.query(self.token, site, metrics, **question)


async def test_a_night_in_three_time_zones(place: Path, clock: Clock) -> None:
    """One test, because the night takes half a minute: what is compared has a name each below."""
    async with Server(place, clock, rate_limit="0", trusted_proxies="127.0.0.0/8") as server:
        await server.start()
        night = await spend(server, clock)
        await daily_counters_are_exact(night)
        await hourly_totals_are_exact(night)
        await raw_rows_are_complete(night)
        await what_was_not_counted_is_counted(night)
        for site in ZONES:
            await the_totals_of_each_day_are_right(night, site)
            await the_hours_are_right(night, site)
            await breakdowns_from_counters_and_from_raw_rows_agree(night, site)
            await the_command_line_says_the_same(night, site)
        await realtime_knows_the_last_minutes(night, clock)
        await server.stop()


async def spend(server: Server, clock: Clock) -> Night:
    """Let the crowd come and go, minute by minute."""
    for site, zone in ZONES.items():
        await server.add_site(site, timezone=zone, props="plan")
    token = await server.token("events:write", "stats:read")
    shares = zip(ZONES, (60, 25, 15), MIDNIGHTS.values(), strict=True)
    visitors = [*people(PEOPLE), *others(PEOPLE)]
    sent = Crowd(list(shares), START, MINUTES, seed=20261024).sends(visitors, EVENTS)
    assert (len(sent), len({event.visitor.number for event in sent})) == (EVENTS, len(visitors))

    night = Night(server, token, Expected([], ZONES))
    moments = by_minute(sent)
    for moment in sorted({*moments, *(START + timedelta(minutes=n) for n in range(MINUTES))}):
        clock.set(moment)
        answers = await asyncio.gather(*(post(server, token, *batch) for batch in batches(moments[moment])))
        assert {answer.status for answer in answers} <= {202}
        if (moment - START) // timedelta(minutes=1) - 3 in MIDNIGHTS.values():
            # Five minutes after midnight the day is closed; here they pass in less time than the events take
            # from the spool to the count.
            night.expected = Expected([event for event in sent if event.at <= moment], ZONES)
            await all_is_counted(night)
    night.expected = Expected(sent, ZONES)
    await all_is_counted(night)
    return night


def batches(events: Sequence[Sent]) -> Iterator[tuple[Visitor | None, list[Sent]]]:
    """The requests of one minute: browsers each send their own, servers send what they have in arrays.

    One visitor's events of a minute are within one request.
    """
    passed_on: list[Sent] = []
    for _, group in itertools.groupby(
        sorted(events, key=lambda event: event.visitor.number), key=lambda event: event.visitor.number
    ):
        own = list(group)
        if own[0].visitor.direct or own[0].visitor.ignored == "gpc":
            yield own[0].visitor, own
        else:
            passed_on += own
        if len(passed_on) > 20:
            yield None, passed_on
            passed_on = []
    if passed_on:
        yield None, passed_on


async def post(server: Server, token: str, sender: Visitor | None, events: Sequence[Sent]) -> Any:
    """By a browser behind a proxy, or by a server that has a token."""
    if sender is not None and sender.direct:
        address = sender.addresses[events[0].at.minute % len(sender.addresses)]
        bodies = [event.body() for event in events]
        headers = {"User-Agent": sender.agent, "X-Forwarded-For": f"192.0.2.1, {address}"}
        if sender.language:
            headers["Accept-Language"] = sender.language
    else:
        bodies = [
            {**event.body(), "ip": address_of(event), "user_agent": event.visitor.agent} for event in events
        ]
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": "xx"}
    if sender is not None and sender.ignored == "gpc":
        headers["Sec-GPC"] = "1"
    answer = await server.post(bodies[0] if len(bodies) == 1 else bodies, headers)
    refused = sum(bool(event.visitor.ignored) for event in events)
    assert answer.headers.get("x-plausible-dropped", "0") == str(refused)
    return answer


def address_of(event: Sent) -> str:
    return event.visitor.addresses[event.at.minute % len(event.visitor.addresses)]


async def all_is_counted(night: Night) -> None:
    """Wait for as many raw rows and refusals as there must be; what is in them is for others to say."""

    async def is_counted() -> bool:
        (row,) = await night.rows(
            "select (select count(*) from hit) as hits, (select coalesce(sum(count), 0) from dropped) as dropped"
        )
        return (row["hits"], row["dropped"]) == (night.expected.hits, night.expected.dropped.total())

    await until(is_counted)


async def daily_counters_are_exact(night: Night) -> None:
    rows = await night.rows(
        "select domain, day, dimension, value, visitors, visits, pageviews, events, bounces, duration, scroll,"
        " scroll_visits from counter join site on site.id = site_id"
    )
    found = {tuple(row)[:4]: tuple(row)[5:] for row in rows if any(tuple(row)[4:])}
    assert found == {key: count.numbers() for key, count in night.expected.days.items()}
    for row in rows:
        about_right(row["visitors"], night.expected.days.get(tuple(row)[:4], Count()))


async def hourly_totals_are_exact(night: Night) -> None:
    rows = await night.rows(
        "select domain, day, hour, visitors, visits, pageviews, events, bounces, duration"
        " from hour join site on site.id = site_id"
    )
    found = {tuple(row)[:3]: tuple(row)[4:] for row in rows}
    assert found == {key: count.numbers()[:5] for key, count in night.expected.hours.items()}
    for row in rows:
        about_right(row["visitors"], night.expected.hours[tuple(row)[:3]])


async def raw_rows_are_complete(night: Night) -> None:
    (row,) = await night.rows(
        "select count(*) as visits, sum(pageviews) as pageviews, sum(events) as events,"
        " count(*) filter (where bounce) as bounces, sum(duration) as duration from visit"
    )
    whole = [count.numbers()[:5] for key, count in night.expected.days.items() if key[2] == ""]
    assert tuple(row) == tuple(map(sum, zip(*whole, strict=True)))


async def what_was_not_counted_is_counted(night: Night) -> None:
    rows = await night.rows("select domain, day, reason, count from dropped join site on site.id = site_id")
    assert {tuple(row)[:3]: row["count"] for row in rows} == dict(night.expected.dropped)
    assert {"gpc", "bot_ai_crawler", "engagement_without_visit"} <= {row["reason"] for row in rows}


async def the_totals_of_each_day_are_right(night: Night, site: str) -> None:
    for day in DAYS:
        expected = night.expected.days[site, day, "", ""]
        answer = await night.ask(site, ["visitors", *METRICS], date_range=[str(day), str(day)])
        (visitors, *others_) = answer["results"][0]["metrics"]
        assert others_ == metrics(expected)
        about_right(visitors, expected)
        assert "metric_warnings" not in answer["meta"]


async def the_hours_are_right(night: Night, site: str) -> None:
    expected = {
        hour_label(site, hour): metrics(count)
        for (of, _, hour), count in night.expected.hours.items()
        if of == site
    }
    answers = [
        await night.ask(site, dimensions=["time:hour"], filters=filters) for filters in ([], FROM_RAW_ROWS)
    ]
    assert [answer["meta"]["counted_from"] for answer in answers] == ["hourly totals", "raw rows"]
    assert [by_value(answer) for answer in answers] == [expected, expected]


async def breakdowns_from_counters_and_from_raw_rows_agree(night: Night, site: str) -> None:
    for dimension, counted in DIMENSIONS.items():
        asked = [*METRICS, "scroll_depth"] if dimension == "event:page" else METRICS
        expected = {
            value or UNSET.get(dimension, "(not set)"): metrics(count, asked)
            for value, count in night.expected.total(site, counted, DAYS).items()
        }
        answers = [
            await night.ask(site, asked, dimensions=[dimension], filters=filters)
            for filters in ([], FROM_RAW_ROWS)
        ]
        assert [answer["meta"]["counted_from"] for answer in answers] == ["daily counters", "raw rows"]
        assert by_value(answers[0]) == expected, dimension
        assert by_value(answers[1]) == expected, dimension


async def the_command_line_says_the_same(night: Night, site: str) -> None:
    printed = await night.server.command("stats", site, "--period", f"{DAYS[0]},{DAYS[1]}", "--json")
    overview = json.loads(printed)
    whole = night.expected.total(site, "", DAYS)[""]
    dropped: dict[str, int] = {}
    for (of, _, reason), count in night.expected.dropped.items():
        if of == site:
            dropped[reason] = dropped.get(reason, 0) + count
    assert [overview["figures"][name] for name in METRICS[:-1]] == metrics(whole)[:-1]
    assert dict(overview["ignored"]) == dropped
    assert len(overview["warnings"]) == 1  # visitors of two days are a sum
    about_right(overview["figures"]["visitors"], whole)


async def realtime_knows_the_last_minutes(night: Night, clock: Clock) -> None:
    headers = {"Authorization": f"Bearer {night.token}"}
    url = f"{night.server.origin}/api/v2/realtime?site_id=riga.example"
    async with night.server.http.get(url, headers=headers) as answer:
        found = await answer.json()
    (row,) = await night.rows(
        "select count(*) from hit join site on site.id = site_id where domain = 'riga.example'"
        f" and name = 'pageview' and minute > timestamptz '{clock.now:%Y-%m-%d %H:%M}:00Z' - interval '30 minutes'"
    )
    assert len(found["pageviews"]) == 30
    assert sum(minute["pageviews"] for minute in found["pageviews"]) == row["count"] > 0


def about_right(visitors: int, expected: Count) -> None:
    """Exact below 200, within two percent above."""
    right = len(expected.visitors)
    assert visitors == right if right < 200 else abs(visitors - right) <= 0.02 * right


def metrics(count: Count, names: Sequence[str] = METRICS) -> list[float | None]:
    """The metrics as the API rounds them."""
    shown: Mapping[str, float | None] = {
        "visits": count.visits,
        "pageviews": count.pageviews,
        "views_per_visit": round(count.pageviews / count.visits, 2),
        "bounce_rate": round(100 * count.bounces / count.visits, 1),
        "visit_duration": round(count.duration / count.visits),
        "events": count.events,
        "scroll_depth": round(count.scroll / count.scroll_visits) if count.scroll_visits else None,
    }
    return [shown[name] for name in names]


def by_value(answer: Mapping[str, Any]) -> dict[str, list[float | None]]:
    return {row["dimensions"][0]: row["metrics"] for row in answer["results"]}


def hour_label(site: str, hour: datetime) -> str:
    """The local hour; when the clocks went back there were two of the same name, told apart by their offset."""
    local = hour.astimezone(ZoneInfo(ZONES[site]))
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return local.isoformat(" ") if twice else local.strftime("%Y-%m-%d %H:%M:%S")
