"""All routes, path first."""

from __future__ import annotations

from aiohttp import web

from headcount.licensing.transitions import Act
from headcount.web import (
    checks,
    collect,
    health,
    licenses,
    metrics,
    middleware,
    openapi,
    pages,
    products,
    sites,
    stats,
)


def routes() -> list[web.RouteDef]:
    """What the server answers. `/api/event` and `/h.gif` are open; the rest of `/api` needs a token."""
    found = [
        web.get("/", pages.welcome),
        web.get("/openapi.json", openapi.serve),
        web.get("/h.js", pages.newest_script),
        web.get("/h.{hash:[0-9a-f]+}.js", pages.pinned_script),
        web.get("/h.gif", collect.pixel, allow_head=False),
        web.post("/api/event", collect.event),
        web.options("/api/event", collect.preflight),
        web.post("/api/v2/query", stats.query),
        web.get("/api/v2/realtime", stats.realtime),
        web.get("/api/v1/sites", sites.list_sites),
        web.post("/api/v1/sites", sites.add_site),
        web.get("/api/v1/sites/{domain}", sites.get_site),
        web.put("/api/v1/sites/{domain}", sites.set_site),
        web.delete("/api/v1/sites/{domain}", sites.delete_site),
        web.post("/api/v1/sites/{domain}/reset", sites.reset_site),
        web.get("/api/v1/tokens", sites.list_tokens),
        web.post("/api/v1/tokens", sites.add_token),
        web.delete("/api/v1/tokens/{id}", sites.delete_token),
        web.post("/api/license/check", checks.check),
        web.post("/api/license/dry-run", checks.dry_run),
        web.post("/api/license/release", checks.release),
        web.post("/api/license/about", checks.about),
        web.post("/api/license/erase", checks.erase),
        web.get("/api/license/keys", checks.key_set),
        web.get("/.well-known/jwks.json", checks.jwks),
        web.get("/api/v1/products", products.list_products),
        web.post("/api/v1/products", products.add_product),
        web.get("/api/v1/products/{name}", products.get_product),
        web.put("/api/v1/products/{name}", products.set_product),
        web.post("/api/v1/products/{name}/rotate-key", products.rotate_key),
        web.get("/api/v1/products/{name}/releases", products.list_releases),
        web.post("/api/v1/products/{name}/releases", products.add_release),
        web.delete("/api/v1/products/{name}/releases/{channel}/{version}", products.withdraw_release),
        web.get("/api/v1/plans", products.list_plans),
        web.post("/api/v1/plans", products.add_plan),
        web.get("/api/v1/plans/{id}", products.get_plan),
        web.put("/api/v1/plans/{id}", products.set_plan),
        web.get("/api/v1/licenses", licenses.list_licenses),
        web.post("/api/v1/licenses", licenses.issue),
        web.post("/api/v1/licenses/find", licenses.find),
        web.post("/api/v1/licenses/file", licenses.write_file),
        web.get("/api/v1/licenses/{id}", licenses.get_license),
        web.put("/api/v1/licenses/{id}", licenses.set_license),
        web.delete("/api/v1/licenses/{id}", licenses.erase),
        web.post("/api/v1/licenses/{id}/suspend", licenses.act(Act.SUSPEND)),
        web.post("/api/v1/licenses/{id}/reinstate", licenses.act(Act.REINSTATE)),
        web.post("/api/v1/licenses/{id}/revoke", licenses.act(Act.REVOKE)),
        web.post("/api/v1/licenses/{id}/renew", licenses.renew),
        web.post("/api/v1/licenses/{id}/transfer", licenses.transfer),
        web.post("/api/v1/licenses/{id}/release", licenses.release),
        web.get("/api/v1/licenses/{id}/export", licenses.export),
        web.get("/api/v1/instances", licenses.list_instances),
        web.post("/api/v1/instances/{license}/{instance}/release", licenses.release_instance),
        web.get("/health/live", health.live),
        web.get("/health/ready", health.ready),
        web.get("/metrics", metrics.metrics),
    ]
    for route in found:
        route.kwargs["expect_handler"] = middleware.ask_for_body
    return found
