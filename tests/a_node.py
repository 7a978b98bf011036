"""One node on one data directory, driven step by step."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import make_hits as make
from headcount.jobs import drain
from headcount.model import Hit, Settings
from headcount.store import figures, spool
from headcount.store.counters import Counters
from headcount.store.heartbeats import Heartbeats
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.store.state import State

numbers = itertools.count(1000)


class Node:
    """One node on one data directory; `engine` may be thrown away and opened again, as after a kill."""

    def __init__(self, folder: Path, dsn: str, max_values: int = 10_000) -> None:
        self.max_values = max_values
        self.folder = folder
        self.clock = make.Hands()
        self.dsn = dsn
        self.database = Database(lambda: self.dsn)
        self.settings = SettingsFile(folder / "settings.msgpack")
        self.open()

    def open(self) -> None:
        self.settings.refresh()
        self.state = State(self.folder / "state.db")
        self.heartbeats = Heartbeats(self.database)
        self.counters = Counters(self.database, self.heartbeats)
        self.engine = drain.Drain(
            self.state,
            self.counters,
            self.settings,
            self.folder / "spool",
            self.clock,
            self.max_values,
            1 << 30,
            numbers.__next__,
            figures.Figures(),
        )

    def reopen(self) -> None:
        self.engine.close()
        self.open()

    async def receive(self, hits: Sequence[Hit]) -> None:
        """One commit with these events."""
        async with spool.Spool(self.folder / "spool", 1 << 30, self.clock.milliseconds) as mine:
            await mine.append(hits)

    async def take(self) -> None:
        while await self.engine.take() or not self.engine.caught_up:
            pass

    async def all(self) -> None:
        await self.take()
        while await self.engine.send():
            pass


@asynccontextmanager
async def a_node(folder: Path, dsn: str, *sites: Any, max_values: int = 10_000) -> AsyncIterator[Node]:
    SettingsFile(folder / "settings.msgpack").write(Settings(list(sites) or [make.site()]))
    node = Node(folder, dsn, max_values)
    try:
        yield node
    finally:
        node.engine.close()
        await node.database.close()
