"""The stats API: `POST /api/v2/query` and `GET /api/v2/realtime`."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from headcount import errors
from headcount.model import Scope, Token
from headcount.stats import shape
from headcount.stats.question import Query
from headcount.stats.shape import Answer
from headcount.web import auth, keys
from headcount.web.body import read
from headcount.wire import query as wire


async def query(request: web.Request) -> web.Response:
    """Figures of a site or product, as JSON or, by `Accept: text/csv`, as CSV."""
    token = auth.require(request, Scope.STATS_READ)
    asked = wire.parse(await _body(request))
    answer = await _answer(request, token, asked)
    return _csv(answer) if _wants_csv(request) else _json(answer.as_dict())


async def realtime(request: web.Request) -> web.Response:
    """Visitors of the last five minutes, page views of the last thirty."""
    token = auth.require(request, Scope.STATS_READ)
    site = auth.site_for(request, token, wire.site_id(request.query.get("site_id")))
    now = await request.app[keys.REPORTS].realtime(site)
    return _json(now.as_dict())


async def _answer(request: web.Request, token: Token, asked: Query) -> Answer:
    if asked.product is not None:
        product = auth.product_for(request, token, asked.product)
        return await request.app[keys.PRODUCT_REPORTS].query(product.id, asked)
    site = auth.site_for(request, token, asked.site_id)
    return await request.app[keys.REPORTS].query(site, asked)


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > wire.MAX_BODY:
        raise errors.TooLarge("body", f"has at most {wire.MAX_BODY} bytes; this has {request.content_length}")
    return await read(request)


def _wants_csv(request: web.Request) -> bool:
    """Whether CSV stands in the Accept header, and JSON not before it."""
    kinds = [part.partition(";")[0].strip().lower() for part in request.headers.get("Accept", "").split(",")]
    wanted = [kind for kind in kinds if kind in ("text/csv", "application/json")]
    return wanted[:1] == ["text/csv"]


def _json(value: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json", headers=_PRIVATE)


def _csv(answer: Answer) -> web.Response:
    """The rows alone; what else the answer has to say stands in headers."""
    warnings = [
        f"{name}={warning['code']}" for name, warning in answer.meta.get("metric_warnings", {}).items()
    ]
    headers = {**_PRIVATE, "X-Headcount-Counted-From": answer.meta["counted_from"]}
    if warnings:
        headers["X-Headcount-Warnings"] = ", ".join(warnings)
    return web.Response(text=shape.to_csv(answer), content_type="text/csv", charset="utf-8", headers=headers)


_PRIVATE = {"Cache-Control": "no-store"}
