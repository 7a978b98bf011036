"""Replaces values that slipped through the scrubbing, in whatever is still open or on its way.

A pattern names whole values of one dimension; `*` stands for any text. What is counted under several
dimensions goes from all of them: `page` means entry and exit pages too, a referrer or `utm_source` the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import datasketches
import msgspec

from headcount import errors, tally
from headcount.model import EVENT_DIMENSIONS, REDACTED, VISIT_DIMENSIONS, CountRow, Flush, HitRow, VisitRow
from headcount.visits import Visit
from headcount.wire import json

MAX_PATTERN = 2000
DIMENSIONS = (
    "page",
    "hostname",
    "name",
    "source",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
)
TOGETHER = {
    "page": ("page", "entry_page", "exit_page"),
    "referrer": ("referrer", "source"),
    "utm_source": ("utm_source", "source"),
}


@dataclass(frozen=True, slots=True)
class Redaction:
    """One request: these values of this dimension of this site."""

    site: int
    dimension: str
    pattern: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that hold the same kind of value."""
        return TOGETHER.get(self.dimension, (self.dimension,))

    @property
    def prop(self) -> str | None:
        """The name of the property, if it is about one."""
        return self.dimension.removeprefix("props:") if self.dimension.startswith("props:") else None

    @property
    def like(self) -> str:
        """The pattern as Postgres' `like` takes it."""
        return re.sub(r"([\\%_])", r"\\\1", self.pattern).replace("*", "%")

    def matcher(self) -> Callable[[str], bool]:
        """Tells whether a value is meant."""
        parts = self.pattern.split("*")
        keep = {"", REDACTED} | ({"pageview", "engagement"} if self.dimension == "name" else set())
        return lambda value: value not in keep and _fits(value, parts)


def parse(site: int, dimension: str, pattern: str) -> Redaction:
    """A checked request. Raises BadInput."""
    if dimension not in DIMENSIONS and not json.clean("dimension", dimension).startswith("props:"):
        raise errors.BadInput("dimension", f"must be one of {', '.join(DIMENSIONS)} or props:NAME")
    if not json.clean("pattern", pattern).replace("*", "") or len(pattern) > MAX_PATTERN:
        raise errors.BadInput("pattern", f"must have 1 to {MAX_PATTERN} characters, and others than *")
    if pattern.count("*") > 10:
        raise errors.BadInput("pattern", "has at most 10 *")
    return Redaction(site, dimension, pattern)


def in_flush(flush: Flush, request: Redaction) -> Flush:
    """The flush with the values replaced."""
    meant = request.matcher()
    return msgspec.structs.replace(
        flush,
        hits=[_hit(row, request, meant) if row.site == request.site else row for row in flush.hits],
        visits=[_visit_row(row, request, meant) if row.site == request.site else row for row in flush.visits],
        counts=[
            _count(row, request.dimensions, meant) if row.site == request.site else row
            for row in flush.counts
        ],
    )


def in_tally(target: tally.Tally, request: Redaction) -> None:
    """Replace the values in the open ledgers."""
    meant = request.matcher()
    for (site, _, _), ledger in target.ledgers.items():
        if site != request.site:
            continue
        for dimension in request.dimensions:
            _merge_cells(dimension, ledger.cells.get(dimension, {}), meant)
        for visit in ledger.visits.values():
            _in_visit(visit, request.dimensions, meant)
        ledger.change_all()


def _fits(value: str, parts: list[str]) -> bool:
    """Whether the parts stand in the value one after another, the first at its beginning, the last at its end.

    No regular expression: with several `*` one takes forever on a value that somebody made for it.
    """
    if len(parts) == 1:
        return value == parts[0]
    first, *middle, last = parts
    at = len(first)
    for part in middle:
        found = value.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return value.startswith(first) and value.endswith(last) and len(value) - len(last) >= at


def _merge_cells(dimension: str, cells: dict[str, tally.Cell], meant: Callable[[str], bool]) -> None:
    found = [value for value in cells if meant(value)]
    for value in found:
        old, into = cells.pop(value), cells.setdefault(REDACTED, tally.Cell(dimension, REDACTED))
        union = datasketches.hll_union(tally.LG_K)
        union.update(old.sketch)
        union.update(into.sketch)
        into.sketch = union.get_result(datasketches.tgt_hll_type.HLL_4)
        into.sent += old.sent
        for token in old.held or ():
            into.hold(token)


def _in_visit(visit: Visit, dimensions: Collection[str], meant: Callable[[str], bool]) -> None:
    if "page" in dimensions:
        visit.entry_page = REDACTED if meant(visit.entry_page) else visit.entry_page
        visit.exit_page = REDACTED if meant(visit.exit_page) else visit.exit_page
        for page in [page for page in visit.scroll if meant(page)]:
            visit.scroll[REDACTED] = max(visit.scroll.pop(page), visit.scroll.get(REDACTED, 0))
    visit.attributes = tuple(
        REDACTED if name in dimensions and meant(value) else value
        for name, value in zip(VISIT_DIMENSIONS, visit.attributes, strict=True)
    )
    for dimension in dimensions:
        if dimension in visit.touched:
            values = [REDACTED if meant(value) else value for value in visit.touched[dimension]]
            visit.touched[dimension] = list(dict.fromkeys(values))


def _hit(row: HitRow, request: Redaction, meant: Callable[[str], bool]) -> HitRow:
    if request.prop is not None:
        props = tuple(
            (name, REDACTED if name == request.prop and meant(value) else value) for name, value in row.props
        )
        return msgspec.structs.replace(row, props=props)
    if request.dimension in EVENT_DIMENSIONS and meant(getattr(row, request.dimension)):
        return msgspec.structs.replace(row, **{request.dimension: REDACTED})
    return row


def _visit_row(row: VisitRow, request: Redaction, meant: Callable[[str], bool]) -> VisitRow:
    attributes = tuple(
        REDACTED if name in request.dimensions and meant(value) else value
        for name, value in zip(VISIT_DIMENSIONS, row.attributes, strict=True)
    )
    pages = {
        name: REDACTED
        for name in ("entry_page", "exit_page")
        if name in request.dimensions and meant(getattr(row, name))
    }
    return msgspec.structs.replace(row, attributes=attributes, **pages)


def _count(row: CountRow, dimensions: Collection[str], meant: Callable[[str], bool]) -> CountRow:
    if row.dimension in dimensions and meant(row.value):
        return msgspec.structs.replace(row, value=REDACTED)
    return row
