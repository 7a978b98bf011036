"""Reads the two traits that a browser tells of itself: the class of its screen and its language.

Of each only a coarse class is kept, never the width or the list of languages.
"""

from __future__ import annotations

import re

_WIDEST = 32_767  # more is no screen
_SCREENS = ((576, "XS"), (768, "S"), (1024, "M"), (1440, "L"))

_LONGEST_HEADER = 1000
_RANGE = re.compile(
    r"\s*+([A-Za-z]{2,3})(?:-[A-Za-z0-9-]*+)?+\s*+(?:;\s*+[Qq]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*+)?+"
)
# Subtags that were replaced in 1989, and that some browsers and systems still send.
_REPLACED = {"iw": "he", "in": "id", "ji": "yi"}


def screen_class(width: int | None) -> str:
    """The class of a screen this many CSS pixels wide; empty for one that cannot be."""
    if width is None or not 0 < width <= _WIDEST:
        return ""
    return next((name for below, name in _SCREENS if width < below), "XL")


def primary_language(accept_language: str) -> str:
    """The primary subtag of the language wanted most (RFC 9110 §12.5.4, RFC 5646); empty if there is none."""
    best, language = 0.0, ""
    for item in accept_language[:_LONGEST_HEADER].split(","):
        match = _RANGE.fullmatch(item)
        quality = float(match[2] or 1) if match else 0.0
        if match and quality > best:
            best, language = quality, match[1].lower()
    return _REPLACED.get(language, language)
