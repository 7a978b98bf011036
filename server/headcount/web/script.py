"""The script, as built: at `/h.js` for the tag, and under its hash for those who pin it (SRI)."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass

from headcount import assets

FRESH = 3600
"""Seconds that browsers keep `/h.js` before they ask again."""
FOREVER = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Script:
    """The bytes and what they are called."""

    plain: bytes
    packed: bytes
    hash: str
    """The first 16 hex digits of the SHA-256: part of the name that never changes its content."""
    integrity: str
    """For the `integrity` attribute (W3C Subresource Integrity)."""

    @property
    def etag(self) -> str:
        return f'"{self.hash}"'


def load() -> Script:
    """The script from the wheel or the checkout."""
    plain = (assets.folder("tracker/dist") / "h.js").read_bytes()
    digest = hashlib.sha384(plain).digest()
    return Script(
        plain=plain,
        packed=gzip.compress(plain, 9, mtime=0),
        hash=hashlib.sha256(plain).hexdigest()[:16],
        integrity="sha384-" + base64.b64encode(digest).decode(),
    )


def tag(origin: str, domain: str) -> str:
    """What a site owner pastes."""
    return f'<script defer src="{origin}/h.js" data-domain="{domain}"></script>'
