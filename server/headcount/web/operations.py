"""What each route takes and answers; a test compares it with `routes.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

from headcount.model import Scope
from headcount.services import idempotency
from headcount.web import managing
from headcount.wire import license, paging, plan, product, release, schemas, site
from headcount.wire.schema import Schema, array, fields, maybe, record, reference, text, whole, word

BODIES: dict[str, Schema] = {
    "Event": schemas.event(),
    **schemas.questions(),
    "LicenseCheck": schemas.question(),
    "LicenseDryRun": schemas.question(nonce=False),
    "LicenseHolder": schemas.holder(),
    "LicenseSeat": schemas.holder(install=True),
    "NewSite": fields(site.Fields, "domain"),
    "SiteChange": fields(site.Fields),
    "TokenFields": record(
        {"site": maybe(text()), "product": maybe(text()), "scopes": array(word(Scope), 1)},
    ),
    "NewProduct": fields(product.Fields, "name", name=schemas.product(), plan=fields(plan.Fields, "name")),
    "ProductChange": fields(product.Change, "customer_fields"),
    "Rotation": fields(product.Rotation),
    "NewRelease": fields(release.Fields, "version"),
    "NewPlan": fields(plan.Fields, "product", "name"),
    "PlanChange": fields(plan.Fields),
    "NewLicense": fields(license.Fields, "product", "plan"),
    "LicenseChange": fields(license.Change),
    "LicenseKey": fields(license.Key, "key"),
    "LicenseTerm": fields(license.Term),
    "Customer": fields(license.Customer, "customer_ref"),
    "SeatRelease": fields(license.Release),
    "LicenseRequest": fields(license.Request, "product", "key_digest", "instance_digest"),
    "Nothing": fields(license.Nothing),
}
"""Schemas of bodies."""


class Operation(NamedTuple):
    """One method of one path."""

    summary: str
    answers: dict[int, Schema]
    faults: frozenset[int]
    """Statuses of errors, all of one shape."""
    body: str | None = None
    """The name of its schema."""
    needs_body: bool = True
    scope: Scope | None = None
    """What a token must be allowed."""
    open: bool = False
    """Whether it can be done without a token too."""
    parameters: tuple[Schema, ...] = ()


def _answer(schema: str, description: str = "Done.", **more: Any) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": reference(schema)}},
        **more,
    }


def _other(kind: str, description: str, **more: Any) -> Schema:
    return {"description": description, "content": {kind: {"schema": {"type": "string"}}}, **more}


def _header(description: str) -> Schema:
    return {"description": description, "schema": {"type": "string"}}


def _query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


_BODY = {400, 413, 417}
_TOKEN = {401, 503}
_IGNORED = {
    "X-Headcount-Ignored": _header("Why events were not counted, and how many: `reason=n, …`."),
    "x-plausible-dropped": _header("How many events were not counted."),
}
_ONCE: Schema = {
    "name": managing.HEADER,
    "in": "header",
    "description": "A request is carried out once; the same with the same key gets the first answer again.",
    "schema": text(1, idempotency.MAX_LENGTH, r"^[!-~](?:[ -~]*[!-~])?$"),
}
_REPLAYED = {managing.REPLAYED: _header("Says that it is the answer that an earlier request got.")}
_PAGES = (
    _query("limit", whole(1, paging.MAX_LIMIT) | {"default": paging.LIMIT}),
    _query("after", text(1) | {"description": "The `next` of the page before."}),
)
_DOWN = frozenset({503})
_CACHED: Schema = {"description": "It has not changed."}


def _managed(
    method: str,
    summary: str,
    answer: str,
    body: str | None = None,
    *faults: int,
    status: int = 200,
    needs_body: bool = True,
    parameters: tuple[Schema, ...] = (),
) -> Operation:
    """What a vendor does, with a token of scope licenses:write."""
    posted = method == "POST"
    return Operation(
        summary,
        {status: _answer(answer, headers=_REPLAYED) if posted else _answer(answer)},
        frozenset(_BODY | _TOKEN | {404} | ({409} if posted else set()) | set(faults)),
        body,
        needs_body,
        Scope.LICENSES_WRITE,
        parameters=(*parameters, *((_ONCE,) if posted else ())),
    )


def _sites(
    summary: str, answers: dict[int, Schema], *faults: int, body: str | None = None, needs_body: bool = True
) -> Operation:
    """What an operator does, with a token of scope sites:write."""
    known = frozenset(_TOKEN | {417} | set(faults) | (_BODY if body else set()))
    return Operation(summary, answers, known, body, needs_body, Scope.SITES_WRITE)


def _asked_by_install(summary: str, answer: Schema, body: str, *faults: int) -> Operation:
    """What an install asks, with its license key."""
    return Operation(summary, {200: answer}, frozenset(_BODY | {404, 429, 503} | set(faults)), body)


def _page(summary: str, answer: Schema, *faults: int, **more: Any) -> Operation:
    return Operation(summary, {200: answer}, frozenset({417, *faults}), **more)


_GONE: dict[int, Schema] = {204: {"description": "It is gone."}}
_SCRIPT = _other("text/javascript", "The script.")
_PRODUCT = _query("product", schemas.product())

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/"): _page("A welcome", _other("text/plain", "What to do next.")),
    ("GET", "/openapi.json"): _page(
        "This description",
        {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
    ),
    ("GET", "/h.js"): Operation("The script", {200: _SCRIPT, 304: _CACHED}, frozenset({417})),
    ("GET", "/h.{hash}.js"): Operation(
        "The script under a name that never changes its content",
        {200: _SCRIPT, 304: _CACHED},
        frozenset({404, 417}),
    ),
    ("GET", "/h.gif"): Operation(
        "A page view without JavaScript",
        {200: {"description": "One pixel.", "content": {"image/gif": {}}, "headers": _IGNORED}},
        frozenset({400, 401, 417, 429, 503}),
        scope=Scope.EVENTS_WRITE,
        open=True,
        parameters=(
            _query("d", text() | {"description": "The site; else the host of the URL."}),
            _query("u", text() | {"description": "The page; else the Referer header."}),
            _query("r", text() | {"description": "Where the visitor came from."}),
        ),
    ),
    ("POST", "/api/event"): Operation(
        "Page views and events",
        {202: _other("text/plain", "They are on the disk.", headers=_IGNORED)},
        frozenset(_BODY | {401, 429, 503}),
        "Event",
        scope=Scope.EVENTS_WRITE,
        open=True,
    ),
    ("OPTIONS", "/api/event"): Operation(
        "What browsers ask before they post", {204: {"description": "They may."}}, frozenset({417})
    ),
    ("POST", "/api/v2/query"): Operation(
        "Figures of a site or a product",
        {
            200: {
                "description": "Rows, and what to know of them; as CSV, if `Accept` says so.",
                "content": {
                    "application/json": {"schema": reference("Figures")},
                    "text/csv": {"schema": {"type": "string"}},
                },
            }
        },
        frozenset(_BODY | _TOKEN | {404}),
        "Query",
        scope=Scope.STATS_READ,
    ),
    ("GET", "/api/v2/realtime"): Operation(
        "What happens on a site now",
        {200: _answer("Realtime")},
        frozenset(_TOKEN | {400, 404, 417}),
        scope=Scope.STATS_READ,
        parameters=(_query("site_id", schemas.site_id(), required=True),),
    ),
    ("GET", "/api/v1/sites"): _sites("All sites", {200: _answer("Sites")}),
    ("POST", "/api/v1/sites"): _sites("Add a site", {201: _answer("Site")}, 409, body="NewSite"),
    ("GET", "/api/v1/sites/{domain}"): _sites("A site", {200: _answer("Site")}, 404),
    ("PUT", "/api/v1/sites/{domain}"): _sites(
        "Change the fields of a site that are given", {200: _answer("Site")}, 404, 409, body="SiteChange"
    ),
    ("DELETE", "/api/v1/sites/{domain}"): _sites("Delete a site, with every row of it", _GONE, 404),
    ("POST", "/api/v1/sites/{domain}/reset"): _sites("Forget what was counted", {200: _answer("Site")}, 404),
    ("GET", "/api/v1/tokens"): _sites("All tokens", {200: _answer("Tokens")}),
    ("POST", "/api/v1/tokens"): _sites(
        "Make a token; it is shown this once", {201: _answer("NewToken")}, 404, body="TokenFields"
    ),
    ("DELETE", "/api/v1/tokens/{id}"): _sites("Revoke a token", _GONE, 404),
    ("POST", "/api/license/check"): _asked_by_install(
        "Whether a license is good; also the heartbeat",
        _answer("Checked", "The signed answer."),
        "LicenseCheck",
    ),
    ("POST", "/api/license/dry-run"): _asked_by_install(
        "What a check would store", _answer("DryRun", "Field by field."), "LicenseDryRun"
    ),
    ("POST", "/api/license/release"): _asked_by_install(
        "Free the seat of an install", _answer("Freed"), "LicenseSeat", 401
    ),
    ("POST", "/api/license/about"): _asked_by_install(
        "What is kept for a key",
        {
            "description": "All of it; as text, if `Accept` says so.",
            "content": {
                "application/json": {"schema": reference("Kept")},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        "LicenseHolder",
    ),
    ("POST", "/api/license/erase"): _asked_by_install(
        "Delete what is kept of the installs of a key", _answer("Forgotten"), "LicenseHolder"
    ),
    ("GET", "/api/license/keys"): _page(
        "The keys of a product, signed by its root key",
        _answer("KeySet"),
        400,
        404,
        parameters=(_query("product", schemas.product(), required=True),),
    ),
    ("GET", "/.well-known/jwks.json"): _page("The public keys of all products", _answer("PublicKeys")),
    ("GET", "/api/v1/products"): _managed("GET", "All products", "Products"),
    ("POST", "/api/v1/products"): _managed("POST", "Add a product", "Product", "NewProduct", status=201),
    ("GET", "/api/v1/products/{name}"): _managed("GET", "A product", "Product"),
    ("PUT", "/api/v1/products/{name}"): _managed("PUT", "Change a product", "SetProduct", "ProductChange"),
    ("POST", "/api/v1/products/{name}/rotate-key"): _managed(
        "POST", "Sign with new keys from now on", "Product", "Rotation", needs_body=False
    ),
    ("GET", "/api/v1/products/{name}/releases"): _managed("GET", "The releases of a product", "Releases"),
    ("POST", "/api/v1/products/{name}/releases"): _managed(
        "POST", "Tell installs about a version", "Release", "NewRelease", status=201
    ),
    ("DELETE", "/api/v1/products/{name}/releases/{channel}/{version}"): _managed(
        "DELETE", "Tell installs about a version no longer", "Withdrawn"
    ),
    ("GET", "/api/v1/plans"): _managed("GET", "Plans", "Plans", parameters=(_PRODUCT,)),
    ("POST", "/api/v1/plans"): _managed("POST", "Add a plan", "Plan", "NewPlan", status=201),
    ("GET", "/api/v1/plans/{id}"): _managed("GET", "A plan", "Plan"),
    ("PUT", "/api/v1/plans/{id}"): _managed(
        "PUT", "Change the fields of a plan that are given", "Plan", "PlanChange", needs_body=False
    ),
    ("GET", "/api/v1/licenses"): _managed(
        "GET",
        "Licenses",
        "Licenses",
        parameters=(
            *(_query(name, text()) for name in ("product", "plan", "customer_ref")),
            _query("status", word(license.STATUSES)),
            *_PAGES,
        ),
    ),
    ("POST", "/api/v1/licenses"): _managed(
        "POST", "Issue a license; its key is shown this once", "IssuedLicense", "NewLicense", status=201
    ),
    ("POST", "/api/v1/licenses/find"): _managed("POST", "The license of a key", "License", "LicenseKey"),
    ("POST", "/api/v1/licenses/file"): _managed(
        "POST", "A license file for an install without a network", "LicenseFile", "LicenseRequest"
    ),
    ("GET", "/api/v1/licenses/{id}"): _managed("GET", "A license", "License"),
    ("PUT", "/api/v1/licenses/{id}"): _managed(
        "PUT",
        "Change the fields of a license that are given",
        "License",
        "LicenseChange",
        409,
        needs_body=False,
    ),
    ("DELETE", "/api/v1/licenses/{id}"): _managed("DELETE", "Erase a license and its installs", "Erased"),
    **{
        ("POST", f"/api/v1/licenses/{{id}}/{act}"): _managed(
            "POST", f"{act.title()} a license", "License", "Nothing", needs_body=False
        )
        for act in ("suspend", "reinstate", "revoke")
    },
    ("POST", "/api/v1/licenses/{id}/renew"): _managed(
        "POST", "Let it end later, or never", "License", "LicenseTerm"
    ),
    ("POST", "/api/v1/licenses/{id}/transfer"): _managed(
        "POST", "Give it to another customer", "License", "Customer"
    ),
    ("POST", "/api/v1/licenses/{id}/release"): _managed(
        "POST", "Free the seat of an install, or all", "Released", "SeatRelease"
    ),
    ("GET", "/api/v1/licenses/{id}/export"): _managed("GET", "All that is kept of a license", "Export"),
    ("GET", "/api/v1/instances"): _managed(
        "GET",
        "Installs of a license or a product",
        "Instances",
        parameters=(_PRODUCT, _query("license", text(1)), *_PAGES),
    ),
    ("POST", "/api/v1/instances/{license}/{instance}/release"): _managed(
        "POST", "Free the seat of an install", "Released", "Nothing", needs_body=False
    ),
    ("GET", "/health/live"): _page("Whether this process answers", _other("text/plain", "It does.")),
    ("GET", "/health/ready"): Operation(
        "Whether events are kept, and what each check says",
        {
            200: _answer("Health", "They are, even if something needs a hand."),
            503: _answer("Health", "They are not: send them elsewhere."),
        },
        frozenset({417}),
    ),
    ("GET", "/metrics"): _page(
        "Figures for Prometheus", _other("text/plain", "To this machine, or a token alone."), 401
    ),
}
