"""The ways in through aiohttp: `POST /api/event`, and `GET /h.gif` without JavaScript."""

from __future__ import annotations

import base64

from aiohttp import web

from headcount.web import answers, keys
from headcount.web.body import read
from headcount.web.hot import ignored_headers
from headcount.wire import event as wire

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}


async def event(request: web.Request) -> web.Response:
    """One event or an array of them; the edge takes most of them before."""
    hot = request.app[keys.HOT]
    with hot.counted():
        body = await read(request)
    return answers.response(await hot.event(hot.client_of(request), request.headers, body))


async def pixel(request: web.Request) -> web.Response:
    """A page view by an image: `d` domain, `u` URL (else the Referer header), `r` referrer."""
    hot = request.app[keys.HOT]
    client = hot.client_of(request)
    fields = {name: request.query[name] for name in ("d", "u", "r") if name in request.query}
    fields.setdefault("u", request.headers.get("Referer", ""))
    with hot.counted():
        token = hot.admit(client, request.headers)
        seen = wire.from_fields({"n": "pageview", **fields})
    ignored = await request.app[keys.COLLECTOR].collect([seen], client, token)
    headers = {
        **ignored_headers(ignored),
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return web.Response(body=PIXEL, content_type="image/gif", headers=headers)


async def preflight(request: web.Request) -> web.Response:
    """Browsers ask before they post JSON as JSON; the script posts it as text and is not asked."""
    return web.Response(status=204, headers=_PREFLIGHT)
