"""Installs by version, plan and country at once, with what fewer than five share folded away."""

from __future__ import annotations

from headcount.model import OTHER

K = 5
"""Installs that a cell has at least, unless it holds all that is left."""

Cell = tuple[str, str, str]


def fold(found: dict[Cell, int]) -> dict[Cell, int]:
    """The cells of one product: first the country of the small ones is folded, then the plan, then the version."""
    for part in (2, 1, 0):
        folded: dict[Cell, int] = {}
        for cell, installs in found.items():
            version, plan, country = (
                OTHER if installs < K and place == part else value for place, value in enumerate(cell)
            )
            kept = version, plan, country
            folded[kept] = folded.get(kept, 0) + installs
        found = folded
    return found
