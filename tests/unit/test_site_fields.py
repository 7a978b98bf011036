"""A site's settings, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from headcount import errors
from headcount.model import Site
from headcount.wire import site as wire

SITE = make.site("example.com")


def merged(**given: Any) -> Site:
    return wire.merge(SITE, wire.from_values(given))


def test_what_is_left_out_stays_as_it_is() -> None:
    before = make.site(hostnames=("a.example",), retention_days=7, gpc=False)
    assert wire.merge(before, wire.from_values({})) == before


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("domain", " WWW.Example.ORG ", "example.org"),
        ("domain", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("domain", "localhost", "localhost"),
        ("timezone", "Asia/Kolkata", "Asia/Kolkata"),
        ("hostnames", ["*.a.example", "localhost"], ("*.a.example", "localhost")),
        ("query_params", ["q", "items[]"], ("q", "items[]")),
        ("props", ["größe", "x" * 300], ("größe", "x" * 300)),
        ("retention_days", 1, 1),
        ("retention_days", 30, 30),
        ("retention_days", None, None),
        ("gpc", False, False),
        ("fold_digits", False, False),
    ],
)
def test_a_setting_is_taken(name: str, given: Any, expected: Any) -> None:
    assert getattr(merged(**{name: given}), name) == expected


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ([], "body", "JSON object"),
        ("example.com", "body", "JSON object"),
        ({"colour": "red"}, "colour", "there is only domain, timezone"),
        ({"id": 1}, "id", "there is only domain, timezone"),
        ({"created_at": "2026-01-01"}, "created_at", "there is only domain, timezone"),
        ({"domain": None}, "domain", "Expected `str`"),
        ({"domain": ["example.com"]}, "domain", "Expected `str`"),
        ({"domain": ""}, "domain", "at most 253 characters"),
        ({"domain": "https://example.com"}, "domain", "a host name such as example.com"),
        ({"domain": "example.com/path"}, "domain", "a host name such as example.com"),
        ({"domain": "example.com:80"}, "domain", "a host name such as example.com"),
        ({"domain": "exa mple.com"}, "domain", "a host name such as example.com"),
        ({"domain": "bücher.example"}, "domain", "a host name such as example.com"),
        ({"domain": "a." * 126 + "com"}, "domain", "at most 253 characters"),
        ({"domain": "a\0.com"}, "domain", "a host name such as example.com"),
        ({"timezone": "Riga"}, "timezone", "IANA name such as Europe/Riga"),
        ({"timezone": "../etc/passwd"}, "timezone", "IANA name such as Europe/Riga"),
        ({"timezone": None}, "timezone", "Expected `str`"),
        ({"hostnames": "example.com"}, "hostnames", "Expected `array`"),
        ({"hostnames": ["a.example", 1]}, "hostnames", "Expected `str`, got `int` - at `$[1]`"),
        ({"hostnames": ["*"]}, "hostnames", "*.example.com for subdomains, not '*'"),
        ({"hostnames": ["*.*.example"]}, "hostnames", "*.example.com for subdomains"),
        ({"hostnames": ["a.example"] * 101}, "hostnames", "at most 100 entries; this has 101"),
        ({"query_params": ["a b"]}, "query_params", "1 to 100 letters"),
        ({"query_params": ["a" * 101]}, "query_params", "1 to 100 letters"),
        ({"query_params": ["a"] * 51}, "query_params", "at most 50 entries; this has 51"),
        ({"props": [""]}, "props", "1 to 300 bytes"),
        ({"props": ["ä" * 151]}, "props", "1 to 300 bytes"),
        ({"props": ["a\0"]}, "props", "1 to 300 bytes"),
        ({"props": ["\udcff"]}, "props", "1 to 300 bytes"),
        ({"props": ["a"] * 31}, "props", "at most 30 entries; this has 31"),
        ({"retention_days": 0}, "retention_days", "from 1 to 30"),
        ({"retention_days": 31}, "retention_days", "from 1 to 30"),
        ({"retention_days": 10**30}, "retention_days", "from 1 to 30"),
        ({"retention_days": "7"}, "retention_days", "Expected `int | null`"),
        ({"retention_days": True}, "retention_days", "Expected `int | null`"),
        ({"gpc": 1}, "gpc", "Expected `bool`"),
        ({"gpc": None}, "gpc", "Expected `bool`"),
        ({"fold_digits": "no"}, "fold_digits", "Expected `bool`"),
    ],
)
def test_a_fault_names_its_field_and_the_limit(given: Any, field: str, says: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        wire.merge(SITE, wire.from_values(given))
    assert (caught.value.field, says in caught.value.message) == (field, True), caught.value.message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from(wire.Fields.__struct_fields__), values))
def test_whatever_is_given_is_a_site_or_bad_input(given: dict[str, Any]) -> None:
    try:
        found = wire.merge(SITE, wire.from_values(given))
    except errors.BadInput:
        return
    assert found.id == SITE.id
    assert all(name.encode() for name in (found.domain, *found.hostnames, *found.query_params, *found.props))


def test_a_body_is_bounded() -> None:
    body = json.dumps({"gpc": True}).encode()
    assert wire.parse(body.ljust(wire.MAX_BODY)).gpc is True
    with pytest.raises(errors.TooLarge):
        wire.parse(body.ljust(wire.MAX_BODY + 1))
