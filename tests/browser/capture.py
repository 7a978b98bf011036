"""A website for a test, and the place its script posts to: serves what it is given, records what it is sent.

It listens on one port and answers under every name, so that one browser sees several sites.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import hdrs, web
from playwright.async_api import Page

SCRIPT = Path(__file__).parents[2] / "tracker" / "dist" / "h.js"
PATIENCE = 20.0
"""Seconds that anything may take. What is asserted never depends on how long it took."""


HIDDEN = """<script>
    let shown = false;
    Object.defineProperty(document, "hidden", {get: () => !shown});
    window.show = (now) => { shown = now; document.dispatchEvent(new Event("visibilitychange", {bubbles: true})); };
</script>"""
"""The head of a page in a tab that is hidden until it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request that the script made."""

    path: str
    host: str
    headers: dict[str, str]
    """With names in lower case."""
    body: dict[str, Any]


class Site:
    """The server. Its pages have the tag of `data-domain="localhost"` unless they are given as HTML."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.served: list[str] = []
        """The paths that were asked for."""
        self.preflights = 0
        self._pages: dict[str, str] = {}
        self._folders: dict[str, Path] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"http://{host}:{self.port}{path}"

    def tag(self, attributes: str = 'data-domain="localhost"', host: str = "count.example.com") -> str:
        """As a site owner pastes it: the script comes from another host than the page."""
        return f'<script defer src="{self.url("/h.js", host)}" {attributes}></script>'

    def page(
        self, path: str, body: str = "", attributes: str = 'data-domain="localhost"', head: str = ""
    ) -> None:
        """Serve a page with the tag at `path`, under every host."""
        self._pages[path] = _html(head + self.tag(attributes), body)

    def folder(self, prefix: str, folder: Path) -> None:
        """Serve the files of a folder under `prefix`."""
        self._folders[prefix] = folder

    def html(self, path: str, html: str) -> None:
        self._pages[path] = html

    def bodies(self, *names: str) -> list[dict[str, Any]]:
        """What was posted so far; only events of these names, if any are given."""
        return [post.body for post in self.posts if not names or post.body.get("n") in names]

    async def sent(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of this name, as soon as there are `count`."""
        await until(
            lambda: len(self.bodies(name)) >= count, lambda: f"{count} of {name!r} in {self.bodies()}"
        )
        return self.bodies(name)

    async def paths(self, count: int) -> list[str]:
        """The paths (and fragments) of the page views, as soon as there are `count`."""
        return [body["u"].removeprefix(self.url("")) for body in await self.sent("pageview", count)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == hdrs.METH_OPTIONS:
            self.preflights += 1
            return web.Response(status=403)
        if request.method == hdrs.METH_POST:
            return await self._record(request)
        self.served.append(request.path)
        if request.path == "/h.js":
            return web.FileResponse(SCRIPT)
        for prefix, folder in self._folders.items():
            file = folder / request.path.removeprefix(prefix)
            if request.path.startswith(prefix) and file.is_file():
                return web.FileResponse(file)
        html = self._pages.get(request.path) or self._pages.get("*") or _html("", "A page without the tag.")
        return web.Response(text=html, content_type="text/html")

    async def _record(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(await request.text())
        self.posts.append(Post(request.path, request.host.partition(":")[0], headers, body))
        return web.Response(text="ok", status=202, headers={"Access-Control-Allow-Origin": "*"})


async def looks(page: Page) -> None:
    """Let the script look twice: where nothing is to be sent, there is nothing to wait for."""
    await page.wait_for_timeout(600)


async def until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait for it; fails with what was waited for."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what()
        await asyncio.sleep(0.02)


def _html(head: str, body: str) -> str:
    return f'<!doctype html><meta charset="utf-8"><title>A page</title>{head}<body>{body}</body>'
