"""`/api/v1/licenses` and `/api/v1/instances`: the same as the command line does, for programs.

A key comes and goes in bodies alone, never in a URL.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from aiohttp.typedefs import Handler

from headcount import errors
from headcount.licensed import Instance
from headcount.licensing.transitions import Act
from headcount.services.instances import START, Place
from headcount.services.licenses import STAYS
from headcount.store.issued import License
from headcount.web.managing import Asked, managed, query
from headcount.wire import fields, license, paging, plan


@managed()
async def list_licenses(asked: Asked) -> object:
    request = asked.request
    filters = fields.read(license.Filters, query(request, *license.Filters.__struct_fields__))
    limit, after = paging.limit(request.query.get("limit")), request.query.get("after")
    first = 0 if after is None else paging.number(after)
    if first is None:
        raise paging.no_place()
    found = await asked.management.licenses.page(filters, limit + 1, first)
    now = asked.management.clock.now()
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"licenses": [shown(one, now) for one in found[:limit]], "next": more}


@managed(201)
async def issue(asked: Asked) -> object:
    given = fields.read(license.Fields, asked.given)
    names = plan.name("product", given.product), plan.name("plan", given.plan)
    key, found = await asked.management.licenses.issue(*names, given)
    return {"key": key, **_shown(asked, found)}


@managed()
async def find(asked: Asked) -> object:
    given = fields.read(license.Key, asked.given)
    return _shown(asked, await asked.management.licenses.find(license.key(given)))


@managed()
async def get_license(asked: Asked) -> object:
    return _shown(asked, await asked.management.licenses.get(asked.id()))


@managed()
async def set_license(asked: Asked) -> object:
    given = fields.read(license.Change, asked.given)
    return _shown(asked, await asked.management.licenses.set(asked.id(), given))


def act(what: Act) -> Handler:
    """Suspend, reinstate or revoke."""

    @managed()
    async def handler(asked: Asked) -> object:
        fields.read(license.Nothing, asked.given)
        return _shown(asked, await asked.management.licenses.act(asked.id(), what))

    return handler


@managed()
async def renew(asked: Asked) -> object:
    given = fields.read(license.Term, asked.given)
    return _shown(asked, await asked.management.licenses.renew(asked.id(), given))


@managed()
async def transfer(asked: Asked) -> object:
    given = fields.read(license.Customer, asked.given)
    return _shown(asked, await asked.management.licenses.transfer(asked.id(), given))


@managed()
async def release(asked: Asked) -> object:
    given = fields.read(license.Release, asked.given)
    freed = await asked.management.licenses.release(asked.id(), license.released(given))
    return {"released": freed}


@managed()
async def export(asked: Asked) -> object:
    return await asked.management.instances.export(asked.id())


@managed()
async def erase(asked: Asked) -> object:
    erased = await asked.management.licenses.erase(asked.id())
    return {"erased": {"licenses": 1, **erased._asdict()}, "stays": STAYS}


@managed()
async def write_file(asked: Asked) -> object:
    return await asked.management.offline.write(fields.read(license.Request, asked.given))


@managed()
async def list_instances(asked: Asked) -> object:
    request = asked.request
    given = query(request, "product", "license")
    limit = paging.limit(request.query.get("limit"))
    of = (paging.number(given["license"]) or 0) if "license" in given else None
    if len(given) == 2:
        raise errors.BadInput("license", "and product cannot be given together")
    found = await asked.management.instances.page(
        given.get("product"), of, limit + 1, _place(request.query.get("after"))
    )
    last = found[limit - 1] if len(found) > limit else None
    more = f"{last.license}-{last.digest.hex()}" if last is not None else None
    return {"instances": [instance_shown(one) for one in found[:limit]], "next": more}


@managed()
async def release_instance(asked: Asked) -> object:
    fields.read(license.Nothing, asked.given)
    instance = license.digest("instance", asked.named("instance"))
    return {"released": await asked.management.licenses.release(asked.id("license"), instance)}


def shown(found: License, now: datetime) -> dict[str, Any]:
    """A license as it is printed, without its key, which is not kept. The id is text, as JavaScript cuts numbers."""
    named = {"customer_name": found.customer_name, "customer_email": found.customer_email}
    return {
        "id": str(found.id),
        "product": found.product,
        "plan": found.plan,
        "status": found.status(now),
        "seats": found.seats,
        "seats_limit": found.seats_limit,
        "seats_used": found.used,
        "expires_at": msgspec.to_builtins(found.expires_at),
        "customer_ref": found.customer_ref,
        **(named if found.customer_fields else {}),
        "created_at": msgspec.to_builtins(found.created_at),
    }


def instance_shown(found: Instance) -> dict[str, Any]:
    """An install as it is printed: `instance` is the digest of its id."""
    described: dict[str, Any] = msgspec.to_builtins(found)
    del described["digest"]
    return {"instance": found.digest.hex(), **described, "license": str(found.license)}


def _shown(asked: Asked, found: License) -> dict[str, Any]:
    return shown(found, asked.management.clock.now())


def _place(after: str | None) -> Place:
    """Where a page begins. Raises BadInput."""
    if after is None:
        return START
    number, _, text = after.partition("-")
    of = paging.number(number)
    try:
        instance = license.digest("after", text)
    except errors.BadInput:
        of = None
    if of is None:
        raise paging.no_place()
    return Place(of, instance)
