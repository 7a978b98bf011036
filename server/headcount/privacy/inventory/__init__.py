"""Every stored field: where it lives, what it is for, and how long it is kept.

A test compares this with the schema, the spool's records, the state file, and the local copies: a field that
is not listed fails the build, and so does one that is listed and gone.
"""

from __future__ import annotations

from headcount.privacy.inventory import of_licenses, of_visits
from headcount.privacy.inventory.entry import Entry, Place

__all__ = ["ENTRIES", "Entry", "Place"]

ENTRIES: tuple[Entry, ...] = (*of_visits.ENTRIES, *of_licenses.ENTRIES)
"""All of it. What is not here is not stored."""
