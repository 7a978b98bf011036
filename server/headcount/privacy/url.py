"""Reads a page's address: what of it is kept, and which hostnames count for a site.

Credentials, ports, unlisted query parameters and, without hash routing, fragments end here. It must never use
`urllib.parse.urlsplit`, which keeps the last addresses it has seen in memory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from headcount import errors
from headcount.privacy.scrub import scrub, visible

LONGEST_URL = 2000
"""Bytes, as in Plausible; also of the page that is kept."""
LONGEST_TAG = 500
TAGS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")

_LONGEST_HOSTNAME = 253
_URL = re.compile(
    r"(https?|app)://([^/?#\\]*+)([^?#]*+)(?:\?([^#]*+))?+(?:#(.*+))?+", re.IGNORECASE | re.DOTALL
)
_HOSTNAME = re.compile(r"[\w-]++(?:\.[\w-]++)*+|\[[0-9a-f:.]{2,45}\]")
_PORT = re.compile(r":\d*$")
DOMAIN = re.compile(
    r"localhost|(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_THIS_MACHINE = frozenset(("localhost", "127.0.0.1", "::1"))
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}")
_ESCAPED = str.maketrans({"%": "%25", "&": "%26", "#": "%23"})


class Page(NamedTuple):
    """What is kept of a page's address."""

    hostname: str
    page: str
    tags: dict[str, str]
    """Those of TAGS that are present."""


def read_url(url: str, *, hash_routing: bool, query_params: Collection[str], fold_digits: bool) -> Page:
    """The page at `url`. Raises BadInput for what is no address of a web page or an app's screen."""
    if len(url) > LONGEST_URL or len(url.encode(errors="replace")) > LONGEST_URL:
        raise errors.BadInput("url", f"The URL is longer than {LONGEST_URL} bytes.")
    parts = _URL.fullmatch(visible(url).strip())
    if parts is None:
        raise errors.BadInput("url", "The URL has to start with http://, https:// or app:// and a hostname.")
    _, authority, path, query, fragment = parts.groups(default="")
    fields = dict(_fields(query)) if query else {}
    kept = [(name, scrub(fields[name], fold_digits)) for name in sorted(query_params) if name in fields]
    page = scrub(decode(path), fold_digits) or "/"
    if kept:
        page += "?" + "&".join(f"{name}={value}" for name, value in _escaped(kept))
    if hash_routing and (route := _route(fragment)):
        page += "#" + scrub(decode(route), fold_digits)
    return Page(_hostname(authority), cut(page, LONGEST_URL), _tags(fields, fold_digits))


def host_allowed(hostname: str, domain: str, hostnames: Collection[str]) -> bool:
    """Whether what happens on `hostname` belongs to the site `domain` with these allowed `hostnames`."""
    if hostname == domain and not hostnames:
        return True
    host, domain = _bare(hostname), _bare(domain)
    # Pages in development would otherwise be counted with those that are live.
    if host in _THIS_MACHINE or host.endswith(".localhost") or _LOOPBACK.fullmatch(host):
        return host == domain or (domain == "localhost" and host in _THIS_MACHINE)
    if not hostnames:
        return f".{without_www(host)}".endswith(f".{without_www(domain)}")
    return any(_fits(host, _bare(pattern)) for pattern in hostnames)


def is_domain(text: str) -> bool:
    """Whether `text` can be the domain of a site: lower case, a hostname alone, in its ASCII form."""
    return DOMAIN.fullmatch(text) is not None


def without_www(hostname: str) -> str:
    return hostname.removeprefix("www.")


def decode(text: str) -> str:
    """`text` percent-decoded once, as it stands if that gives no UTF-8."""
    if "%" not in text:
        return text
    try:
        return visible(unquote_to_bytes(text).decode())
    except UnicodeError:
        return text


def cut(text: str, most: int) -> str:
    """The start of `text` that has at most so many bytes, with no half character at its end."""
    return text.encode()[:most].decode(errors="ignore")


def _bare(hostname: str) -> str:
    return hostname.lower().strip("[]").removesuffix(".")


def _hostname(authority: str) -> str:
    host = _PORT.sub("", authority.rpartition("@")[2]).lower().removesuffix(".")
    if not host:
        raise errors.BadInput("url", "The URL has no hostname.")
    if len(host) > _LONGEST_HOSTNAME:
        raise errors.BadInput("url", f"The URL's hostname is longer than {_LONGEST_HOSTNAME} characters.")
    if _HOSTNAME.fullmatch(host) is None:
        raise errors.BadInput("url", "The URL's hostname has characters that no hostname has.")
    return host


def _fields(query: str) -> Iterator[tuple[str, str]]:
    """The query's fields from the last to the first, so that a dict has the first of each name."""
    for field in reversed(query.split("&")):
        name, _, value = field.partition("=")
        if name:
            yield decode(name), decode(value.replace("+", " ")).strip()


def _tags(fields: dict[str, str], fold_digits: bool) -> dict[str, str]:
    if not fields:
        return {}
    values = {name: fields.get(name, "") for name in TAGS}
    values["utm_source"] = values["utm_source"] or fields.get("source") or fields.get("ref", "")
    return {name: scrub(value, fold_digits)[:LONGEST_TAG] for name, value in values.items() if value}


def _escaped(fields: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What would end a field or begin a fragment is written in its percent-encoded form again."""
    for name, value in fields:
        yield name.translate(_ESCAPED), value.translate(_ESCAPED)


def _route(fragment: str) -> str:
    """A fragment's path. Nothing for `#access_token=…`, which signing in with another site leaves behind."""
    path = fragment.partition("?")[0]
    return "" if "=" in path and not path.startswith(("/", "!/")) else path


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) and host != pattern[2:] if pattern.startswith("*.") else host == pattern
