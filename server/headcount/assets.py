"""Finds the files that are shipped beside the code: `sql/` and `tracker/dist/`, in a wheel or a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder `name` (with slashes) of the wheel's assets, else of the checkout."""
    shipped = _PACKAGE / "_assets" / name
    return shipped if shipped.is_dir() else _PACKAGE.parent.parent / name
