"""Faults under load: whatever is killed and whenever, what was acknowledged is counted, and counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from acceptance import ledger
from acceptance.ledger import Ledger, Load
from acceptance.server import Server

pytestmark = pytest.mark.timeout(240)


async def test_without_a_fault_all_that_was_sent_is_counted(place: Path) -> None:
    async with Server(place, **ledger.SETTINGS) as server:
        await server.start()
        sent = Ledger()
        async with Load(server, sent, rate=0) as load:
            await load.acknowledges(500)
        await ledger.drained(server)
        print(await ledger.verdict(server, sent))
        assert set(sent.statuses) == {202}
        await server.stop()
