"""Whether this process answers, and whether the node can be sent events. Open to all: it tells of no site."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from headcount.services.health import Verdict
from headcount.web import answers, keys


async def live(request: web.Request) -> web.Response:
    """This process answers."""
    return web.Response(text="ok\n")


async def ready(request: web.Request) -> web.Response:
    """200: events are kept, even if something needs a hand. 503: send them elsewhere."""
    health = await asyncio.to_thread(request.app[keys.EXAMINER].look)
    checks = {name.value: msgspec.to_builtins(finding) for name, finding in health.findings.items()}
    status = 503 if health.status is Verdict.FAILING else 200
    return answers.json({"status": health.status, "checks": checks}, status)
