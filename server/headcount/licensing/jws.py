"""Compact JWS (RFC 7515) with Ed25519 (RFC 8032) under the algorithm's name of RFC 9864, and no other.

`typ` separates what is signed: an answer, a key set, a license file. `kid` names the key, which fixes its use.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
CHECK = "headcount-check+jws"
KEYS = "headcount-keys+jws"
FILE = "headcount-file+jws"
ROOT = "root"


class Signer:
    """A private key with the header that all its signatures share."""

    def __init__(self, private: bytes, typ: str, kid: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        header = {"alg": ALGORITHM, "typ": typ, "kid": kid}
        self._header = urlsafe_b64encode(orjson.dumps(header)).rstrip(b"=") + b"."

    def sign(self, payload: dict[str, Any]) -> str:
        """The payload as a compact JWS."""
        signed = self._header + urlsafe_b64encode(orjson.dumps(payload)).rstrip(b"=")
        return (signed + b"." + urlsafe_b64encode(self._key.sign(signed)).rstrip(b"=")).decode()


def new_key() -> tuple[bytes, bytes]:
    """A new private key and its public half, 32 bytes each."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def kid_of(public: bytes) -> str:
    """The name of a key: 16 hex digits of its digest."""
    return hashlib.sha256(public).hexdigest()[:16]


def read(text: str, typ: str, kid: str, public: bytes) -> dict[str, Any] | None:
    """The payload, if this key has signed it as this type; else None. Whatever else the header says is not read."""
    head, _, rest = text.partition(".")
    body, _, signature = rest.partition(".")
    try:
        header = orjson.loads(decode(head))
        if (header.get("alg"), header.get("typ"), header.get("kid")) != (ALGORITHM, typ, kid):
            return None
        Ed25519PublicKey.from_public_bytes(public).verify(decode(signature), f"{head}.{body}".encode())
        payload: dict[str, Any] = orjson.loads(decode(body))
        return payload
    except (ValueError, AttributeError, InvalidSignature):
        return None


def encode(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a base64url text. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
