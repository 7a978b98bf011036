"""A site's settings as the API and the command line give them, checked field by field."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from headcount import errors, localtime
from headcount.model import Site
from headcount.privacy import url
from headcount.wire import event, fields, json
from headcount.wire.schema import STORABLE, fits, says

MAX_BODY = 32 << 10
MAX_HOSTNAMES = 100
MAX_PARAMS = 50
MAX_PROPS = 30
MAX_RETENTION = 30
_PARAM = re.compile(r"[A-Za-z0-9_.\[\]~-]{1,100}")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_HOSTNAMES = "hostnames such as shop.example.com, or *.example.com for subdomains"
_PARAMS = "names of 1 to 100 letters, digits and . _ ~ - [ ]"
_PROPS = f"names of 1 to {event.MAX_PROP_NAME} bytes"

# Large letters are made small.
Domain = Annotated[str, says(pattern=fits(url.DOMAIN).replace("a-z", "A-Za-z"))]
Zone = Annotated[str, says(enum=sorted(localtime.zones()))]
Hostnames = Annotated[
    tuple[Annotated[str, says(pattern=f"^(?:\\*\\.)?(?:{url.DOMAIN.pattern})$")], ...],
    says(maxItems=MAX_HOSTNAMES),
]
Params = Annotated[tuple[Annotated[str, says(pattern=fits(_PARAM))], ...], says(maxItems=MAX_PARAMS)]
Props = Annotated[
    tuple[Annotated[str, says(pattern=STORABLE, minLength=1, maxLength=event.MAX_PROP_NAME)], ...],
    says(maxItems=MAX_PROPS),
]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be given; what is left out stays as it is."""

    domain: Domain | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    hostnames: Hostnames | UnsetType = UNSET
    query_params: Params | UnsetType = UNSET
    props: Props | UnsetType = UNSET
    retention_days: Annotated[int, says(minimum=1, maximum=MAX_RETENTION)] | UnsetType | None = UNSET
    gpc: bool | UnsetType = UNSET
    fold_digits: bool | UnsetType = UNSET


def parse(body: bytes) -> Fields:
    """The fields of a JSON object. Raises BadInput that names the field."""
    return from_values(json.decode(body, MAX_BODY))


def from_values(given: Any) -> Fields:
    """The fields of a mapping, checked."""
    return fields.read(Fields, given)


def merge(site: Site, changes: Fields) -> Site:
    """The site with these fields, checked as a whole. Raises BadInput that names the field and its limit."""
    given = fields.given(changes)
    if "domain" in given:
        given["domain"] = plain_domain(given["domain"])
    new = msgspec.structs.replace(site, **given)
    if not url.is_domain(new.domain):
        raise errors.BadInput(
            "domain", "must be a host name such as example.com: at most 253 characters, no path"
        )
    if new.timezone not in localtime.zones():
        raise errors.BadInput("timezone", "must be an IANA name such as Europe/Riga")
    if new.retention_days is not None and not 1 <= new.retention_days <= MAX_RETENTION:
        raise errors.BadInput(
            "retention_days", f"must be from 1 to {MAX_RETENTION}, or null for the server's own"
        )
    _check_list("hostnames", new.hostnames, MAX_HOSTNAMES, _HOSTNAMES, _is_hostname)
    _check_list("query_params", new.query_params, MAX_PARAMS, _PARAMS, _PARAM.fullmatch)
    _check_list("props", new.props, MAX_PROPS, _PROPS, _is_prop)
    return new


def plain_domain(text: str) -> str:
    """The domain as sites are known by: small letters, without `www.`."""
    return url.without_www(text.strip().lower())


def _is_hostname(name: str) -> bool:
    return url.is_domain(name.removeprefix("*."))


def _is_prop(name: str) -> bool:
    return _NOT_TEXT.search(name) is None and 0 < len(name.encode()) <= event.MAX_PROP_NAME


def _check_list(field: str, values: tuple[str, ...], most: int, entries: str, valid: Any) -> None:
    if len(values) > most:
        raise errors.BadInput(field, f"has at most {most} entries; this has {len(values)}")
    for value in values:
        if not valid(value):
            raise errors.BadInput(field, f"holds {entries}, not {value[:100]!r}")
