"""The key set: what the root key certifies, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headcount.licensed import DAY, SigningKey, Use
from headcount.licensing import jws, keyset

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
ROOT_PRIVATE, ROOT = jws.new_key()


def key(kid: str, not_after: int | None = None) -> SigningKey:
    return SigningKey(
        kid=kid, use=Use.CHECK, public=bytes(32), private=b"sealed", not_before=AT - 5, not_after=not_after
    )


def test_the_root_key_signs_it_and_nothing_private_is_in_it() -> None:
    text = keyset.sign(ROOT_PRIVATE, "shop", [key("a")], NOW)
    assert jws.read(text, jws.KEYS, jws.ROOT, ROOT) == {
        "product": "shop",
        "issued_at": AT,
        "sequence": AT * 1_000_000,
        "keys": [
            {"kid": "a", "use": "check", "x": "A" * 43, "not_before": AT - 5, "not_after": AT + 90 * DAY}
        ],
    }


def test_a_retired_key_stays_until_its_own_end() -> None:
    keys = [key("new"), key("old", AT + 1), key("gone", AT)]
    found = {one["kid"]: one["not_after"] for one in keyset.payload("shop", keys, NOW)["keys"]}
    assert found == {"new": AT + 90 * DAY, "old": AT + 1}


def test_the_sequence_rises_also_when_the_clock_steps_back() -> None:
    before = keyset.sign(ROOT_PRIVATE, "shop", [], NOW)
    earlier = keyset.payload("shop", [], NOW - timedelta(days=1), before)
    assert (earlier["sequence"], earlier["issued_at"]) == (AT * 1_000_000 + 1, AT - DAY)
