"""Everything HTTP that is not collecting: the script, errors, what is said to broken clients and what is logged."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import make
from headcount import assets, errors, logs
from headcount.model import Scope
from headcount.web import body, keys, script
from make import Worker

TOKENS = [make.token("all", *Scope), make.token("stats", Scope.STATS_READ, site_id=2)]
ALL = {"Authorization": "Bearer all"}
PLANTED = b"203.0.113.77"


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    sites = [make.site("example.com"), make.site("other.example", 2)]
    async with make.worker(tmp_path, sites=sites, tokens=TOKENS) as worker:
        yield worker


@pytest.fixture
def log() -> Iterator[Callable[[], str]]:
    """The server's log is on; gives what stands in it."""
    root, file = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    with contextlib.redirect_stderr(file):
        logs.configure("info")
    yield file.getvalue
    root.handlers[:], root.level = before


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None),
        ("POST", "/nowhere", 404, None),
        ("GET", "/api", 404, None),
        ("GET", "/api/event/", 404, None),
        ("GET", "/%00", 404, None),
        ("GET", "/..%2f..%2fetc/passwd", 404, None),
        ("GET", "/h.xyz.js", 404, None),
        ("GET", "/api/event", 405, "OPTIONS,POST"),
        ("PUT", "/api/event", 405, "OPTIONS,POST"),
        ("POST", "/h.js", 405, "GET,HEAD"),
        ("DELETE", "/api/v2/query", 405, "POST"),
        ("PATCH", "/api/v1/sites", 405, "GET,HEAD,POST"),
    ],
)
async def test_what_is_not_there_is_said_in_json(
    worker: Worker, method: str, path: str, status: int, allow: str | None
) -> None:
    response = await worker.client.request(method, path)
    assert (response.status, response.content_type, response.headers.get("Allow")) == (
        status, "application/json", allow,
    )  # fmt: skip
    assert list((await response.json())["errors"]) == ["request"]


async def test_every_answer_names_the_server_alone(worker: Worker) -> None:
    for path in ("/", "/h.js", "/nowhere", "/api/v1/sites", "/health/live"):
        assert (await worker.client.get(path)).headers["Server"] == "Headcount"


async def test_what_goes_wrong_here_is_logged_without_its_message(
    worker: Worker, log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError(PLANTED.decode())

    monkeypatch.setattr(worker.app[keys.COLLECTOR], "collect", fail)
    response = await worker.client.get("/h.gif?u=https://example.com/203.0.113.77")
    assert (response.status, list((await response.json())["errors"])) == (500, ["server"])
    assert "failed: /h.gif\n  ValueError\n" in log()
    assert PLANTED.decode() not in log() + await response.text()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\1 " + PLANTED + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: " + PLANTED + b"\r\n\r\n",
        b"BREW /" + PLANTED + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + PLANTED + b" HTTP/1.1\r\nHost: x\r\nX-Forwarded-For : " + PLANTED + b"\r\n\r\n",
        b"GET /\xff" + PLANTED + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[" + PLANTED + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: " + PLANTED + b"\r\n\r\n",
        b"POST /api/event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ" + PLANTED,
        b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 12\r\n\r\n"
        + PLANTED,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + PLANTED * 1000 + b"\r\n\r\n",
    ],
)
async def test_broken_http_is_refused_and_none_of_it_is_logged(
    worker: Worker, log: Callable[[], str], request_bytes: bytes
) -> None:
    assert b" 400 " in (await worker.raw(request_bytes)).partition(b"\r\n")[0]
    assert PLANTED.decode() not in log()
    assert (await worker.client.get("/health/live")).status == 200


async def test_a_client_that_goes_away_leaves_nothing(worker: Worker, log: Callable[[], str]) -> None:
    cut = b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{" + PLANTED
    with pytest.raises(TimeoutError):
        await worker.raw(cut, patience=0.05)
    assert (await worker.client.get("/health/live")).status == 200
    assert (log(), worker.spooled()) == ("", [])


@pytest.mark.parametrize("rest", [b"", b"5\r\n[1234\r\n", b"5\r\n[1234\r\nnonsense\r\n\r\n"])
async def test_a_body_that_never_comes_to_its_end_is_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(body, "PATIENCE", 0.1)
    head = b"POST /api/event HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await worker.raw(head, rest)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive" in answer
    assert await worker.dropped() == {"invalid": 1}


# The script


async def test_the_script_is_kept_for_an_hour_by_browsers(worker: Worker) -> None:
    response = await worker.client.get("/h.js")
    assert (response.status, response.content_type) == (200, "text/javascript")
    assert await response.read() == (assets.folder("tracker/dist") / "h.js").read_bytes()
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("etag", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_browser_that_has_the_script_gets_a_304(worker: Worker, etag: str) -> None:
    first = await worker.client.get("/h.js")
    known = etag.format(first.headers["ETag"])
    response = await worker.client.get("/h.js", headers={"If-None-Match": known})
    assert (response.status, await response.read()) == (304, b"")
    assert response.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("etag", ['"other"', "nonsense", '"'])
async def test_a_browser_with_another_script_gets_the_new_one(worker: Worker, etag: str) -> None:
    assert (await worker.client.get("/h.js", headers={"If-None-Match": etag})).status == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
async def test_the_script_is_packed_for_whoever_takes_it(
    worker: Worker, accepted: str, encoding: str | None
) -> None:
    response = await worker.client.get("/h.js", headers={"Accept-Encoding": accepted})
    assert (response.headers.get("Content-Encoding"), response.headers["Vary"]) == (
        encoding,
        "Accept-Encoding",
    )
    assert await response.read() == worker.app[keys.SCRIPT].plain


async def test_the_script_has_a_name_that_never_changes_its_content(worker: Worker) -> None:
    found = worker.app[keys.SCRIPT]
    response = await worker.client.get(f"/h.{found.hash}.js")
    assert (response.status, await response.read()) == (200, found.plain)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", ["h.0000000000000000.js", "h.0.js"])
async def test_the_name_of_another_content_is_not_found(worker: Worker, name: str) -> None:
    response = await worker.client.get(f"/{name}")
    assert (response.status, response.headers.get("Cache-Control")) == (404, None)


def test_the_script_s_names_are_made_of_its_bytes() -> None:
    found = script.load()
    assert gzip.decompress(found.packed) == found.plain
    assert found.hash == hashlib.sha256(found.plain).hexdigest()[:16]
    digest = base64.b64decode(found.integrity.removeprefix("sha384-"))
    assert digest == hashlib.sha384(found.plain).digest()


def test_the_tag_names_the_server_and_the_site() -> None:
    tag = '<script defer src="https://c.example/h.js" data-domain="example.com"></script>'
    assert script.tag("https://c.example", "example.com") == tag


# Without Postgres


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/sites", None),
        ("POST", "/api/v1/sites", {"domain": "new.example"}),
        ("GET", "/api/v1/sites/example.com", None),
        ("PUT", "/api/v1/sites/example.com", {"gpc": False}),
        ("DELETE", "/api/v1/sites/example.com", None),
        ("POST", "/api/v1/sites/example.com/reset", None),
        ("GET", "/api/v1/tokens", None),
        ("POST", "/api/v1/tokens", {}),
        ("DELETE", "/api/v1/tokens/1", None),
        ("POST", "/api/v2/query", {"site_id": "example.com", "metrics": ["visits"], "date_range": "day"}),
        ("GET", "/api/v2/realtime?site_id=example.com", None),
    ],
)
async def test_what_needs_postgres_says_so_and_collecting_goes_on(
    worker: Worker, method: str, path: str, body: Any
) -> None:
    response = await worker.client.request(method, path, json=body, headers=ALL)
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert (await response.json())["errors"]["server"] == [errors.DatabaseDown().message]
    event = {"name": "pageview", "url": "https://example.com/"}
    assert (await worker.client.post("/api/event", json=event)).status == 202
    assert len(worker.hits()) == 1


@pytest.mark.parametrize(
    ("path", "headers", "says"),
    [
        ("/api/v1/sites", {}, "a token of scope sites:write is required"),
        ("/api/v1/tokens", {"Authorization": "Bearer stats"}, "the token has no scope sites:write"),
        ("/api/v1/sites", {"Authorization": "Bearer unknown"}, "the token is not known"),
        ("/api/v2/realtime?site_id=other.example", {}, "a token of scope stats:read is required"),
        (
            "/api/v2/realtime?site_id=example.com",
            {"Authorization": "Bearer stats"},
            "the token is for another site",
        ),
        (
            "/api/v2/realtime?site_id=no.example",
            {"Authorization": "Bearer stats"},
            "the token is for another site",
        ),
    ],
)
async def test_who_may_not_is_told_before_anything_is_asked(
    worker: Worker, path: str, headers: dict[str, str], says: str
) -> None:
    response = await worker.client.get(path, headers=headers)
    ((text,),) = (await response.json())["errors"].values()
    assert (response.status, text) == (401, says)


async def test_an_unknown_site_is_not_found(worker: Worker) -> None:
    response = await worker.client.get("/api/v2/realtime?site_id=no.example", headers=ALL)
    assert (response.status, list((await response.json())["errors"])) == (404, ["site_id"])


# The rest


async def test_a_person_who_comes_by_is_welcomed(worker: Worker) -> None:
    response = await worker.client.get("/")
    assert (response.status, "headcount stats" in await response.text()) == (200, True)


async def test_it_says_that_it_lives(worker: Worker) -> None:
    response = await worker.client.get("/health/live")
    assert (response.status, await response.text()) == (200, "ok\n")
