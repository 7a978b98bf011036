"""The yardstick: an aiohttp handler that does nothing, on uvloop, on the socket it is given.

With a file, it writes the access log there that aiohttp writes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket

import uvloop
from aiohttp import web


async def nothing(request: web.Request) -> web.Response:
    return web.Response(text="ok", status=202)


async def main(descriptor: int, logs: bool) -> None:
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", nothing)])
    access_log = logging.getLogger("aiohttp.access") if logs else None
    runner = web.AppRunner(app, access_log=access_log)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=descriptor)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log")
    parser.add_argument("descriptor", type=int)
    given = parser.parse_args()
    if given.log:
        logging.basicConfig(level=logging.INFO, filename=given.log)
    uvloop.run(main(given.descriptor, bool(given.log)))
