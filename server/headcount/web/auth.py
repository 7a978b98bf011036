"""Who may do what: a token in `Authorization: Bearer`, looked up in the local copy."""

from __future__ import annotations

from aiohttp import web

from headcount import errors
from headcount.licensed import Product
from headcount.model import Scope, Site, Token
from headcount.web import keys
from headcount.web.bearer import token_of


def require(request: web.Request, scope: Scope) -> Token:
    """The token of the request, which must have this scope. Raises NotAllowed."""
    token = token_of(request.headers, request.app[keys.SETTINGS])
    if token is None:
        raise errors.NotAllowed("authorization", f"a token of scope {scope} is required")
    if scope not in token.scopes:
        raise errors.NotAllowed("authorization", f"the token has no scope {scope}")
    return token


def site_for(request: web.Request, token: Token, site_id: str) -> Site:
    """The site that is asked about, if the token may. Raises NotAllowed and NotFound."""
    site = request.app[keys.SETTINGS].site(site_id)
    if token.product_id is not None:
        raise errors.NotAllowed("site_id", "the token is for one product, not for sites")
    if token.site_id is not None and (site is None or site.id != token.site_id):
        raise errors.NotAllowed("site_id", "the token is for another site")
    if site is None:
        raise errors.NotFound("site_id", "there is no such site")
    return site


def licenses_of(request: web.Request, product_id: int) -> None:
    """Raises NotAllowed unless the request has a token for the licenses of this product."""
    token = require(request, Scope.LICENSES_WRITE)
    if token.product_id not in (None, product_id):
        raise errors.NotAllowed("authorization", "the token is for another product")


def product_for(request: web.Request, token: Token, name: str) -> Product:
    """The product that a question names, if the token may ask. Raises NotAllowed and NotFound."""
    product = request.app[keys.SETTINGS].product(name)
    if token.site_id is not None:
        raise errors.NotAllowed("site_id", "the token is for one site, not for products")
    if token.product_id is not None and (product is None or product.id != token.product_id):
        raise errors.NotAllowed("site_id", "the token is for another product")
    if product is None:
        raise errors.NotFound("site_id", "there is no such product")
    return product
