"""Requests that carry an Idempotency-Key are carried out once; a repeat gets the first answer.

The answer is stored in the transaction that does the work, so both are there or none. It may hold a new license
key: it lies encrypted, and the text of the Idempotency-Key, which is not kept, is needed to open it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta

from headcount import errors
from headcount.clock import Clock
from headcount.store.postgres import Database
from headcount.store.secret import Secret

KEPT = timedelta(days=1)
FIELD = "idempotency_key"
MAX_LENGTH = 255

Work = Callable[[Database], Awaitable[bytes]]
"""Does what is asked for on this database, within its one transaction, and gives the answer."""


class Idempotency:
    """The answers of the last day. Raises DatabaseDown without Postgres."""

    def __init__(self, database: Database, clock: Clock, secret: Secret) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret

    async def once(self, token: int, key: str, request: bytes, work: Work) -> tuple[bytes, bool]:
        """The answer to a request, and whether it is that to an earlier one. Of two at once the second waits.

        Raises Conflict if the key came with another request, and whatever the work raises: then nothing is kept.
        """
        check(key)
        digest = hashlib.sha256(key.encode()).digest()
        asked = hmac.digest(self._secret.derive("idempotency request"), request, "sha256")
        now = self._clock.now()
        async with self._database.transaction() as connection:
            change = self._database.change
            await change(connection, "forget_answer", token, digest, now - KEPT)
            if await change(connection, "claim_answer", token, digest, asked, now):
                answer = await work(self._database.within(connection))
                sealed = self._secret.seal(_purpose(key), answer)
                await change(connection, "keep_answer", token, digest, sealed)
                return answer, False
            kept = await self._database.fetch(connection, "kept_answer", token, digest)
        if not kept:
            raise errors.NotAllowed("authorization", "the token is not known")
        if not hmac.compare_digest(kept[0]["request"], asked):
            raise errors.Conflict(FIELD, "came with another request within the last day: take a new one")
        return self._secret.open(_purpose(key), kept[0]["answer"]), True


def check(key: str) -> None:
    """Refuse what is no key. Raises BadInput."""
    if not (0 < len(key) <= MAX_LENGTH and key.isascii() and key.isprintable()):
        raise errors.BadInput(FIELD, f"has 1 to {MAX_LENGTH} printable ASCII characters")


def _purpose(key: str) -> str:
    return f"idempotency {key}"
