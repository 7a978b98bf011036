"""What the handlers of products and licenses share: the token, the body, an Idempotency-Key, pages of a list."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from headcount import errors
from headcount.model import Scope, Token
from headcount.services.management import Management
from headcount.store.postgres import Database
from headcount.web import auth, keys
from headcount.web.body import read
from headcount.web.sites import until
from headcount.wire import json, paging

MAX_BODY = 32 << 10
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
"""Says that the answer is the one that an earlier request got."""


class Asked(NamedTuple):
    """What a vendor asks for, with services that see what the token may see."""

    request: web.Request
    given: Any
    """The JSON of the body; an empty object where there is none."""
    management: Management

    def named(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def id(self, name: str = "id") -> int:
        """An id in the path; 0, which nothing has, for what is none."""
        return paging.number(self.named(name)) or 0


Work = Callable[[Asked], Awaitable[object]]
"""Does what is asked for and gives the JSON of the answer."""


def managed(status: int = 200, *, settles: bool = False) -> Callable[[Work], Handler]:
    """A handler for tokens of scope licenses:write; a POST with an Idempotency-Key is carried out once.

    `settles`: wait after it until this worker knows the products as they are now.
    """

    def decorate(act: Work) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            token = auth.require(request, Scope.LICENSES_WRITE)
            body = await read(request)
            given = json.decode(body, MAX_BODY) if body else {}
            limited = request.app[keys.MANAGEMENT].limited

            async def work(database: Database | None = None) -> bytes:
                return orjson.dumps(await act(Asked(request, given, limited(token.product_id, database))))

            made, again = await _once(request, token, body, work)
            if settles and not again:
                await _settled(request, limited(token.product_id))
            response = web.Response(body=made, status=status, content_type="application/json")
            if again:
                response.headers[REPLAYED] = "true"
            return response

        return handler

    return decorate


async def _once(
    request: web.Request, token: Token, body: bytes, work: Callable[[Database | None], Awaitable[bytes]]
) -> tuple[bytes, bool]:
    """The answer, and whether it is that to an earlier request of the same Idempotency-Key."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return await work(None), False
    whole = b"".join(
        struct.pack(">I", len(part)) + part
        for part in (request.method.encode(), request.raw_path.encode(), body)
    )
    return await request.app[keys.MANAGEMENT].idempotency.once(token.id, key, whole, work)


async def _settled(request: web.Request, management: Management) -> None:
    products = await management.products.all()
    await until(request, lambda settings: all(settings.product(one.name) == one for one in products))


def query(request: web.Request, *names: str) -> dict[str, str]:
    """The parameters of a list but for `limit` and `after`. Raises BadInput for others than these names."""
    given = {name: text for name, text in request.query.items() if name not in ("limit", "after")}
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise errors.BadInput(unknown[0][:100], f"there is only {', '.join((*names, 'limit', 'after'))}")
    return given
