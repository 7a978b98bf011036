"""The token that a request brings in `Authorization: Bearer`."""

from __future__ import annotations

from collections.abc import Mapping

from headcount import errors
from headcount.model import Token
from headcount.services import sites
from headcount.store.settings import SettingsFile


def token_of(headers: Mapping[str, str], settings: SettingsFile) -> Token | None:
    """The token of a request; None if it brings none. Raises NotAllowed for one that is not known."""
    given = headers.get("Authorization")
    if given is None:
        return None
    scheme, _, text = given.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise errors.NotAllowed("authorization", "must be `Bearer TOKEN`")
    try:
        token = settings.token(sites.digest(text.strip()))
    except UnicodeEncodeError:
        token = None
    if token is None:
        raise errors.NotAllowed("authorization", "the token is not known")
    return token
