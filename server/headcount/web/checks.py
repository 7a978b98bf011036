"""`/api/license/…`: what self-hosted software asks. Open to all who hold a key; see docs/licenses.md."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from headcount import errors
from headcount.licensed import Heartbeat
from headcount.licensing import jws
from headcount.model import Ignored
from headcount.privacy import kept
from headcount.privacy.inventory.entry import INSTALL, RAW
from headcount.services.licenses import STAYS_FOR_THE_HOLDER
from headcount.web import answers, auth, keys
from headcount.web.body import read
from headcount.wire import check as wire


async def check(request: web.Request) -> web.Response:
    """The signed answer to a check; the edge takes most of them before."""
    hot = request.app[keys.HOT]
    try:
        body = await read(request)
    except errors.BadInput:
        request.app[keys.COLLECTOR].refuse(Ignored.LICENSE_INVALID)
        raise
    return answers.response(await hot.check(hot.client_of(request), body))


async def dry_run(request: web.Request) -> web.Response:
    """Exactly what a check would store. Nothing is stored."""
    hot = request.app[keys.HOT]
    client = hot.client_of(request)
    question = hot.question(client, await read(request), nonce=False)
    heartbeat = await request.app[keys.CHECKS].dry_run(question, client)
    return answers.json(shown(heartbeat, question.unknown))


async def release(request: web.Request) -> web.Response:
    """Free the seat of an install that ends: by its own id, or by its digest with the vendor's token."""
    holder = await _holder(request)
    if holder.instance is None:
        raise errors.BadInput("instance", "is required: whose seat to free")
    license = await request.app[keys.CHECKS].find(holder.key, holder.product)
    if holder.by_digest:
        auth.licenses_of(request, license.product)
    freed = await request.app[keys.MANAGEMENT].licenses.release(license.id, holder.instance)
    return answers.json({"released": bool(freed)})


async def about(request: web.Request) -> web.Response:
    """Everything that is kept for a key, with purpose and retention; as text, if that is asked for."""
    holder = await _holder(request)
    license = await request.app[keys.CHECKS].find(holder.key, holder.product)
    found = await request.app[keys.MANAGEMENT].instances.export(license.id)
    if request.headers.get("Accept", "").startswith("text/plain"):
        return web.Response(text=kept.as_text(found))
    return answers.json({**found, "why": kept.reasons()})


async def erase(request: web.Request) -> web.Response:
    """Delete what is kept of the installs of a key. What stays is named with its reason."""
    holder = await _holder(request)
    license = await request.app[keys.CHECKS].find(holder.key, holder.product)
    erased = await request.app[keys.MANAGEMENT].licenses.erase_installs(license.id)
    return answers.json({"erased": erased._asdict(), "stays": STAYS_FOR_THE_HOLDER})


async def key_set(request: web.Request) -> web.Response:
    """The keys of a product, signed by its root key."""
    name = wire.product_of({"product": request.query.get("product")})
    response = answers.json({"keys": request.app[keys.CHECKS].key_set(name)})
    response.headers["Cache-Control"] = "max-age=300"
    return response


async def jwks(request: web.Request) -> web.Response:
    """The keys that sign answers, of all products, as a JWK Set (RFC 7517, RFC 8037)."""
    found = request.app[keys.CHECKS].public_keys()
    return answers.json(
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": jws.ALGORITHM,
                    "use": "sig",
                    "kid": key.kid,
                    "x": jws.encode(key.public),
                }
                for key in found
            ]
        }
    )


async def _holder(request: web.Request) -> wire.Holder:
    hot = request.app[keys.HOT]
    return hot.holder(hot.client_of(request), await read(request))


def shown(heartbeat: Heartbeat, dropped: int) -> dict[str, Any]:
    """A heartbeat as it would be stored, place by place."""
    fields = msgspec.to_builtins(heartbeat, builtin_types=(bytes,))
    named = dict(zip(Heartbeat.__struct_fields__, fields[1:], strict=True))
    named["instance"] = heartbeat.instance.hex()
    named["license"] = str(heartbeat.license)
    named["product"] = str(heartbeat.product)
    for_a_while = {name: named.pop(name) for name in ("at", "network")}
    token = {name: named.pop(name) for name in ("chain", "generation", "random")}
    named["minute"] = heartbeat.at // 60_000 * 60
    if not heartbeat.license:
        return {"counted": {"status": heartbeat.status, "kept": "for good"}, "dropped_fields": dropped}
    return {
        "heartbeat": {"kept": RAW, **named},
        "install": {
            "kept": INSTALL,
            **{name: value for name, value in named.items() if name != "day"},
            "token": token,
        },
        "spool": {"kept": "seconds, until it is counted", **for_a_while},
        "sketches": {
            "kept": "until five minutes after the day has ended (UTC)",
            "of": ["instance", "network", "country"],
        },
        "dropped_fields": dropped,
    }
