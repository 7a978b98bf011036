"""Everything that reads what a stranger sends, as one list. Each takes any bytes, and raises only if it is wrong.

A parser may refuse with one of our errors. What it takes has to be text that Postgres and UTF-8 can hold, within
the limits of its field.
"""

from __future__ import annotations

import ipaddress
import json as builtin_json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import orjson

import make
from headcount import errors
from headcount.licensing import jws, keys, tokens, versions
from headcount.privacy import address, agents, bots, scrub, sources, traits, url
from headcount.wire import check, event, fields, json, license, paging, plan, product, query, release, site

Target = Callable[[bytes], None]

_PUBLIC = jws.new_key()[1]
_SECRET, _INSTALL = b"s" * 32, b"i" * 32
_PEER = ipaddress.ip_address("10.0.0.1")
_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
_SITE = make.site()
_HIDDEN = "\u202e\u200b\x00\x1b"


def storable(value: Any) -> None:
    """Every text in it can be stored."""
    if isinstance(value, str):
        assert "\0" not in value
        value.encode()
    elif isinstance(value, dict):
        for name, item in value.items():
            storable(name)
            storable(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            storable(item)
    elif isinstance(value, msgspec.Struct):
        storable([getattr(value, name) for name in value.__struct_fields__])


def as_header(data: bytes) -> str:
    """The text that an HTTP parser makes of the bytes of a header."""
    return data.decode(errors="surrogateescape")


def as_text(data: bytes) -> str:
    """The text that a JSON parser can make of bytes: any character, but no lone surrogate."""
    return data.decode(errors="replace")


def decoded(data: bytes) -> None:
    again = builtin_json.dumps(json.decode(data, limit=1 << 20)).encode()
    assert json.decode(again, limit=1 << 22) == json.decode(data, limit=1 << 20)


def events(data: bytes) -> None:
    found = event.parse(data)
    for one in found if isinstance(found, list) else [found]:
        storable(one)
        assert len(one.name) <= event.MAX_NAME
        assert len(one.props) <= event.MAX_PROPS
        assert len(one.domains) <= event.MAX_DOMAINS
        assert len(one.referrer.encode()) <= event.MAX_REFERRER


def checks(data: bytes) -> None:
    found = check.parse(data)
    storable(found)
    assert len(found.instance) <= check.MAX_INSTANCE


def holders(data: bytes) -> None:
    storable(check.holder(data))


def questions(data: bytes) -> None:
    found = query.parse(data)
    orjson.dumps(found.asked_filters)
    storable([found.site_id, found.metrics, [one.key for one in found.dimensions], found.asked_filters])


def read(kind: type[msgspec.Struct]) -> Target:
    """What the management API reads into this struct."""

    def target(data: bytes) -> None:
        fields.read(kind, json.decode(data, 32 << 10))

    return target


def sites(data: bytes) -> None:
    given = site.parse(data)
    storable(site.merge(_SITE, given))


def pages(data: bytes) -> None:
    text = as_text(data)
    for whole in (text, f"https://example.com/{text}", f"https://{text}/"):
        with suppress(errors.BadInput):
            found = url.read_url(whole, hash_routing=True, query_params=("q",), fold_digits=True)
            storable(found)
            assert len(found.page.encode()) <= url.LONGEST_URL
            assert all(len(value) <= url.LONGEST_TAG for value in found.tags.values())
            assert not set(found.page) & set(_HIDDEN)


def domains(data: bytes) -> None:
    text = as_text(data)
    url.host_allowed(text[:253], "example.com", ("*.example.com", text[:253]))
    if url.is_domain(text):
        assert len(text) <= 253
        assert text.isascii()


def scrubbed(data: bytes) -> None:
    text = as_text(data[:2000])
    once = scrub.scrub(text)
    storable(once)
    assert scrub.scrub(once) == once


def referrers(data: bytes) -> None:
    text = as_text(data)
    for whole in (text, f"https://{text}", f"https://other.example/{text}", f"android-app://{text}"):
        found = sources.classify(whole, lambda host: host == "example.com")
        storable(found)
        assert len(found.referrer) <= sources.LONGEST_REFERRER
    sources.name_of_tag(text[:500])
    sources.is_ad_tag(text[:500])


def devices(data: bytes) -> None:
    text = as_header(data)
    for agent in (text, f"Mozilla/5.0 ({text}", f"Mozilla/5.0 (X11) Gecko/{text}"):
        found = agents.describe(agent)
        storable(found)
        assert all(len(word) < 40 for word in found)
        bots.bot_class(agent, {"Sec-Purpose": text, "From": text})


def languages(data: bytes) -> None:
    language = traits.primary_language(as_header(data))
    assert len(language) <= 3
    assert not language or language.isalpha()
    bots.is_prefetch({"Purpose": as_header(data)})


def addresses(data: bytes) -> None:
    text = as_header(data)
    address.parse(text)
    found = address.client_address(_PEER, [text, f"203.0.113.9, {text}"], _PROXIES)
    assert found is not None


def license_keys(data: bytes) -> None:
    plain = keys.parse(as_text(data))
    assert keys.parse(keys.shown(plain)) == plain


def signed(data: bytes) -> None:
    assert jws.read(as_text(data), jws.CHECK, jws.ROOT, _PUBLIC) is None


def rotating(data: bytes) -> None:
    assert tokens.read(_SECRET, _INSTALL, as_text(data)) == tokens.NONE


def numbers(data: bytes) -> None:
    text = as_text(data)[: versions.MAX_LENGTH]
    found = versions.install(text, text, text, text, ())
    storable(found)
    assert versions.version(found.version) == found.version
    versions.order(found.version)


def places(data: bytes) -> None:
    text = as_text(data)
    paging.number(text)
    paging.limit(text)


def moments(data: bytes) -> None:
    license.moment("expires_at", as_text(data))


TARGETS: dict[str, Target] = {
    "JSON": decoded,
    "events": events,
    "license checks": checks,
    "holders of keys": holders,
    "questions": questions,
    "sites": sites,
    "plans": read(plan.Fields),
    "licenses": read(license.Fields),
    "products": read(product.Fields),
    "releases": read(release.Fields),
    "pages": pages,
    "domains": domains,
    "texts to scrub": scrubbed,
    "referrers": referrers,
    "agents": devices,
    "languages": languages,
    "addresses": addresses,
    "license keys": license_keys,
    "signatures": signed,
    "tokens": rotating,
    "versions": numbers,
    "places in lists": places,
    "moments": moments,
}


def attempt(target: Target, data: bytes) -> None:
    """One attempt: only our own errors may come out, and they can be said."""
    try:
        target(data)
    except errors.HeadcountError as error:
        error.message.encode()
