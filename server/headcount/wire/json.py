"""JSON from strangers: bounded in size and depth, UTF-8, without NUL and lone surrogates."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headcount import errors

MAX_DEPTH = 16

# A string that never ends is taken to the end: if it were no match, each quote in it would be tried in turn.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_decoder = msgspec.json.Decoder()


def decode(body: bytes, limit: int, field: str = "body") -> Any:
    """What the JSON text says. Raises TooLarge past `limit` bytes, BadInput for everything else."""
    if len(body) > limit:
        raise errors.TooLarge(field, f"has at most {limit} bytes; this has {len(body)}")
    check_depth(body, field)
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.BadInput(field, "must be JSON (RFC 8259) in UTF-8") from None


def check_depth(body: bytes, field: str = "body") -> None:
    """Refuse deep nesting before the decoder, which has no limit of its own, recurses into it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRINGS.sub(b"", body).translate(_AS_SQUARE, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")  # the innermost ones of every branch
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        raise errors.BadInput(field, f"is nested at most {MAX_DEPTH} deep")


def clean(field: str, text: str) -> str:
    """The text itself; BadInput if it holds what Postgres and UTF-8 cannot: NUL, a lone surrogate."""
    if "\0" in text:
        raise errors.BadInput(field, "must not contain the character U+0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise errors.BadInput(field, "must not contain a lone surrogate") from None
    return text
