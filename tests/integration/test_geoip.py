"""Countries from files in MaxMind's format, which come and go while the server runs."""

from __future__ import annotations

import os
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from headcount import errors
from headcount.store import geoip
from headcount.store.geoip import SHIPPED, Countries

RESOLVER = ip_address("8.8.8.8")
MADE_AT = 1_780_000_000


def encode(value: Any) -> bytes:
    """A value of MaxMind's data section; a number up to 65,535 has 16 bits there, others are given as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return bytes([2 << 5 | len(value)]) + value.encode()
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(encode(x) for pair in value.items() for x in pair)
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(encode, value))
    return bytes([5 << 5 | 2]) + int(value).to_bytes(2, "big")


def database(records: dict[str, Any]) -> bytes:
    """A file in MaxMind's format (version 2.0) that knows these networks; IPv4 lies in ::/96."""
    tree: list[list[int | None]] = [[None, None]]
    data, offsets = b"", []
    for network, record in records.items():
        found = ip_network(network)
        bits, length = (
            int(found.network_address),
            found.prefixlen + (0 if isinstance(found, IPv6Network) else 96),
        )
        node = 0
        for depth in range(length):
            bit = bits >> (127 - depth) & 1
            if depth == length - 1:
                offsets.append((node, bit, len(data)))
            elif tree[node][bit] is None:
                tree[node][bit] = len(tree)
                tree.append([None, None])
            node = tree[node][bit] or 0
        data += encode(record)
    count = len(tree)
    for node, bit, offset in offsets:
        tree[node][bit] = count + 16 + offset
    nodes = b"".join((count if side is None else side).to_bytes(3, "big") for pair in tree for side in pair)
    about = {
        "node_count": bytes([6 << 5 | 4]) + count.to_bytes(4, "big"),
        "record_size": 24,
        "ip_version": 6,
        "database_type": "Test-Country",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": bytes([8, 9 - 7]) + MADE_AT.to_bytes(8, "big"),
        "description": {},
    }
    return nodes + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(about)


def country_file(code: str) -> bytes:
    return database({"8.8.8.0/24": {"country_code": code}})


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def opened(configured: Path | str, data_dir: Path) -> Countries:
    countries = Countries(str(configured), data_dir)
    countries.refresh()
    return countries


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country_code": "US"}, "US"),
        ({"country": {"iso_code": "US", "names": {"en": "United States"}}}, "US"),
        ({"country_code": "LV", "country": {"iso_code": "US"}}, "LV"),
    ],
)
def test_both_ways_of_writing_a_country_are_read(tmp_path: Path, record: Any, expected: str) -> None:
    (tmp_path / "file.mmdb").write_bytes(database({"8.8.8.0/24": record, "2001:db8::/32": record}))
    countries = opened(tmp_path / "file.mmdb", tmp_path)
    assert countries.country(RESOLVER) == countries.country(ip_address("2001:db8::1")) == expected
    assert countries.country(ip_address("9.9.9.9")) == countries.country(ip_address("::1")) == ""


def test_the_file_that_is_shipped_knows_the_world(tmp_path: Path) -> None:
    countries = opened("", tmp_path)
    assert countries.facts is not None
    assert (countries.facts.path, countries.facts.bytes > 1_000_000) == (SHIPPED, True)
    found = [countries.country(ip_address(text)) for text in ("8.8.8.8", "2a02:2e0:3fe::1", "127.0.0.1")]
    assert found == ["US", "DE", ""]


@pytest.mark.parametrize(
    "record", ["US", {}, {"country_code": 1}, {"country_code": "USA"}, {"country": "US"}]
)
def test_what_is_no_country_is_none(tmp_path: Path, record: Any) -> None:
    (tmp_path / "file.mmdb").write_bytes(
        database({"8.8.8.0/24": record, "193.0.6.0/24": {"country_code": "NL"}})
    )
    assert opened(tmp_path / "file.mmdb", tmp_path).country(RESOLVER) == ""


def test_a_replaced_file_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "file.mmdb"
    replace(path, country_file("US"))
    countries = opened(path, tmp_path)
    assert not countries.refresh()
    replace(path, country_file("LV"))
    assert [countries.refresh(), countries.refresh()] == [True, False]
    assert countries.country(RESOLVER) == "LV"


BROKEN = [
    b"",
    b"no database",
    country_file("US")[:-30],
    country_file("US")[:100] + country_file("US")[-200:],
    database({"10.0.0.0/8": {"country_code": "US"}}),
    database({"8.8.8.0/24": {"city": "Riga"}}),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_file_is_refused_once_and_the_old_one_kept(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "file.mmdb"
    replace(path, country_file("LV"))
    countries = opened(path, tmp_path)
    replace(path, broken)
    with pytest.raises(errors.BadInput, match=r"can be read|well-known addresses"):
        countries.refresh()
    assert (countries.refresh(), countries.country(RESOLVER)) == (False, "LV")
    replace(path, country_file("EE"))
    assert (countries.refresh(), countries.country(RESOLVER)) == (True, "EE")


def test_a_file_that_is_gone_is_told_once_and_the_old_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "file.mmdb"
    replace(path, country_file("LV"))
    countries = opened(path, tmp_path)
    path.unlink()
    with pytest.raises(errors.BadInput, match=r"file\.mmdb"):
        countries.refresh()
    assert (countries.refresh(), countries.country(RESOLVER)) == (False, "LV")


def test_a_file_cut_short_while_it_is_read_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "file.mmdb"
    path.write_bytes(SHIPPED.read_bytes())
    countries = opened(path, tmp_path)
    os.truncate(path, 100)
    assert countries.country(RESOLVER) == "US"


@pytest.mark.parametrize("broken", [None, b"no database"])
def test_at_the_start_the_shipped_file_stands_in_for_a_broken_one(
    tmp_path: Path, broken: bytes | None
) -> None:
    if broken is not None:
        (tmp_path / "file.mmdb").write_bytes(broken)
    countries = Countries(str(tmp_path / "file.mmdb"), tmp_path)
    with pytest.raises(errors.BadInput):
        countries.refresh()
    assert countries.country(RESOLVER) == "US"


def test_a_file_put_to_use_is_taken_by_a_running_server(tmp_path: Path) -> None:
    running = opened("", tmp_path)
    (tmp_path / "mine.mmdb").write_bytes(country_file("LV"))
    facts = Countries("", tmp_path).use(tmp_path / "mine.mmdb")
    assert (facts.path, facts.kind, facts.built_at.year) == (tmp_path / "geoip.mmdb", "Test-Country", 2026)
    assert (running.refresh(), running.country(RESOLVER)) == (True, "LV")


def test_a_broken_file_cannot_be_put_to_use(tmp_path: Path) -> None:
    (tmp_path / "mine.mmdb").write_bytes(b"no database")
    with pytest.raises(errors.BadInput, match=r"mine\.mmdb"):
        Countries("", tmp_path).use(tmp_path / "mine.mmdb")
    assert not (tmp_path / "geoip.mmdb").exists()


def test_a_refusal_does_not_say_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "mine.mmdb").write_bytes(b"hunter2" * 100)
    with pytest.raises(errors.BadInput) as caught:
        geoip.open_checked(tmp_path / "mine.mmdb")
    assert "hunter2" not in caught.value.message
