"""License keys: `HC-` and six groups of five characters of Crockford's base32.

26 characters are 130 random bits; the last four are check characters, so a typo is found without a look-up.
See docs/licenses.md.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from headcount import errors

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32 (crockford.com/base32.html): no I, L, O, U."""
RANDOM, CHECK, GROUP = 26, 4, 5
MAX_LENGTH = 100
_ALIKE = str.maketrans("OIL", "011", "- \t\r\n")
_CHARACTERS = frozenset(ALPHABET)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
"""All groups of two characters, by their ten bits."""


def new() -> str:
    """The plain form of a new key: `HC` and 30 characters."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return f"HC{body}{_check(body)}"


def shown(plain: str) -> str:
    """The key as people read and type it."""
    body = plain[2:]
    return "-".join(["HC", *(body[start : start + GROUP] for start in range(0, len(body), GROUP))])


def parse(text: str) -> str:
    """The plain form of a key as somebody typed it. Raises BadInput that names the field `key`, not its value."""
    plain = text[:MAX_LENGTH].upper().translate(_ALIKE)
    body = plain[2:]
    if plain[:2] != "HC" or len(body) != RANDOM + CHECK or len(text) > MAX_LENGTH:
        raise errors.BadInput("key", "must be HC- and six groups of five letters and digits")
    if not _CHARACTERS.issuperset(body) or _check(body[:RANDOM]) != body[RANDOM:]:
        raise errors.BadInput("key", "is no license key: look for a typo, its check characters do not fit")
    return plain


def digest(plain: str) -> bytes:
    """What is kept of a key. It has 130 random bits, so a plain hash is enough."""
    return hashlib.sha256(plain.encode()).digest()


def instance_digest(plain: str, instance: str) -> bytes:
    """What is kept of an install's id: keyed by the license key, which nobody but the customer has."""
    return hmac.digest(plain.encode(), instance.encode(), "sha256")


def _check(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(b"HC" + body.encode()).digest()[:4], "big")
    return _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
