"""An answer, whichever way it goes out, and which one an error becomes. Nothing else knows a status code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson
from aiohttp import web

from headcount import errors

RETRY_AFTER = 5
"""Seconds after which a client that got 503 may try again."""

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OPEN_ROUTES = frozenset(("/api/event", "/h.gif"))
"""Pages of any site may read the answers of these ways in, errors too."""

_CARRIED = {"Server": "Headcount"}
_OPEN = {
    **_CARRIED,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Headcount-Ignored, x-plausible-dropped, Retry-After",
}

STATUS: dict[type[errors.HeadcountError], int] = {
    errors.TooLarge: 413,
    errors.NotAllowed: 401,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.BadInput: 400,
    errors.TooManyRequests: 429,
    errors.ServiceBusy: 503,
    errors.BadConfig: 503,
}

UNMET = 417
"""For an expectation that cannot be met."""


Pairs = tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """What is said, before it takes the form of bytes or of aiohttp's response."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Pairs = ()


def of(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    return Answer(orjson.dumps(body), status, JSON, tuple((headers or {}).items()))


def failed(error: errors.HeadcountError) -> Answer:
    """What is said of an error: the field and the limit, or when to try again."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    if isinstance(error, errors.BadInput):
        body: dict[str, object] = {"errors": {error.field: [error.message]}}
        if error.index is not None:
            body["index"] = error.index
        return of(body, status)
    headers = {}
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return spoken(status, "server", error.message, headers)


def broken() -> Answer:
    """What is said of an error that nobody foresaw."""
    return spoken(500, "server", "something went wrong here; it is logged")


def spoken(status: int, field: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    return of({"errors": {field: [text]}}, status, headers)


def carried(path: str) -> Mapping[str, str]:
    """The headers that every answer at this path carries."""
    return _OPEN if path in OPEN_ROUTES else _CARRIED


def response(answer: Answer) -> web.Response:
    """The answer as aiohttp sends it."""
    headers = {**dict(answer.headers), "Content-Type": answer.content_type}
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def json(body: object, status: int = 200) -> web.Response:
    """A JSON answer as aiohttp sends it."""
    return response(of(body, status))
