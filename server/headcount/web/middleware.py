"""Turns errors into answers, once, for all that goes through aiohttp."""

from __future__ import annotations

import logging

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from headcount import errors
from headcount.web import answers, keys

log = logging.getLogger(__name__)


@web.middleware
async def say_what_went_wrong(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: every failure is a JSON body that names the field and the limit."""
    try:
        return await handler(request)
    except errors.HeadcountError as error:
        return answers.response(answers.failed(error))
    except web.HTTPException as error:
        allowed = error.headers.get("Allow")
        headers = {"Allow": allowed} if allowed else {}
        return answers.response(answers.spoken(error.status, "request", error.reason.lower(), headers))
    except ConnectionError:
        raise  # the client has gone: nobody to answer
    except Exception:
        log.exception("failed: %s", _route(request))
        return answers.response(answers.broken())


async def ask_for_body(request: web.Request) -> web.StreamResponse | None:
    """Send for a body that waits for it. No other expectation can be met (RFC 9110, 10.1.1)."""
    if request.version != HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() != "100-continue":
        carried = answers.carried(request.path)
        return answers.response(answers.spoken(answers.UNMET, "expect", "can only be 100-continue", carried))
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
    """What every answer carries."""
    response = await handler(request)
    response.headers.update(answers.carried(request.path))
    if request.app[keys.STOPPING].is_set():
        response.force_close()
    return response
