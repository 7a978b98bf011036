"""The local copy of sites, tokens and products: the rollup writes it, and workers need no Postgres."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from headcount.licensed import Product
from headcount.model import NO_SITE, Settings, Site, Token
from headcount.store import files

log = logging.getLogger(__name__)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Settings)


class SettingsFile:
    """The copy on this node's disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._damaged: tuple[int, int] | None = None
        self._sites: dict[str, Site] = {}
        self._ids: set[int] = set()
        self._tokens: dict[bytes, Token] = {}
        self._products: dict[str, Product] = {}

    def write(self, settings: Settings) -> bool:
        """Replace the copy if something changed; whether it did."""
        body = _encoder.encode(settings)
        if self._path.exists() and self._path.read_bytes() == body:
            return False
        files.write_durably(self._path, body)
        return True

    def refresh(self) -> bool:
        """Read the copy again if it was replaced; whether it was. A damaged one is as good as none."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        seen = (status.st_ino, status.st_mtime_ns)
        if seen in (self._seen, self._damaged):
            return False
        try:
            settings = _decoder.decode(self._path.read_bytes())
        except msgspec.DecodeError:
            self._damaged = seen
            log.error("%s is damaged; the rollup writes it anew once it reaches Postgres", self._path)
            return False
        self._sites = {site.domain: site for site in settings.sites}
        self._ids = {site.id for site in settings.sites}
        self._tokens = {token.digest: token for token in settings.tokens}
        self._products = {product.name: product for product in settings.products}
        self._seen = seen  # last: the rollup's thread may be looking at the same time
        return True

    @property
    def sites(self) -> list[Site]:
        return list(self._sites.values())

    @property
    def tokens(self) -> list[Token]:
        return list(self._tokens.values())

    def site(self, domain: str) -> Site | None:
        """The site of this domain; a missing one is looked for in the file, so that a new one counts at once."""
        if domain not in self._sites:
            self.refresh()
        return self._sites.get(domain)

    def knows(self, site_id: int) -> bool:
        """Whether the site still exists; what belongs to none counts as existing.

        A worker may have seen a new copy a moment earlier: so a missing site is looked for in the file.
        """
        if site_id not in self._ids and site_id != NO_SITE:
            self.refresh()
        return site_id in self._ids or site_id == NO_SITE

    def token(self, digest: bytes) -> Token | None:
        """The token of this digest; one that is missing is looked for like a site."""
        if digest not in self._tokens:
            self.refresh()
        return self._tokens.get(digest)

    @property
    def products(self) -> list[Product]:
        return list(self._products.values())

    def product(self, name: str) -> Product | None:
        """The product of this name; one that is missing is looked for like a site."""
        if name not in self._products:
            self.refresh()
        return self._products.get(name)

    @property
    def loaded(self) -> bool:
        """Whether there has been a copy at all."""
        return self._seen is not None
