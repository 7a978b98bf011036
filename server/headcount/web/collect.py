"""The ways in: `POST /api/event`, and `GET /h.gif` without JavaScript."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from headcount import errors
from headcount.model import Scope, Token
from headcount.privacy import address, door
from headcount.services.collector import reason_of
from headcount.web import auth, keys
from headcount.web.body import read
from headcount.wire import event as wire

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_OPEN = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_OPEN,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}


async def event(request: web.Request) -> web.Response:
    """One event or an array of them. 202 is sent when they are on the disk."""
    client = client_of(request)
    with _counted(request):
        token = _admit(request, client)
        parsed = wire.parse(await read(request))
    events = parsed if isinstance(parsed, list) else [parsed]
    try:
        ignored = await request.app[keys.COLLECTOR].collect(events, client, token)
    except errors.BadInput as error:
        raise (error.at(error.index or 0) if isinstance(parsed, list) else error) from None
    return web.Response(text="ok", status=202, headers=_ignored(ignored))


async def pixel(request: web.Request) -> web.Response:
    """A page view by an image: `d` domain, `u` URL (else the Referer header), `r` referrer."""
    client = client_of(request)
    fields = {name: request.query[name] for name in ("d", "u", "r") if name in request.query}
    fields.setdefault("u", request.headers.get("Referer", ""))
    with _counted(request):
        token = _admit(request, client)
        seen = wire.from_fields({"n": "pageview", **fields})
    ignored = await request.app[keys.COLLECTOR].collect([seen], client, token)
    headers = {
        **_ignored(ignored),
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return web.Response(body=PIXEL, content_type="image/gif", headers=headers)


async def preflight(request: web.Request) -> web.Response:
    """Browsers ask before they post JSON as JSON; the script posts it as text and is not asked."""
    return web.Response(status=204, headers=_PREFLIGHT)


def client_of(request: web.Request) -> door.Client:
    """Whose request it is, for the door."""
    config = request.app[keys.CONFIG]
    found = address.client_address(
        request.remote, request.headers.getall(config.address_header, []), config.trusted_proxies
    )
    return door.Client(found, request.headers.get("User-Agent", "")[: wire.MAX_AGENT], request.headers)


def _admit(request: web.Request, client: door.Client) -> Token | None:
    """The token, if there is one; raises TooManyRequests. A token has a bucket of its own."""
    token = auth.token_of(request)
    if token is not None and Scope.EVENTS_WRITE not in token.scopes:
        raise errors.NotAllowed("authorization", "the token has no scope events:write")
    request.app[keys.LIMITER].check(token.digest if token is not None else client.key())
    return token


@contextmanager
def _counted(request: web.Request) -> Iterator[None]:
    """Count what is refused before the collector, which counts the rest, has seen it."""
    try:
        yield
    except errors.HeadcountError as error:
        request.app[keys.COLLECTOR].refuse(reason_of(error))
        raise


def _ignored(ignored: Counter[str]) -> dict[str, str]:
    if not ignored:
        return {}
    return {
        "X-Headcount-Ignored": ", ".join(f"{reason}={count}" for reason, count in sorted(ignored.items())),
        "x-plausible-dropped": str(ignored.total()),
    }
