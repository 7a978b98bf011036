"""The few answers that are not the API: the script and the front page."""

from __future__ import annotations

from aiohttp import web

from headcount.web import keys, script

_WELCOME = """Headcount counts visits here, and keeps nothing about the visitors.

Paste the tag of a site into its pages:  headcount site list
Read the figures:                        headcount stats DOMAIN
"""


async def newest_script(request: web.Request) -> web.Response:
    """`/h.js`: fresh for an hour, then asked for again by its ETag."""
    return _script(request, f"public, max-age={script.FRESH}")


async def pinned_script(request: web.Request) -> web.Response:
    """`/h.HASH.js`: only while HASH is that of the script we have."""
    if request.match_info["hash"] != request.app[keys.SCRIPT].hash:
        raise web.HTTPNotFound
    return _script(request, f"public, max-age={script.FOREVER}, immutable")


async def welcome(request: web.Request) -> web.Response:
    return web.Response(text=_WELCOME)


def _script(request: web.Request, caching: str) -> web.Response:
    found = request.app[keys.SCRIPT]
    headers = {
        "Cache-Control": caching,
        "ETag": found.etag,
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if any(etag.value in (found.hash, "*") for etag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = found.plain
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        body, headers["Content-Encoding"] = found.packed, "gzip"
    return web.Response(body=body, content_type="text/javascript", charset="utf-8", headers=headers)
