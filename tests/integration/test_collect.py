"""What browsers and servers send, over HTTP: what is kept in the spool, what is only counted, what is refused."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientResponse
from hypothesis import given, settings
from hypothesis import strategies as st

import make
from headcount.model import NO_SITE, VISIT_DIMENSIONS, Dropped, Scope
from headcount.web import keys
from make import Worker

SITES = [
    make.site("example.com", 1, props=("plan",)),
    make.site("other.example", 2, hostnames=("*.other.example", "example.com")),
    make.site("open.example", 3, gpc=False),
    make.site("localhost", 4),
    make.site("dev.localhost", 5),
]
TOKENS = [
    make.token("writes", Scope.EVENTS_WRITE),
    make.token("writes-one", Scope.EVENTS_WRITE, site_id=1),
    make.token("reads-only", Scope.STATS_READ),
]
BEHIND_PROXY = {"trusted_proxies": "127.0.0.0/8"}
PAGEVIEW = {"n": "pageview", "u": "https://example.com/a"}
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with make.worker(tmp_path, BEHIND_PROXY, sites=SITES, tokens=TOKENS) as worker:
        yield worker


async def post(worker: Worker, body: Any, **headers: str) -> ClientResponse:
    """Names of headers with _ for -; what is no bytes is sent as JSON."""
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await worker.client.post("/api/event", data=data, headers=named)


async def errors_of(response: ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/json"
    found = await response.json()
    assert isinstance(found, dict)
    return found


# What is kept


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "text/plain;charset=UTF-8", "nonsense", "image/png; charset=koi8"],
)
async def test_an_event_is_in_the_spool_when_it_is_acknowledged(worker: Worker, content_type: str) -> None:
    response = await post(worker, PAGEVIEW, Content_Type=content_type)
    assert (response.status, await response.text()) == (202, "ok")
    assert "X-Headcount-Ignored" not in response.headers
    (hit,) = worker.hits()
    assert (hit.site, hit.name, hit.hostname, hit.page) == (1, "pageview", "example.com", "/a")


async def test_an_event_without_a_content_type_is_kept(worker: Worker) -> None:
    response = await worker.client.post(
        "/api/event", data=json.dumps(PAGEVIEW).encode(), skip_auto_headers=["Content-Type"]
    )
    assert (response.status, len(worker.hits())) == (202, 1)


async def test_a_compressed_event_is_kept(worker: Worker) -> None:
    response = await post(worker, gzip.compress(json.dumps(PAGEVIEW).encode()), Content_Encoding="gzip")
    assert (response.status, len(worker.hits())) == (202, 1)


async def test_everything_told_ends_in_one_reduced_record(worker: Worker) -> None:
    event = {
        **PAGEVIEW, "n": "Signup", "u": "https://www.example.com/a?x=1&utm_source=news#b", "d": "www.example.com",
        "r": "https://www.google.com/search?q=secret", "p": {"plan": "team", "name": "Jane"}, "i": False, "w": 800,
        "$": {"currency": "EUR", "amount": "9.50"},
    }  # fmt: skip
    await post(worker, event, Accept_Language="lv-LV,en;q=0.5", X_Forwarded_For="8.8.8.8")
    (hit,) = worker.hits()
    known = dict(zip(VISIT_DIMENSIONS, hit.attributes, strict=True))
    assert (hit.hostname, hit.page, hit.props, hit.interactive) == (
        "www.example.com",
        "/a",
        (("plan", "team"),),
        False,
    )
    assert (known["utm_source"], known["country"], known["language"], known["screen"]) == (
        "news",
        "US",
        "lv",
        "M",
    )
    assert (known["browser"], known["os"], known["device"]) == ("Firefox", "Linux", "desktop")
    assert "Jane" not in repr(hit)
    assert "secret" not in repr(hit)


async def test_hash_routing_makes_the_fragment_part_of_the_page(worker: Worker) -> None:
    await post(worker, [{**PAGEVIEW, "u": "https://example.com/a#/b", "h": flag} for flag in (1, 0)])
    assert [hit.page for hit in worker.hits()] == ["/a#/b", "/a"]


async def test_an_engagement_event_carries_its_scroll_depth(worker: Worker) -> None:
    await post(worker, {**PAGEVIEW, "n": "engagement", "sd": 70, "e": 5000})
    assert [(hit.name, hit.scroll) for hit in worker.hits()] == [("engagement", 70)]


async def test_an_array_is_kept_in_its_order(worker: Worker) -> None:
    events = [{**PAGEVIEW, "u": f"https://example.com/page-{index}"} for index in range(500)]
    assert (await post(worker, events)).status == 202
    assert [hit.page for hit in worker.hits()] == [f"/page-{index}" for index in range(500)]


async def test_an_event_can_count_for_several_sites(worker: Worker) -> None:
    response = await post(worker, {**PAGEVIEW, "d": "example.com, other.example"})
    assert response.status == 202
    first, second = worker.hits()
    assert (first.site, second.site) == (1, 2)
    assert first.token != second.token


@pytest.mark.parametrize(
    ("url", "domain", "site"),
    [
        ("http://localhost:3000/", "localhost", 4),
        ("http://127.0.0.1:3000/", "localhost", 4),
        ("http://[::1]:3000/", "localhost", 4),
        ("http://dev.localhost/", "dev.localhost", 5),
        ("https://shop.example.com/", "example.com", 1),
        ("https://example.com/", "www.example.com", 1),
        ("https://www.example.com/", "EXAMPLE.com", 1),
        ("https://a.other.example/", "other.example", 2),
        ("https://example.com/", "other.example", 2),
    ],
)
async def test_a_page_counts_for_its_site(worker: Worker, url: str, domain: str, site: int) -> None:
    assert (await post(worker, {**PAGEVIEW, "u": url, "d": domain})).status == 202
    assert [hit.site for hit in worker.hits()] == [site]


@pytest.mark.parametrize(("turn", "zone"), [(-1, "Pacific/Kiritimati"), (1, "Pacific/Pago_Pago")])
async def test_the_day_is_that_of_the_time_zone_that_holds(tmp_path: Path, turn: int, zone: str) -> None:
    moment = datetime.now(UTC) + timedelta(hours=turn)
    zones: dict[str, Any] = {
        "timezone": "Pacific/Pago_Pago",
        "next_timezone": "Pacific/Kiritimati",
        "timezone_from": moment,
    }
    async with make.worker(tmp_path, sites=[make.site(**zones)]) as worker:
        await post(worker, PAGEVIEW)
        (hit,) = worker.hits()
    local = datetime.fromtimestamp(hit.at / 1000, ZoneInfo(zone))
    assert (hit.zone, hit.day) == (zone, local.date())
    assert datetime.fromtimestamp(hit.hour, ZoneInfo(zone)).hour == local.hour


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("http://localhost:3000/", "example.com"),
        ("http://127.0.0.1/", "example.com"),
        ("http://dev.localhost/", "localhost"),
        ("http://localhost/", "dev.localhost"),
        ("https://notexample.com/", "example.com"),
        ("https://example.com.evil.example/", "example.com"),
        ("https://other.example/", "other.example"),
        ("https://example.com/", "localhost"),
    ],
)
async def test_a_page_of_another_host_does_not(worker: Worker, url: str, domain: str) -> None:
    response = await post(worker, {**PAGEVIEW, "u": url, "d": domain})
    assert (response.status, list((await errors_of(response))["errors"])) == (400, ["url"])
    assert worker.hits() == []
    assert await worker.dropped() == {"hostname": 1}


# What is refused


@pytest.mark.parametrize(
    ("body", "status", "field", "says", "reason"),
    [
        (b"", 400, "body", "JSON", "invalid"),
        (b"n=pageview", 400, "body", "JSON", "invalid"),
        (b'"pageview"', 400, "body", "JSON object", "invalid"),
        (b'{"n": "\xff"}', 400, "body", "UTF-8", "invalid"),
        (rb'{"n": "\ud800"}', 400, "body", "UTF-8", "invalid"),
        (b"[" * 17 + b"]" * 17, 400, "body", "16 deep", "invalid"),
        (b"[" * 1_000_000, 400, "body", "16 deep", "invalid"),
        (b'{"n":' + b"9" * 5000 + b"}", 400, "body", "JSON", "invalid"),
        (b"[]", 400, "body", "1 to 500", "invalid"),
        (b" " * 32768 + b"{}", 413, "body", "32768 bytes", "too_large"),
        (b" " * (1 << 20) + b"{}", 413, "body", "1048576 bytes", "too_large"),
        ({"u": "https://example.com/"}, 400, "name", "required", "invalid"),
        ({"n": "pageview"}, 400, "url", "required", "invalid"),
        ({**PAGEVIEW, "n": "a\0"}, 400, "name", "U+0000", "invalid"),
        ({**PAGEVIEW, "n": "x" * 121}, 400, "name", "120 characters", "invalid"),
        ({**PAGEVIEW, "p": {"a": []}}, 400, "props", "text, a number", "invalid"),
        ({**PAGEVIEW, "u": "/a"}, 400, "url", "http://", "invalid"),
        ({**PAGEVIEW, "u": "https://[::1"}, 400, "url", "hostname", "invalid"),
        ({**PAGEVIEW, "u": "https://example.com/" + "x" * 2000, "d": "example.com"}, 400, "url", "2000", "invalid"),
        ({**PAGEVIEW, "u": "ftp://example.com/", "d": "example.com"}, 400, "url", "http://", "invalid"),
        ({**PAGEVIEW, "u": "https://nowhere.example/"}, 400, "domain", "No such site", "unknown_site"),
        ({**PAGEVIEW, "d": "nowhere.example"}, 400, "domain", "No such site", "unknown_site"),
        ({**PAGEVIEW, "d": "example.com,nowhere.example"}, 400, "domain", "No such site", "unknown_site"),
        ({**PAGEVIEW, "d": "localhost,example.com"}, 400, "url", "hostnames", "hostname"),
    ],
)  # fmt: skip
async def test_what_is_refused_says_why_and_leaves_nothing_but_its_count(
    worker: Worker, body: Any, status: int, field: str, says: str, reason: str
) -> None:
    response = await post(worker, body)
    ((named, (text,)),) = (await errors_of(response))["errors"].items()
    assert (response.status, named, says in text) == (status, field, True), text
    assert worker.spooled() == []
    assert await worker.dropped() == {reason: 1}


async def test_whatever_is_sent_is_answered_and_never_our_fault(worker: Worker) -> None:
    names = st.sampled_from(["n", "u", "d", "r", "p", "$", "i", "h", "w", "sd", "e", "ip", "user_agent"])
    values = st.sampled_from(["pageview", "https://example.com/a", "example.com"]) | st.text() | st.integers()
    bodies: list[bytes] = []

    @settings(max_examples=100)
    @given(
        st.dictionaries(names, values).map(lambda fields: json.dumps({**PAGEVIEW, **fields}).encode())
        | st.binary()
    )
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()
    for body in bodies:
        response = await post(worker, body, Authorization="Bearer writes")
        assert response.status in (202, 400, 413), body


@pytest.mark.parametrize(("bad", "field"), [({"n": "x"}, "url"), ({**PAGEVIEW, "d": "no.example"}, "domain")])
@pytest.mark.parametrize("index", [0, 1, 2])
async def test_an_array_with_a_fault_is_refused_whole(
    worker: Worker, bad: Any, field: str, index: int
) -> None:
    events: list[Any] = [PAGEVIEW] * 3
    events[index] = bad
    response = await post(worker, events)
    found = await errors_of(response)
    assert (response.status, found["index"], list(found["errors"])) == (400, index, [field])
    assert worker.hits() == []


@pytest.mark.parametrize("events", [[{"n": "x"}], [{**PAGEVIEW, "d": "no.example"}]])
async def test_also_an_array_of_one_names_the_index(worker: Worker, events: Any) -> None:
    assert (await errors_of(await post(worker, events)))["index"] == 0
    assert "index" not in await errors_of(await post(worker, events[0]))


async def test_a_body_that_is_not_compressed_as_it_says_is_refused(worker: Worker) -> None:
    response = await post(worker, b"not gzip", Content_Encoding="gzip")
    assert (response.status, list((await errors_of(response))["errors"])) == (400, ["body"])
    assert await worker.dropped() == {"invalid": 1}


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(worker: Worker) -> None:
    response = await post(worker, gzip.compress(b" " * (20 << 20)), Content_Encoding="gzip")
    assert response.status == 413
    assert await worker.dropped() == {"too_large": 1}


async def test_refusals_reach_the_spool_by_themselves(worker: Worker) -> None:
    await post(worker, b"nonsense")
    async with asyncio.timeout(3):
        while not worker.spooled():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    (dropped,) = worker.spooled()
    assert isinstance(dropped, Dropped)
    assert (dropped.site, dropped.reason, dropped.count) == (NO_SITE, "invalid", 1)


async def test_refusals_are_counted_for_the_site_they_belong_to(worker: Worker) -> None:
    await post(worker, {**PAGEVIEW, "d": "localhost"})
    await post(worker, {**PAGEVIEW, "u": "nonsense", "d": "example.com"})
    await post(worker, PAGEVIEW)
    found = {record.reason: record.site for record in worker.spooled() if isinstance(record, Dropped)}
    assert found == {"hostname": 4, "invalid": 1}


async def test_refusals_of_the_last_second_are_spooled_when_the_worker_ends(tmp_path: Path) -> None:
    async with make.worker(tmp_path) as worker:
        await post(worker, b"nonsense")
    assert [getattr(record, "reason", None) for record in worker.spooled()] == ["invalid"]


# What is ignored


@pytest.mark.parametrize(
    ("headers", "said", "kept"),
    [
        ({"User_Agent": GOOGLEBOT}, "bot=1", "bot_search_engine"),
        ({"User_Agent": "curl/8.5.0"}, "bot=1", "bot_tool"),
        ({"User_Agent": ""}, "bot=1", "bot_unknown"),
        ({"From": "crawler@example.net"}, "bot=1", "bot_unknown"),
        ({"Sec_GPC": "1"}, "gpc=1", "gpc"),
        ({"DNT": "1"}, "gpc=1", "gpc"),
        ({"Sec_Purpose": "prefetch;prerender"}, "prefetch=1", "prefetch"),
        ({"X_Moz": "prefetch"}, "prefetch=1", "prefetch"),
    ],
)
async def test_what_is_ignored_is_spooled_as_its_reason_alone(
    worker: Worker, headers: dict[str, str], said: str, kept: str
) -> None:
    response = await post(worker, PAGEVIEW, **headers)
    assert (response.status, await response.text()) == (202, "ok")
    assert (response.headers["X-Headcount-Ignored"], response.headers["x-plausible-dropped"]) == (said, "1")
    (record,) = worker.spooled()
    assert isinstance(record, Dropped)
    assert (record.site, record.reason, record.count) == (1, kept, 1)


@pytest.mark.parametrize(
    "headers", [{"Sec_GPC": "0"}, {"DNT": "0"}, {"DNT": "null"}, {"Purpose": "navigate"}]
)
async def test_a_header_that_says_no_changes_nothing(worker: Worker, headers: dict[str, str]) -> None:
    assert "X-Headcount-Ignored" not in (await post(worker, PAGEVIEW, **headers)).headers
    assert len(worker.hits()) == 1


@pytest.mark.parametrize("header", ["Sec_GPC", "DNT"])
async def test_a_site_may_count_in_spite_of_gpc(worker: Worker, header: str) -> None:
    event = {**PAGEVIEW, "u": "https://open.example/"}
    assert "X-Headcount-Ignored" not in (await post(worker, event, **{header: "1"})).headers
    assert [hit.site for hit in worker.hits()] == [3]


async def test_of_an_array_the_ignored_are_counted_by_reason(worker: Worker) -> None:
    agents = [make.BROWSER, GOOGLEBOT, "curl/8.5.0", make.BROWSER]
    events = [{**PAGEVIEW, "ip": "8.8.8.8", "user_agent": agent} for agent in agents]
    response = await post(worker, events, Authorization="Bearer writes")
    assert response.headers["X-Headcount-Ignored"] == "bot=2"
    assert response.headers["x-plausible-dropped"] == "2"
    assert (len(worker.hits()), len(worker.spooled())) == (2, 4)


# Without JavaScript


async def test_the_pixel_counts_a_page_view(worker: Worker) -> None:
    asked = {"d": "example.com", "u": "https://example.com/é?utm_source=mail", "r": "https://duckduckgo.com/"}
    response = await worker.client.get("/h.gif", params=asked)
    assert (response.status, response.content_type) == (200, "image/gif")
    assert (await response.read()).startswith(b"GIF89a")
    assert (response.headers["Cache-Control"], response.headers["Access-Control-Allow-Origin"]) == (
        "no-store",
        "*",
    )
    (hit,) = worker.hits()
    assert (hit.name, hit.page, hit.attributes[:2]) == ("pageview", "/é", ("mail", "duckduckgo.com"))


async def test_without_an_url_the_pixel_takes_the_referer(worker: Worker) -> None:
    response = await worker.client.get("/h.gif", headers={"Referer": "https://example.com/here"})
    assert (response.status, [hit.page for hit in worker.hits()]) == (200, ["/here"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "url"),
        ("?d=example.com", "url"),
        ("?u=https://nowhere.example/", "domain"),
        ("?u=https://example.com/%00", "url"),
        ("?u=https://example.com/&d=%00", "domain"),
        ("?d=localhost&u=https://example.com/", "url"),
    ],
)
async def test_the_pixel_says_what_is_wrong(worker: Worker, query: str, field: str) -> None:
    response = await worker.client.get("/h.gif" + query)
    assert (response.status, list((await errors_of(response))["errors"])) == (400, [field])
    assert worker.hits() == []


async def test_asking_for_the_pixel_s_headers_counts_nothing(worker: Worker) -> None:
    assert (await worker.client.head("/h.gif?u=https://example.com/")).status == 405
    assert worker.spooled() == []


async def test_a_bot_gets_its_pixel(worker: Worker) -> None:
    response = await worker.client.get(
        "/h.gif?u=https://example.com/", headers={"User-Agent": GOOGLEBOT, "Sec-Purpose": "prefetch"}
    )
    assert (response.status, response.headers["X-Headcount-Ignored"]) == (200, "prefetch=1")
    assert worker.hits() == []


# From any page


@pytest.mark.parametrize("body", [PAGEVIEW, b"nonsense", {**PAGEVIEW, "d": "no.example"}])
async def test_pages_of_any_origin_may_read_the_answer(worker: Worker, body: Any) -> None:
    response = await post(worker, body, Origin="https://example.com")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert exposed == ["X-Headcount-Ignored", "x-plausible-dropped", "Retry-After"]


async def test_a_browser_that_asks_first_is_told_yes(worker: Worker) -> None:
    response = await worker.client.options("/api/event", headers={"Access-Control-Request-Method": "POST"})
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]


# Who sent it


async def tokens_of(worker: Worker, *requests: tuple[Any, dict[str, str]]) -> list[int]:
    for body, headers in requests:
        assert (await post(worker, body, **headers)).status == 202
    return [hit.token for hit in worker.hits()]


OTHER_BROWSER = make.BROWSER.replace("140", "139")
HOME = {"X_Forwarded_For": "198.51.100.1"}


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (HOME, HOME, True),
        (HOME, {"X_Forwarded_For": "198.51.100.2"}, False),
        (HOME, {"X_Forwarded_For": "198.51.100.1:4711"}, True),
        (HOME, {"X_Forwarded_For": "::ffff:198.51.100.1"}, True),
        (HOME, {"X_Forwarded_For": "203.0.113.9, 198.51.100.1"}, True),
        (HOME, {"X_Forwarded_For": "198.51.100.1, 203.0.113.9"}, False),
        (HOME, {"X_Forwarded_For": "198.51.100.1, 127.0.0.9"}, True),
        (HOME, {"X_Real_IP": "198.51.100.1"}, False),
        (HOME, {"X_Forwarded_For": "198.51.100.1, nonsense"}, False),
        ({}, {"X_Forwarded_For": "nonsense"}, True),
        (HOME, {**HOME, "User_Agent": OTHER_BROWSER}, False),
        (HOME, {**HOME, "Accept_Language": "de"}, True),
        ({"X_Forwarded_For": "2001:db8::1"}, {"X_Forwarded_For": "[2001:db8::ffff:2]:80"}, True),
        ({"X_Forwarded_For": "2001:db8::1"}, {"X_Forwarded_For": "2001:db8:0:1::1"}, False),
    ],
)
async def test_a_visitor_is_an_address_and_an_agent(
    worker: Worker, one: dict[str, str], two: dict[str, str], same: bool
) -> None:
    first, second = await tokens_of(worker, (PAGEVIEW, one), (PAGEVIEW, two))
    assert (first == second) is same


async def test_a_visitor_of_two_sites_is_two_visitors(worker: Worker) -> None:
    first, second = await tokens_of(worker, (PAGEVIEW, HOME), ({**PAGEVIEW, "d": "other.example"}, HOME))
    assert first != second


async def test_nobody_is_believed_who_is_no_trusted_proxy(tmp_path: Path) -> None:
    async with make.worker(tmp_path) as worker:
        first, second = await tokens_of(worker, (PAGEVIEW, {}), (PAGEVIEW, HOME))
    assert first == second


async def test_the_header_that_is_believed_is_a_setting(tmp_path: Path) -> None:
    async with make.worker(tmp_path, {**BEHIND_PROXY, "address_header": "X-Real-IP"}) as worker:
        plain, real, forwarded = await tokens_of(
            worker, (PAGEVIEW, {}), (PAGEVIEW, {"X_Real_IP": "198.51.100.1"}), (PAGEVIEW, HOME)
        )
    assert plain == forwarded != real


async def test_an_agent_that_is_no_utf8_is_an_agent(worker: Worker) -> None:
    for agent in (b"\xff", b"\xfe", b"\xfe"):
        asked = b"GET /h.gif?u=https://example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: "
        answer = await worker.raw(asked + make.BROWSER.encode() + agent + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
    first, second, third = worker.hits()
    assert first.token != second.token == third.token


async def test_a_restarted_worker_knows_the_visitors_of_the_day(tmp_path: Path) -> None:
    async with make.worker(tmp_path, keep_keys=True) as worker:
        await post(worker, PAGEVIEW)
    async with make.worker(tmp_path) as worker:
        first, second = await tokens_of(worker, (PAGEVIEW, {}))
    assert first == second


# From servers

VISITOR = {**PAGEVIEW, "ip": "8.8.8.8", "user_agent": make.BROWSER}
VOUCHED = {"Authorization": "Bearer writes", "User_Agent": "python-requests/2.32"}


async def test_a_server_with_a_token_speaks_for_its_visitor(worker: Worker) -> None:
    assert "X-Headcount-Ignored" not in (await post(worker, VISITOR, **VOUCHED)).headers
    await post(worker, PAGEVIEW, X_Forwarded_For="8.8.8.8")
    there, here = worker.hits()
    assert (there.token, there.attributes) == (here.token, here.attributes)


async def test_without_a_token_nobody_speaks_for_others(worker: Worker) -> None:
    plain, invented = await tokens_of(worker, (PAGEVIEW, {}), ({**VISITOR, "user_agent": OTHER_BROWSER}, {}))
    assert plain == invented


async def test_a_server_that_names_no_visitor_speaks_for_itself(worker: Worker) -> None:
    response = await post(worker, PAGEVIEW, **VOUCHED)
    assert response.headers["X-Headcount-Ignored"] == "bot=1"


@pytest.mark.parametrize("ip", ["nonsense", "256.1.1.1", "8.8.8.8, 9.9.9.9"])
async def test_an_address_that_is_none_is_refused(worker: Worker, ip: str) -> None:
    response = await post(worker, {**VISITOR, "ip": ip}, **VOUCHED)
    assert await errors_of(response) == {"errors": {"ip": ["must be an IPv4 or IPv6 address"]}}
    assert await worker.dropped() == {"invalid": 1}


@pytest.mark.parametrize(("site", "header"), [(1, "Sec_GPC"), (1, "DNT"), (3, "Sec_GPC")])
async def test_a_refusal_is_passed_on_by_the_server(worker: Worker, site: int, header: str) -> None:
    url = {1: "https://example.com/", 3: "https://open.example/"}[site]
    response = await post(worker, {**VISITOR, "u": url}, **VOUCHED, **{header: "1"})
    assert response.headers.get("X-Headcount-Ignored") == ("gpc=1" if site == 1 else None)


@pytest.mark.parametrize(
    ("authorization", "domain", "says"),
    [
        ("Bearer unknown", "example.com", "not known"),
        ("Bearer \udcff", "example.com", "Bearer TOKEN"),
        ("Basic d3JpdGVz", "example.com", "Bearer TOKEN"),
        ("Bearer", "example.com", "Bearer TOKEN"),
        ("Bearer reads-only", "example.com", "no scope events:write"),
        ("Bearer writes-one", "localhost", "for another site"),
        ("Bearer writes-one", "example.com,localhost", "for another site"),
    ],
)
async def test_a_token_that_may_not_is_refused(
    worker: Worker, authorization: str, domain: str, says: str
) -> None:
    response = await post(worker, {**VISITOR, "d": domain}, Authorization=authorization)
    ((text,),) = (await errors_of(response))["errors"].values()
    assert (response.status, says in text) == (401, True), text
    assert worker.hits() == []
    assert await worker.dropped() == {"not_allowed": 1}


async def test_a_token_for_one_site_serves_that_site(worker: Worker) -> None:
    assert (await post(worker, VISITOR, Authorization="bearer writes-one")).status == 202


# How much


async def statuses(worker: Worker, times: int, body: Any = PAGEVIEW, **headers: str) -> list[int]:
    return [(await post(worker, body, **headers)).status for _ in range(times)]


SLOW = {**BEHIND_PROXY, "rate_limit": "0.01", "rate_burst": "2"}


async def test_a_client_that_sends_too_much_has_to_wait(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SLOW) as worker:
        assert await statuses(worker, 2) == [202, 202]
        response = await post(worker, PAGEVIEW)
        assert (response.status, response.headers["Retry-After"]) == (429, "100")
        assert list((await errors_of(response))["errors"]) == ["server"]
        assert len(worker.hits()) == 2
        assert await worker.dropped() == {"rate_limit": 1}


async def test_clients_do_not_share_their_limit(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SLOW) as worker:
        await statuses(worker, 3)
        assert await statuses(worker, 3, **HOME) == [202, 202, 429]
        assert await statuses(worker, 1, X_Forwarded_For="2001:db8::1") == [202]
        assert await statuses(worker, 2, X_Forwarded_For="2001:db8::2") == [202, 429]


async def test_a_token_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SLOW, tokens=TOKENS) as worker:
        await statuses(worker, 3)
        assert await statuses(worker, 3, VISITOR, **VOUCHED) == [202, 202, 429]
        assert await statuses(worker, 1, VISITOR, **{**VOUCHED, **HOME}) == [429]
        assert await statuses(worker, 1, VISITOR, Authorization="Bearer writes-one") == [202]


async def test_requests_are_limited_not_events(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SLOW) as worker:
        assert await statuses(worker, 3, [PAGEVIEW] * 50) == [202, 202, 429]
        assert len(worker.hits()) == 100


async def test_the_pixel_has_the_same_limit(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SLOW) as worker:
        await statuses(worker, 2)
        assert (await worker.client.get("/h.gif?u=https://example.com/")).status == 429


async def test_a_limit_of_zero_is_none(tmp_path: Path) -> None:
    async with make.worker(tmp_path, {"rate_limit": "0", "rate_burst": "1"}) as worker:
        assert set(await statuses(worker, 20)) == {202}


# When it cannot be kept


SMALL = {"spool_limit": str(1 << 20)}
LARGE = [{**PAGEVIEW, "u": "https://example.com/" + "long/" * 300}] * 100


async def test_a_full_spool_is_a_503_and_nothing_is_half_kept(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SMALL) as worker:
        found = await statuses(worker, 12, LARGE)
        kept = found.count(202)
        assert found == [202] * kept + [503] * (12 - kept)
        response = await post(worker, LARGE)
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert (await errors_of(response))["errors"]["server"][0].startswith("The spool cannot take more")
        assert len(worker.hits()) == kept * 100


async def test_what_a_full_spool_refused_is_counted_once_there_is_room(tmp_path: Path) -> None:
    async with make.worker(tmp_path, SMALL) as worker:
        refused = (await statuses(worker, 12, LARGE)).count(503) * 100
        await post(worker, b"nonsense")
        refused += (await statuses(worker, 1, LARGE)).count(503) * 100
        worker.take_everything()
        async with asyncio.timeout(5):
            while (await post(worker, PAGEVIEW)).status == 503:
                refused += 1
        assert await worker.dropped() == {"invalid": 1, "busy": refused}


async def test_before_it_knows_its_sites_a_worker_asks_for_patience(tmp_path: Path) -> None:
    async with make.worker(tmp_path, sites=None) as worker:
        response = await post(worker, PAGEVIEW)
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        make.write_settings(tmp_path, SITES)
        worker.app[keys.SETTINGS].refresh()
        assert (await post(worker, PAGEVIEW)).status == 202
        assert await worker.dropped() == {"busy": 1}


async def test_a_site_that_was_just_added_counts(worker: Worker) -> None:
    make.write_settings(worker.data_dir, [*SITES, make.site("new.example", 9)])
    await post(worker, {**PAGEVIEW, "u": "https://new.example/"})
    assert [hit.site for hit in worker.hits()] == [9]
