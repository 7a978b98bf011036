"""The yardstick: an aiohttp handler that does nothing, on uvloop, on the socket it is given."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop
from aiohttp import web


async def nothing(request: web.Request) -> web.Response:
    return web.Response(text="ok", status=202)


async def main(descriptor: int) -> None:
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", nothing)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=descriptor)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
