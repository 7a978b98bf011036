"""Names where a visit came from: the common name of a source, its kind, and the referring page.

Asks no network and keeps no cache on disk; in memory it caches hosts alone, which name websites, not people.
Never cache a whole referrer here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import tldextract

from headcount.privacy.scrub import scrub, visible
from headcount.privacy.url import decode, without_www

SOURCES = Path(__file__).parent / "data" / "sources.txt"
LONGEST_REFERRER = 500
"""Characters of a referrer that are kept."""

_LONGEST_READ = 2000
_REFERRER = re.compile(r"(https?|android-app|ios-app)://([^/?#\\]*+)([^?#]*+)", re.IGNORECASE)
_HOST = re.compile(r"(?=.{3,253}$)[\w-]++(?:\.[\w-]++)++")
_ADDRESS = re.compile(r"[\d.]+")
_PORT = re.compile(r":\d*$")
_AD_WORDS = frozenset(("ad", "ads"))
_AD_TAGS = frozenset(("adwords", "gads", "microsoft-ads", "microsoftads"))
# The path of a page of these names a mailbox, a talk or a person's questions.
_PRIVATE_KINDS = frozenset(("mail", "chat", "ai"))


class Source(NamedTuple):
    """Where a visit came from; all empty: not known, or from the site itself."""

    name: str
    kind: str
    """search, ai, social, chat, mail, video, shopping, other; empty for a source that is not listed."""
    referrer: str
    """The host without `www.`, and the path."""


class _Listed(NamedTuple):
    domains: dict[str, tuple[str, str]]
    """(name, kind) of a domain, of `example.*` or of `app:id`."""
    tags: dict[str, tuple[str, str]]


NOWHERE = Source("", "", "")


def classify(referrer: str, own: Callable[[str], bool], fold_digits: bool = True) -> Source:
    """The source that a referrer names; NOWHERE if it is none, an address, or a host that is `own`."""
    parts = _REFERRER.match(visible(referrer[:_LONGEST_READ])) if referrer else None
    if parts is None:
        return NOWHERE
    scheme, authority, path = parts.groups()
    host = _PORT.sub("", authority.rpartition("@")[2]).lower().rstrip(".")
    if _HOST.fullmatch(host) is None or _ADDRESS.fullmatch(host) or own(host):
        return NOWHERE
    host = without_www(host)
    if not scheme.lower().startswith("http"):
        name, kind = _known_app(host)
        return Source(name, kind, host)
    name, kind = _known_host(host)
    if not name:
        return NOWHERE
    if kind not in _PRIVATE_KINDS:
        host += scrub(decode(path), fold_digits).rstrip("/")
    return Source(name, kind, host[:LONGEST_REFERRER])


def name_of_tag(utm_source: str) -> str:
    """The common name of what `utm_source` (or `ref`) says, else the value itself."""
    return (_known_tag(utm_source) or (utm_source, ""))[0]


def kind_of_tag(utm_source: str) -> str:
    return (_known_tag(utm_source) or ("", ""))[1]


def is_ad_tag(utm_source: str) -> bool:
    """Whether it names a known source's advertisements: `fb-ads`, `facebook_feed_ad`, `adwords`."""
    tag = utm_source.strip().lower()
    return tag in _AD_TAGS or _advertiser(tag) in _listed().tags


def _known_tag(utm_source: str) -> tuple[str, str] | None:
    tag = utm_source.strip().lower()
    found = _listed().tags.get(tag) or _listed().tags.get(_advertiser(tag))
    if found is None and "." in tag and _HOST.fullmatch(tag):
        found = _listed_host(without_www(tag))
    return found


def _advertiser(tag: str) -> str:
    """`facebook` for `facebook_ads`, `facebook_feed_ad` and `facebookads`; empty if it is no such tag."""
    words = re.split(r"[-_. ]", tag)
    if words[-1] in _AD_WORDS:
        return words[0] if len(words) > 1 else ""
    return tag.removesuffix("s").removesuffix("ad") if tag.endswith(("ads", "ad")) else ""


def _known_app(package: str) -> tuple[str, str]:
    return _listed().domains.get(f"app:{package}") or (package, "")


@lru_cache(maxsize=4096)
def _known_host(host: str) -> tuple[str, str]:
    """Name and kind of a host; empty if it is none of the public internet, but a machine in some network."""
    return _listed_host(host) or (_registrable(host), "")


def _listed_host(host: str) -> tuple[str, str] | None:
    suffix = _extract()(host).suffix
    domains = _listed().domains
    for domain in _parents(host, suffix):
        found = domains.get(domain) or domains.get(domain.removesuffix(suffix) + "*")
        if found is not None:
            return found
    return None


def _parents(host: str, suffix: str) -> Iterator[str]:
    """`host` and what it is a subdomain of, down to the registrable domain."""
    while suffix and host != suffix and host.endswith(suffix):
        yield host
        host = host.partition(".")[2]


def _registrable(host: str) -> str:
    # With the private part of the list, alice.github.io and bob.github.io are two sites.
    return _extract()(host, include_psl_private_domains=True).top_domain_under_public_suffix


@cache
def _extract() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@cache
def _listed() -> _Listed:
    listed = _Listed({}, {})
    for line in SOURCES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, kind, domains, *tags = line.split("\t")
            listed.domains.update(dict.fromkeys(domains.split(), (name, kind)))
            listed.tags.update(dict.fromkeys(" ".join(tags).split(), (name, kind)))
    return listed
