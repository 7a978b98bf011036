"""The named queries of `sql/queries/`: `-- name: words`, a line of purpose, the statement."""

from __future__ import annotations

import re
from functools import cache

from headcount import assets

_MARK = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load() -> dict[str, str]:
    """All queries by name; a name that stands twice is a mistake in the files and raises ValueError."""
    found: dict[str, str] = {}
    for path in sorted(assets.folder("sql/queries").glob("*.sql")):
        _, *parts = _MARK.split(path.read_text())
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"the query {name} stands twice")
            found[name] = text.strip()
    return found
