"""Whose address counts: the socket's, or what a trusted proxy says, from the right."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.privacy import address

TRUSTED: list[IPv4Network | IPv6Network] = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
addresses = st.ip_addresses().filter(lambda found: getattr(found, "ipv4_mapped", None) is None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("::", "::"),
        ("::1", "::1"),
    ],
)
def test_an_address_is_read_in_every_form(text: str, expected: str) -> None:
    assert address.parse(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text",
    ["", " ", "unknown", "_hidden", "localhost", "example.com:80", "256.0.0.1", "192.0.2", "192.0.2.01", "1",
     "0x7f.1", "192.0.2.1/32", "192.0.2.1 192.0.2.2", "2001:db8::1::2", "[]", "[", ":", "12345::", "::ffff:1.2.3",
     "for=192.0.2.1", "١.٢.٣.٤", "\0", "192.0.2.1\0", "\udcff", "%", "[[::1]]"],
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert address.parse(text) is None


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    assert isinstance(address.parse(text), IPv4Address | IPv6Address | None)


@given(addresses, st.integers(0, 65535))
def test_a_port_changes_nothing(one: address.Address, port: int) -> None:
    written = f"[{one}]" if one.version == 6 else str(one)
    assert address.parse(str(one)) == address.parse(written) == address.parse(f"{written}:{port}") == one


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_same_client(one: IPv4Address) -> None:
    assert address.parse(f"::ffff:{one}") == address.parse(IPv6Address(f"::ffff:{one}").exploded) == one


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("192.0.2.9", [], "192.0.2.9"),
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7,198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1, fd00::2"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy(peer: str, header: list[str], expected: str) -> None:
    assert address.client_address(address.parse(peer), header, TRUSTED) == ip_address(expected)


@pytest.mark.parametrize("peer", [None, "", "@", "/run/headcount.sock"])
def test_without_a_peer_the_header_is_not_believed(peer: str | None) -> None:
    assert address.client_address(address.parse(peer or ""), ["198.51.100.1"], TRUSTED) is None


@given(st.lists(st.text()), addresses)
def test_nobody_can_put_an_address_left_of_the_proxy_s(invented: list[str], real: address.Address) -> None:
    header = [*invented, str(real)]
    found = address.client_address(address.parse("10.0.0.1"), header, TRUSTED)
    if not any(real in network for network in TRUSTED):
        assert found == real


@given(st.lists(st.text()), addresses)
def test_a_header_without_a_trusted_peer_changes_nothing(header: list[str], peer: address.Address) -> None:
    assert address.client_address(address.parse(str(peer)), header, []) == peer


def test_a_client_is_its_ipv4_address_or_its_ipv6_network() -> None:
    bytes_of = [
        address.network_bytes(ip_address(text))
        for text in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1")
    ]
    assert bytes_of[2] == bytes_of[3]
    assert len(set(bytes_of)) == 4
