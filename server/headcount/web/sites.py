"""`/api/v1/sites` and `/api/v1/tokens`: the same as the command line does, for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from headcount import errors
from headcount.model import Scope, Site, Token
from headcount.store.settings import SettingsFile
from headcount.web import answers, auth, keys, script
from headcount.web.body import read
from headcount.wire import json
from headcount.wire import site as wire
from headcount.wire.site import plain_domain

SEEN_WITHIN = 2.0
"""Seconds that a change is waited for, until this worker knows it too."""


async def list_sites(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    found = await request.app[keys.SITES].all()
    return answers.json({"sites": [_shown(request, site) for site in found]})


async def add_site(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    site = await request.app[keys.SITES].add(wire.parse(await read(request)))
    await _seen(request, site)
    return answers.json(_shown(request, site), 201)


async def get_site(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    return answers.json(_shown(request, await request.app[keys.SITES].find(request.match_info["domain"])))


async def set_site(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    fields = wire.parse(await read(request))
    site = await request.app[keys.SITES].set(request.match_info["domain"], fields)
    await _seen(request, site)
    return answers.json(_shown(request, site))


async def reset_site(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    site = await request.app[keys.SITES].reset(request.match_info["domain"])
    await _seen(request, site)
    return answers.json(_shown(request, site))


async def delete_site(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    domain = plain_domain(request.match_info["domain"])
    await request.app[keys.SITES].delete(domain)
    await until(request, lambda settings: settings.site(domain) is None)
    return web.Response(status=204)


async def list_tokens(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    sites = request.app[keys.SITES]
    names = await sites.names()
    return answers.json({"tokens": [token_shown(token, names) for token in await sites.tokens()]})


async def add_token(request: web.Request) -> web.Response:
    """A token for one site, or for all; it cannot have a scope that the asking token has not."""
    own = auth.require(request, Scope.SITES_WRITE)
    asked = token_fields(json.decode(await read(request), wire.MAX_BODY))
    beyond = [scope for scope in asked.scopes if scope not in own.scopes]
    if beyond:
        raise errors.NotAllowed("scopes", f"the asking token has no scope {beyond[0]}")
    sites = request.app[keys.SITES]
    text, token = await sites.add_token(asked.site, asked.scopes, asked.product)
    await until(request, lambda settings: token in settings.tokens)
    return answers.json({"token": text, **token_shown(token, await sites.names())}, 201)


async def delete_token(request: web.Request) -> web.Response:
    auth.require(request, Scope.SITES_WRITE)
    text = request.match_info["id"]
    id = int(text) if text.isdecimal() and len(text) < 20 else 0
    await request.app[keys.SITES].delete_token(id)
    await until(request, lambda settings: all(token.id != id for token in settings.tokens))
    return web.Response(status=204)


class TokenFields(NamedTuple):
    """What a new token is asked for."""

    site: str | None
    product: str | None
    scopes: tuple[Scope, ...]


def token_fields(given: Any) -> TokenFields:
    """The site or product, and the scopes, that a new token is asked for. Raises BadInput."""
    if not isinstance(given, dict):
        raise errors.BadInput("body", "must be a JSON object")
    if unknown := sorted(given.keys() - set(TokenFields._fields)):
        raise errors.BadInput(str(unknown[0])[:100], f"there is only {', '.join(TokenFields._fields)}")
    site, product = given.get("site"), given.get("product")
    scopes = given.get("scopes", [Scope.STATS_READ])
    if site is not None and not isinstance(site, str):
        raise errors.BadInput("site", "must be the domain of a site, or null for all")
    if product is not None and not isinstance(product, str):
        raise errors.BadInput("product", "must be the name of a product, or null for all")
    if not isinstance(scopes, list) or not all(scope in list(Scope) for scope in scopes):
        raise errors.BadInput("scopes", f"must be a list of {', '.join(Scope)}")
    return TokenFields(
        None if site is None else plain_domain(site), product, tuple(dict.fromkeys(map(Scope, scopes)))
    )


def token_shown(token: Token, names: Mapping[int, str]) -> dict[str, Any]:
    """A token as it is listed: not the token itself. The id is text, as JavaScript cuts long numbers.

    `names`: of sites and products, by their ids.
    """
    return {
        "id": str(token.id),
        "site": names.get(token.site_id) if token.site_id is not None else None,
        "product": names.get(token.product_id) if token.product_id is not None else None,
        "scopes": list(token.scopes),
    }


def _shown(request: web.Request, site: Site) -> dict[str, Any]:
    return {**shown(site), "tag": script.tag(request.app[keys.CONFIG].origin, site.domain)}


def shown(site: Site) -> dict[str, Any]:
    """A site as it is printed: everything but its inner number."""
    fields: dict[str, Any] = msgspec.to_builtins(site)
    del fields["id"]
    return fields


async def _seen(request: web.Request, site: Site) -> None:
    """Wait until this worker collects for the site as it is now."""
    await until(request, lambda settings: settings.site(site.domain) == site)


async def until(request: web.Request, true: Callable[[SettingsFile], bool]) -> None:
    """Wait until it is true of the local copy, which the rollup writes; without a rollup only for a while."""
    settings = request.app[keys.SETTINGS]
    for _ in range(int(SEEN_WITHIN / 0.05)):
        settings.refresh()
        if true(settings):
            return
        await asyncio.sleep(0.05)
