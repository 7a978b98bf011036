"""HEADCOUNT_SECRET_KEY: what private keys are encrypted under. Made on first start, in the data directory.

Each kind of secret is sealed under a key of its own, derived for its purpose (HKDF, RFC 5869), with AES-256-GCM.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headcount import errors
from headcount.licensing import jws
from headcount.store import files

FILE = "secret.key"
LENGTH = 32
_NONCE = 12


class Secret:
    """The server's secret, and what it opens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Secret(…)"

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, always the same."""
        return HKDF(hashes.SHA256(), 32, None, purpose.encode()).derive(self._key)

    def seal(self, purpose: str, plain: bytes) -> bytes:
        """The bytes encrypted; only `open` with this purpose gives them back."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self.derive(purpose)).encrypt(nonce, plain, None)

    @property
    def mark(self) -> str:
        """What tells this secret from another one, and gives nothing of it away."""
        return self.derive("mark")[:8].hex()

    @property
    def text(self) -> str:
        """As it is written into a file or a setting."""
        return jws.encode(self._key)

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """The bytes that were sealed. Raises BadConfig if it was under another secret."""
        try:
            return AESGCM(self.derive(purpose)).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag:
            raise errors.BadConfig(
                "HEADCOUNT_SECRET_KEY is not the one that the keys in the database were encrypted under"
            ) from None


def load(given: str, data_dir: Path) -> Secret:
    """The secret that is set, else the one in the data directory, made if there is none."""
    found = find(given, data_dir)
    if found is None:
        put(data_dir, jws.encode(secrets.token_bytes(LENGTH)))
        found = find(given, data_dir)
    assert found is not None  # noqa: S101 - it is there now
    return found


def find(given: str, data_dir: Path) -> Secret | None:
    """The secret that is set, else the one in the data directory, if there is one."""
    if given:
        return Secret(jws.decode(given))
    path = data_dir / FILE
    if not path.exists():
        return None
    try:
        key = jws.decode(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != LENGTH:
        raise errors.BadConfig(
            f"{path} is damaged: it holds {LENGTH} bytes in base64url; take it from a backup"
        )
    return Secret(key)


def put(data_dir: Path, text: str) -> bool:
    """Make this the secret of the data directory. False: it has one already, which was left alone."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return files.create_durably(data_dir / FILE, text.encode())
