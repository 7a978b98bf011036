"""The key set of a product: its root key says which keys may sign, what, and when. See docs/licenses.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from headcount.licensed import DAY, SigningKey
from headcount.licensing import jws

LASTS = 90 * DAY
"""Seconds that a set certifies the keys in use; it is signed anew each day."""


def sign(root: bytes, product: str, keys: Iterable[SigningKey], now: datetime, before: str = "") -> str:
    """The set as a compact JWS. Its sequence is higher than that of the set before, whatever the clock says."""
    return jws.Signer(root, jws.KEYS, jws.ROOT).sign(payload(product, keys, now, before))


def payload(product: str, keys: Iterable[SigningKey], now: datetime, before: str = "") -> dict[str, Any]:
    """What is signed: keys in use, and retired ones that are still good."""
    issued = int(now.timestamp())
    return {
        "product": product,
        "issued_at": issued,
        "sequence": max(round(now.timestamp() * 1_000_000), _sequence(before) + 1),
        "keys": [
            {
                "kid": key.kid,
                "use": key.use,
                "x": jws.encode(key.public),
                "not_before": key.not_before,
                "not_after": issued + LASTS if key.not_after is None else key.not_after,
            }
            for key in keys
            if key.not_after is None or key.not_after > issued
        ],
    }


def _sequence(before: str) -> int:
    # It is our own, from the database: nothing is believed of it but that no later set may be lower.
    return int(orjson.loads(jws.decode(before.split(".")[1]))["sequence"]) if before else 0
