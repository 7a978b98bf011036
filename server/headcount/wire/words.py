"""Reads the words and lists of a question. What is refused is told what there is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headcount import errors
from headcount.stats.question import Dimension
from headcount.stats.vocabulary import Vocabulary


def metric(name: object, words: Vocabulary) -> str:
    """The metric of this name."""
    if isinstance(name, str) and name in words.metrics:
        return name
    raise _refusal("metrics", name, "metric", words.metrics, words)


def dimension(field: str, key: object, words: Vocabulary) -> Dimension:
    """The dimension of this name."""
    found = words.dimension(key) if isinstance(key, str) else None
    if found is None:
        raise _refusal(field, key, "dimension", words.dimension_words, words)
    return found


def items(
    field: str, value: object, least: int = 0, most: int | None = None, distinct: bool = False
) -> list[Any]:
    """The items of a list of this length."""
    if not isinstance(value, list):
        raise errors.BadInput(field, "must be a list")
    if len(value) < least or (most is not None and len(value) > most):
        raise errors.BadInput(field, f"a list here has {least} to {most} items; this has {len(value)}")
    if distinct and any(item in value[:index] for index, item in enumerate(value)):
        raise errors.BadInput(field, "names something twice")
    return value


def listed(words: Iterable[str]) -> str:
    """Words as an error names them."""
    return ", ".join(f'"{word}"' for word in words)


def short(text: str) -> str:
    """A text as an error may repeat it."""
    return text if len(text) <= 60 else text[:60] + "…"


def quoted(value: object) -> str:
    return f'"{short(value)}"' if isinstance(value, str) else "this"


def _refusal(
    field: str, value: object, kind: str, there: Iterable[str], words: Vocabulary
) -> errors.BadInput:
    known = words.why_not(value) if isinstance(value, str) else None
    return errors.BadInput(field, f"{known or f'{quoted(value)} is no {kind}'}; there are {', '.join(there)}")
