"""How many requests a client may send: a token bucket each, keyed by a digest under a random key.

The key lives 10 minutes and is never written; after it nothing here can be tied to an address.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from math import ceil

from headcount import errors

KEY_LIFE = 600.0
MAX_CLIENTS = 100_000


class Limiter:
    """Token buckets of at most MAX_CLIENTS clients; the one seen longest ago makes room."""

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._now = monotonic
        self._key = b""
        self._until = 0.0
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def check(self, client: bytes) -> None:
        """Count one request of the client. Raises TooManyRequests when its bucket is empty."""
        if not self._rate:
            return
        now = self._now()
        if now >= self._until:
            self._key, self._until = secrets.token_bytes(32), now + KEY_LIFE
            self._buckets.clear()
        digest = blake2b(client, digest_size=16, key=self._key).digest()
        level, then = self._buckets.pop(digest, (float(self._burst), now))
        level = min(self._burst, level + (now - then) * self._rate)
        enough = level >= 1
        self._buckets[digest] = (level - 1 if enough else level, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if not enough:
            raise errors.TooManyRequests(ceil((1 - level) / self._rate))
