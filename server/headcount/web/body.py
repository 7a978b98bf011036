"""The body of a request. What is wrong with it is the client's fault, and said like every other fault."""

from __future__ import annotations

import asyncio

from aiohttp import web

from headcount import errors

PATIENCE = 30.0
"""Seconds until a body has to be there."""


async def read(request: web.Request) -> bytes:
    """The whole body. Raises TooLarge past the server's limit, BadInput if it is late or not as its headers say."""
    try:
        if request.content.is_eof():  # it is there: no timer, which would be a tenth of a small request
            return await request.read()
        async with asyncio.timeout(PATIENCE):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.TooLarge("body", f"has at most {request.client_max_size} bytes") from None
    except web.RequestPayloadError:
        raise errors.BadInput(
            "body", "is not encoded as Content-Encoding and Transfer-Encoding say"
        ) from None
    except TimeoutError:
        raise errors.BadInput("body", f"did not arrive within {PATIENCE:.0f} seconds") from None
