"""`/api/v1/products` and `/api/v1/plans`: the same as the command line does, for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from headcount import errors
from headcount.licensed import Plan, Release, SigningKey
from headcount.licensing import jws
from headcount.services.products import Products
from headcount.store.products import Sold
from headcount.web.managing import Asked, managed, query
from headcount.wire import fields, plan, product, release


@managed()
async def list_products(asked: Asked) -> object:
    query(asked.request)
    return {"products": [shown(sold) for sold in await asked.management.products.sold()]}


@managed(201, settles=True)
async def add_product(asked: Asked) -> object:
    given = fields.read(product.Fields, asked.given)
    return shown(await add(asked.management.products, given))


@managed()
async def get_product(asked: Asked) -> object:
    return shown(await asked.management.products.find(asked.named("name")))


@managed(settles=True)
async def set_product(asked: Asked) -> object:
    given = fields.read(product.Change, asked.given)
    name, products = asked.named("name"), asked.management.products
    emptied = await products.set(name, customer_fields=product.customer_fields(given))
    return {**shown(await products.find(name)), "emptied": emptied}


@managed(settles=True)
async def rotate_key(asked: Asked) -> object:
    given = fields.read(product.Rotation, asked.given)
    name, products = asked.named("name"), asked.management.products
    await products.rotate_key(name, given.overlap_days, at_once=given.now)
    return shown(await products.find(name))


@managed()
async def list_releases(asked: Asked) -> object:
    sold = await asked.management.products.find(asked.named("name"))
    return {"releases": [release_shown(one) for one in sold.product.releases]}


@managed(201, settles=True)
async def add_release(asked: Asked) -> object:
    given = fields.read(release.Fields, asked.given)
    return release_shown(await asked.management.products.release(asked.named("name"), given))


@managed(settles=True)
async def withdraw_release(asked: Asked) -> object:
    place = asked.named("name"), asked.named("channel"), asked.named("version")
    await asked.management.products.withdraw(*place)
    return {"channel": place[1], "version": place[2], "withdrawn": True}


@managed()
async def list_plans(asked: Asked) -> object:
    wanted = query(asked.request, "product").get("product")
    products = asked.management.products
    found = await products.sold() if wanted is None else [await products.find(wanted)]
    return {"plans": [plan_shown(sold.product.name, one) for sold in found for one in sold.product.plans]}


@managed(201, settles=True)
async def add_plan(asked: Asked) -> object:
    given = fields.read(plan.Fields, asked.given)
    of = plan.name("product", given.product)
    return plan_shown(of, await asked.management.products.add_plan(of, given))


@managed()
async def get_plan(asked: Asked) -> object:
    return plan_shown(*await asked.management.products.plan(asked.id()))


@managed(settles=True)
async def set_plan(asked: Asked) -> object:
    given = fields.read(plan.Fields, asked.given)
    products = asked.management.products
    of, old = await products.plan(asked.id())
    if given.product not in (UNSET, of):
        raise errors.BadInput("product", "of a plan cannot be changed")
    return plan_shown(of, await products.set_plan(of, old.name, given))


async def add(products: Products, given: product.Fields) -> Sold:
    """A new product as it was asked for. Raises BadInput and Conflict."""
    name = plan.name("name", given.name)
    first = None if given.plan is UNSET else plan_fields(given.plan)
    await products.add(name, customer_fields=given.customer_fields, plan=first)
    return await products.find(name)


def plan_fields(given: Any) -> plan.Fields:
    """The fields of a first plan. An error names the field within it."""
    try:
        return fields.read(plan.Fields, given)
    except errors.BadInput as error:
        raise errors.BadInput("plan" if error.field == "body" else error.field, error.message) from None


def shown(sold: Sold) -> dict[str, Any]:
    """A product as it is printed: everything but its inner number and private halves."""
    found = sold.product
    return {
        "name": found.name,
        "root_key": jws.encode(found.root),
        "customer_fields": sold.customer_fields,
        "created_at": msgspec.to_builtins(sold.created_at),
        "keys": [_key_shown(key) for key in found.keys],
        "plans": [plan_shown(found.name, one) for one in found.plans],
        "releases": [release_shown(one) for one in found.releases],
    }


def plan_shown(of: str, found: Plan) -> dict[str, Any]:
    """A plan as it is printed. The id is text, as JavaScript cuts long numbers."""
    return {**msgspec.to_builtins(found), "id": str(found.id), "product": of}


def release_shown(found: Release) -> dict[str, Any]:
    described: dict[str, Any] = msgspec.to_builtins(found)
    return described


def _key_shown(key: SigningKey) -> dict[str, Any]:
    until = key.not_after
    return {
        "kid": key.kid,
        "use": key.use,
        "not_before": _moment(key.not_before),
        "not_after": None if until is None else _moment(until),
    }


def _moment(seconds: int) -> str:
    text: str = msgspec.to_builtins(datetime.fromtimestamp(seconds, UTC))
    return text
