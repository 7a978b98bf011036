"""Signatures: one algorithm, one type, one key, over the bytes as they are."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

import pytest

from headcount.licensing import jws

PRIVATE, PUBLIC = jws.new_key()
KID = jws.kid_of(PUBLIC)
PAYLOAD = {"status": "active", "nonce": "n"}
SIGNED = jws.Signer(PRIVATE, jws.CHECK, KID).sign(PAYLOAD)
HEAD, BODY, SIGNATURE = SIGNED.split(".")


def read(text: str, typ: str = jws.CHECK, kid: str = KID, public: bytes = PUBLIC) -> object:
    return jws.read(text, typ, kid, public)


def part(value: object) -> str:
    return jws.encode(json.dumps(value).encode())


def signed(header: Mapping[str, object], body: str = BODY) -> str:
    """A text that the right key has signed, under a header of the attacker's choice."""
    text = f"{part(header)}.{body}"
    return f"{text}.{jws.encode(jws.Signer(PRIVATE, '', '')._key.sign(text.encode()))}"


def test_a_signed_payload_is_read_back() -> None:
    assert read(SIGNED) == PAYLOAD
    assert json.loads(jws.decode(HEAD)) == {"alg": "Ed25519", "typ": "headcount-check+jws", "kid": KID}


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        f"{HEAD}.{BODY}",
        f"{HEAD}.{BODY}.",
        f"{HEAD}.{part({'status': 'active', 'nonce': 'other'})}.{SIGNATURE}",
        f"{HEAD}.{BODY}.{jws.encode(bytes(64))}",
        f"{HEAD}.{BODY}.{SIGNATURE}.{SIGNATURE}",
        f"{part([])}.{BODY}.{SIGNATURE}",
        f"é.{BODY}.{SIGNATURE}",
    ],
)
def test_a_missing_or_wrong_signature_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "EdDSA", "RS256", None, ""])
def test_the_token_does_not_choose_the_algorithm(alg: str | None) -> None:
    header = {"alg": alg, "typ": jws.CHECK, "kid": KID}
    assert read(f"{part(header)}.{BODY}.") is None
    assert read(signed(header)) is None
    keyed = f"{part(header)}.{BODY}"
    mac = hmac.digest(PUBLIC, keyed.encode(), hashlib.sha256)
    assert read(f"{keyed}.{jws.encode(mac)}") is None


@pytest.mark.parametrize("typ", [jws.FILE, jws.KEYS, "JWT", ""])
def test_a_signature_for_one_purpose_is_none_for_another(typ: str) -> None:
    assert read(SIGNED, typ) is None
    assert read(signed({"alg": jws.ALGORITHM, "typ": typ, "kid": KID})) is None


def test_a_key_that_comes_along_is_not_used() -> None:
    own, public = jws.new_key()
    header = {
        "alg": jws.ALGORITHM,
        "typ": jws.CHECK,
        "kid": KID,
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": jws.encode(public)},
        "jku": "https://evil.example/jwks.json",
    }
    text = f"{part(header)}.{BODY}"
    forged = f"{text}.{jws.encode(jws.Signer(own, '', '')._key.sign(text.encode()))}"
    assert read(forged) is None


def test_another_key_has_not_signed_it() -> None:
    _, public = jws.new_key()
    assert read(SIGNED, public=public) is None
    assert read(SIGNED, kid=jws.kid_of(public)) is None
