"""All routes, path first."""

from __future__ import annotations

from aiohttp import web

from headcount.web import collect, license, pages, sites, stats


def routes() -> list[web.RouteDef]:
    """What the server answers. `/api/event` and `/h.gif` are open; the rest of `/api` needs a token."""
    return [
        web.get("/", pages.welcome),
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
        web.post("/api/license/check", license.check),
        web.post("/api/license/dry-run", license.dry_run),
        web.get("/api/license/keys", license.key_set),
        web.get("/.well-known/jwks.json", license.jwks),
        web.get("/health/live", pages.live),
    ]
