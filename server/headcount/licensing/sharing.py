"""Signs that a key is passed around: how many installs, networks and countries checked with it on a day.

A network enters only as a keyed digest, and that only a sketch, which cannot give it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from hashlib import blake2b

import datasketches

from headcount.licensed import Heartbeat, SharingRow

LG_K = 10
"""1,024 registers: 0.5 KB at most, 3 % standard error, exact to about a hundred (Apache DataSketches HLL)."""

Key = tuple[int, int, date]
WHAT = ("instances", "networks", "countries")


class Sketch:
    """Distinct values of one kind, and how many of them were already sent on."""

    __slots__ = ("hll", "sent")

    def __init__(self, packed: bytes | None = None, sent: int = 0) -> None:
        self.hll = (
            datasketches.hll_sketch.deserialize(packed)
            if packed
            else datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_4)
        )
        self.sent = sent

    def packed(self) -> bytes:
        return bytes(self.hll.serialize_compact())


class Sharing:
    """The open days of all licenses, and what of them changed since it was last stored."""

    def __init__(self) -> None:
        self.days: dict[Key, dict[str, Sketch]] = {}
        self.changed: set[Key] = set()

    def note(self, heartbeat: Heartbeat) -> None:
        """Take a check of a known license into its day."""
        key = heartbeat.product, heartbeat.license, heartbeat.day
        sketches = self.days.get(key)
        if sketches is None:
            sketches = self.days[key] = {what: Sketch() for what in WHAT}
        sketches["instances"].hll.update(_number(heartbeat.instance))
        if heartbeat.network:
            sketches["networks"].hll.update(heartbeat.network)
        if heartbeat.country:
            sketches["countries"].hll.update(_number(heartbeat.country.encode()))
        self.changed.add(key)

    def rows(self) -> list[SharingRow]:
        """What the changed days add."""
        rows = []
        for key in self.changed:
            more = []
            for what in WHAT:
                sketch = self.days[key][what]
                estimate = round(float(sketch.hll.get_estimate()))
                more.append(estimate - sketch.sent)
                sketch.sent = estimate
            if any(more):
                rows.append(SharingRow(*key, *more))
        return rows

    def forget(self, keys: Iterable[Key]) -> None:
        """Destroy these days."""
        for key in keys:
            self.days.pop(key, None)
            self.changed.discard(key)


def _number(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big", signed=True)
