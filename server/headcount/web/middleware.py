"""Turns errors into answers, once. No layer but this one knows a status code."""

from __future__ import annotations

import logging

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from headcount import errors
from headcount.web import keys

log = logging.getLogger(__name__)

RETRY_AFTER = 5
"""Seconds after which a client that got 503 may try again."""

SERVER = "Headcount"
_EXPOSED = "X-Headcount-Ignored, x-plausible-dropped, Retry-After"

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


def answer(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


@web.middleware
async def say_what_went_wrong(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: every failure is a JSON body that names the field and the limit."""
    try:
        return await handler(request)
    except errors.HeadcountError as error:
        return _failed(error)
    except web.HTTPException as error:
        return _spoken(error.status, "request", error.reason.lower(), allow=error.headers.get("Allow"))
    except ConnectionError:
        raise  # the client has gone: nobody to answer
    except Exception:
        log.exception("failed: %s", _route(request))
        return _spoken(500, "server", "something went wrong here; it is logged")


def _failed(error: errors.HeadcountError) -> web.Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    if isinstance(error, errors.BadInput):
        body: dict[str, object] = {"errors": {error.field: [error.message]}}
        if error.index is not None:
            body["index"] = error.index
        return answer(body, status)
    response = answer({"errors": {"server": [error.message]}}, status)
    if isinstance(error, errors.TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    elif status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _spoken(status: int, field: str, text: str, allow: str | None = None) -> web.Response:
    response = answer({"errors": {field: [text]}}, status)
    if allow:
        response.headers["Allow"] = allow
    return response


async def ask_for_body(request: web.Request) -> web.StreamResponse | None:
    """Send for a body that waits for it. No other expectation can be met (RFC 9110, 10.1.1)."""
    if request.version != HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() != "100-continue":
        refused = _spoken(417, "expect", "can only be 100-continue")
        refused.headers["Server"] = SERVER
        return refused
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what counts is the answer
    return None


def _route(request: web.Request) -> str:
    """The route, never the path: that may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "no route"


@web.middleware
async def count_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the answers by route and class of status."""
    response = await handler(request)
    request.app[keys.FIGURES].answers[_route(request), response.status // 100] += 1
    return response


@web.middleware
async def add_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What every answer carries. Pages of any site may read the answers of the ways in, errors too."""
    response = await handler(request)
    response.headers["Server"] = SERVER
    if request.app[keys.STOPPING].is_set():
        response.force_close()
    if request.path in ("/api/event", "/h.gif"):
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response
