"""Countries from files in MaxMind's format, which come and go while the server runs."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from headcount import errors
from headcount.store import geoip
from headcount.store.geoip import SHIPPED, Countries
from make_countries import database

RESOLVER = ip_address("8.8.8.8")


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
