"""The rotating token that tells a copied install from the first one.

Each answer carries a token of the next *generation*; the install sends it with its next check. Two tokens of one
generation come back only if two installs live on from one. A check without a token begins a new *chain*, later than
all before. A token needs no look-up: a MAC binds it to the license and the install.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from typing import NamedTuple

from headcount.licensing import jws

_FORM = struct.Struct(">IIq")
_MAC = 16
MAX_LENGTH = 200


class Position(NamedTuple):
    """Where a token stands: generations of a chain follow each other, and chains by their beginning."""

    chain: int
    """Unix seconds at which the chain began; 0: there was no token."""
    generation: int
    random: int


NONE = Position(0, 0, 0)


def read(secret: bytes, instance: bytes, token: str) -> Position:
    """The position of a token that was made here for this install; NONE for any other."""
    if not token:
        return NONE
    try:
        data = jws.decode(token[:MAX_LENGTH])
    except ValueError:
        return NONE
    form, mac = data[: _FORM.size], data[_FORM.size :]
    if len(form) < _FORM.size or not hmac.compare_digest(mac, _mac(secret, instance, form)):
        return NONE
    return Position(*_FORM.unpack(form))


def after(secret: bytes, instance: bytes, position: Position, now: int) -> str:
    """The token that follows. `now` in Unix seconds."""
    chain, generation = (position.chain, position.generation + 1) if position.chain else (now, 1)
    form = _FORM.pack(chain, generation & 0xFFFFFFFF, secrets.randbits(64) - (1 << 63))
    return jws.encode(form + _mac(secret, instance, form))


class Trail(NamedTuple):
    """What is kept of an install's tokens."""

    chain: int = 0
    generation: int = 0
    random: int = 0
    repeats: int = 0
    forks: int = 0


def follow(trail: Trail, seen: Position) -> Trail:
    """The trail after one more token. An answer that got lost repeats a token once; more than that is a fork."""
    if seen == NONE:
        return trail
    if seen[:2] > (trail.chain, trail.generation):
        return Trail(*seen, repeats=0, forks=trail.forks)
    if seen[:2] == (trail.chain, trail.generation) and seen.random != trail.random:
        return trail._replace(forks=trail.forks + 1)
    before = seen[:2] in ((trail.chain, trail.generation), (trail.chain, trail.generation - 1))
    if before and trail.repeats == 0:
        return trail._replace(repeats=1)
    return trail._replace(forks=trail.forks + 1)


def _mac(secret: bytes, instance: bytes, form: bytes) -> bytes:
    return hmac.digest(secret, instance + form, "sha256")[:_MAC]
