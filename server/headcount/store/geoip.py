"""The country of an address, from a file in MaxMind's format. The address goes in and nowhere else.

The file in use is `geoip.mmdb` in the data directory (put there by `headcount geoip use`), a path by setting,
or else the one shipped: DB-IP Lite country, June 2026, CC BY 4.0 (IP Geolocation by DB-IP, https://db-ip.com).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import maxminddb

from headcount import errors
from headcount.store import files

SHIPPED = Path(__file__).parent.parent / "privacy" / "data" / "dbip-country-lite.mmdb"
PROBES = ("8.8.8.8", "193.0.6.139", "2001:4860:4860::8888")
"""Well-known public resolvers and registries: a country file that knows none of them is none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say about a country file."""

    path: Path
    kind: str
    built_at: datetime
    bytes: int


class Countries:
    """Look-ups in the current file. `refresh` takes a replaced file; a broken one leaves the old in use."""

    def __init__(self, configured: str, data_dir: Path) -> None:
        self._configured = Path(configured) if configured else None
        self._own = data_dir / "geoip.mmdb"
        self._seen: tuple[str, int, int, int] | None = None
        self._reader: maxminddb.Reader | None = None
        self.facts: Facts | None = None

    def country(self, address: IPv4Address | IPv6Address) -> str:
        """ISO 3166-1 alpha-2, or empty if it is not known."""
        if self._reader is None:
            return ""
        try:
            return _country(self._reader.get(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return ""  # an IPv6 address and an IPv4-only file, or a damaged spot in it

    def refresh(self) -> bool:
        """Read the file if it is another one than last time; whether it was.

        Raises BadInput, once, if it is broken or gone: then the old one stays in use, or else the one shipped.
        """
        path = self._configured or (self._own if self._own.exists() else SHIPPED)
        seen = _version(path)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._take(*open_checked(path))
        except errors.BadInput:
            if self._reader is None:
                self._take(*open_checked(SHIPPED))
            raise
        return True

    def use(self, file: Path) -> Facts:
        """Make a checked copy of `file` the one in use, also by running servers."""
        reader, _ = open_checked(file)
        reader.close()
        files.write_durably(self._own, file.read_bytes())
        reader, facts = open_checked(self._own)
        reader.close()
        return facts

    def _take(self, reader: maxminddb.Reader, facts: Facts) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self.facts = reader, facts


def open_checked(path: Path) -> tuple[maxminddb.Reader, Facts]:
    """A reader that answered for well-known addresses. Raises BadInput."""
    try:
        reader = _open(path)
        facts = reader.metadata()
        known = [_country(reader.get(probe)) for probe in PROBES if ":" not in probe or facts.ip_version == 6]
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        why = f"{path} is no country file that can be read ({type(error).__name__})"
        raise errors.BadInput("geoip_file", why) from None
    if not any(known):
        raise errors.BadInput("geoip_file", f"{path} knows no country of well-known addresses")
    built = datetime.fromtimestamp(facts.build_epoch, UTC)
    return reader, Facts(path, facts.database_type, built, path.stat().st_size)


def _open(path: Path) -> maxminddb.Reader:
    """A reader of a copy in memory: a mapped file that somebody cuts short would end the process.

    Through a descriptor, because the reader in C, eight times as fast, opens nothing but a path.
    """
    descriptor = os.memfd_create("geoip")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(path.read_bytes())
        return maxminddb.open_database(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _version(path: Path) -> tuple[str, int, int, int]:
    """What changes when the file is replaced."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_ino, status.st_mtime_ns, status.st_size


def _country(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    inner = found.get("country")
    code = found.get("country_code") or (inner.get("iso_code") if isinstance(inner, dict) else None)
    return code if isinstance(code, str) and len(code) == 2 and code.isascii() else ""
