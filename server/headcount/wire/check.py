"""The body of a license check, field by field. What it should not hold is dropped, and counted."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headcount import errors
from headcount.licensing import keys, versions
from headcount.wire import json

MAX_BODY = 8 << 10
MIN_INSTANCE, MAX_INSTANCE = 8, 200
MAX_WORD = versions.MAX_LENGTH
PRODUCT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NONCE = re.compile(r"[A-Za-z0-9_-]{22,128}")
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_OPTIONAL = 200
OPTIONAL = ("environment", "os", "arch", "channel", "token")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What an install asks."""

    key: str
    """The plain form; it is digested and forgotten within the request."""
    product: str
    instance: str
    version: str
    nonce: str = ""
    environment: str = ""
    os: str = ""
    arch: str = ""
    channel: str = "stable"
    token: str = ""
    keys: bool = False
    unknown: int = 0
    """How many fields came along that have no place here."""

    def __repr__(self) -> str:
        return "Question(…)"


_FIELDS = frozenset(Question.__struct_fields__) - {"unknown"}


def parse(body: bytes, *, nonce: bool = True) -> Question:
    """The question of a JSON object. Raises BadInput that names the field and the limit."""
    given = _object(body)
    plain = keys.parse(_text(given, "key", keys.MAX_LENGTH))
    instance = instance_of(given)
    optional = {name: _text(given, name, MAX_OPTIONAL, "") for name in OPTIONAL if name in given}
    if not isinstance(given.get("keys", False), bool):
        raise errors.BadInput("keys", "must be true or false")
    return Question(
        key=plain,
        product=product_of(given),
        instance=instance,
        version=_text(given, "version", MAX_WORD),
        nonce=_nonce(given) if nonce else "",
        keys=given.get("keys", False),
        unknown=len(given.keys() - _FIELDS),
        **{name: text for name, text in optional.items() if text},
    )


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a key and asks about it."""

    key: str
    """The plain form."""
    product: str | None
    instance: bytes | None
    """Digest of the install that is meant."""
    by_digest: bool
    """Whether it was named by its digest, which alone proves nothing."""

    def __repr__(self) -> str:
        return "Holder(…)"


def holder(body: bytes) -> Holder:
    """Key, and where they are given product and install: by its id, or by `instance_digest`. Raises BadInput."""
    given = _object(body)
    plain = keys.parse(_text(given, "key", keys.MAX_LENGTH))
    instance = keys.instance_digest(plain, instance_of(given)) if "instance" in given else None
    if "instance_digest" in given:
        text = _text(given, "instance_digest", 64)
        if instance is not None or not DIGEST.fullmatch(text):
            raise errors.BadInput("instance_digest", "has 64 hex digits, and stands in place of instance")
        instance = bytes.fromhex(text)
    return Holder(
        key=plain,
        product=product_of(given) if "product" in given else None,
        instance=instance,
        by_digest="instance_digest" in given,
    )


def product_of(given: dict[str, Any]) -> str:
    name = _text(given, "product", 63)
    if not PRODUCT.fullmatch(name):
        raise errors.BadInput(
            "product", "has 1 to 63 of the characters a-z 0-9 . _ -, and begins with a-z 0-9"
        )
    return name


def instance_of(given: dict[str, Any]) -> str:
    instance = _text(given, "instance", MAX_INSTANCE)
    if len(instance) < MIN_INSTANCE:
        raise errors.BadInput("instance", f"has {MIN_INSTANCE} to {MAX_INSTANCE} characters")
    return instance


def _object(body: bytes) -> dict[str, Any]:
    given = json.decode(body, MAX_BODY)
    if not isinstance(given, dict):
        raise errors.BadInput("body", "must be a JSON object")
    return given


def _nonce(given: dict[str, Any]) -> str:
    nonce = _text(given, "nonce", 128)
    if not NONCE.fullmatch(nonce):
        raise errors.BadInput("nonce", "has 22 to 128 of the characters A-Z a-z 0-9 _ -, new for each check")
    return nonce


def _text(given: dict[str, Any], field: str, limit: int, default: str | None = None) -> str:
    value = given.get(field, default)
    if value is None:
        if default is not None:
            return default
        raise errors.BadInput(field, "is required")
    if not isinstance(value, str):
        raise errors.BadInput(field, "must be a text")
    if len(value) > limit:
        raise errors.BadInput(field, f"has at most {limit} characters; this has {len(value)}")
    return json.clean(field, value)
