"""The local copy of sites and tokens: written by one process, read by others."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

import make
from headcount.model import NO_SITE, Scope, Settings
from headcount.services import sites
from headcount.store.settings import SettingsFile

FULL = Settings(
    [
        make.site(
            "example.com",
            id=2**63 - 1,
            timezone="Europe/Riga",
            next_timezone="Asia/Kolkata",
            timezone_from=make.MADE,
            hostnames=("*.example.com",),
            query_params=("q",),
            props=("plan",),
            retention_days=7,
            gpc=False,
            fold_digits=False,
        ),
        make.site("b.example", id=2),
    ],
    [make.token("secret", Scope.STATS_READ, site_id=2)],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.msgpack"


def read(path: Path) -> SettingsFile:
    file = SettingsFile(path)
    file.refresh()
    return file


def test_a_reader_finds_what_was_written(path: Path) -> None:
    assert SettingsFile(path).write(FULL)
    found = read(path)
    assert found.loaded
    assert found.sites == FULL.sites
    assert (found.site("b.example"), found.token(sites.digest("secret"))) == (FULL.sites[1], FULL.tokens[0])


def test_without_a_copy_nothing_is_known(path: Path) -> None:
    found = read(path)
    assert not found.loaded
    assert (found.refresh(), found.sites, found.site("example.com"), found.token(b"")) == (
        False,
        [],
        None,
        None,
    )


def test_a_copy_without_sites_is_a_copy(path: Path) -> None:
    SettingsFile(path).write(Settings())
    assert read(path).loaded


def test_a_copy_is_written_only_if_something_changed(path: Path) -> None:
    file = SettingsFile(path)
    assert [file.write(settings) for settings in (FULL, FULL, Settings(), Settings())] == [
        True,
        False,
        True,
        False,
    ]


def test_a_replaced_copy_is_read_once(path: Path) -> None:
    SettingsFile(path).write(FULL)
    found = read(path)
    assert not found.refresh()
    SettingsFile(path).write(Settings([FULL.sites[0]]))
    assert (found.refresh(), found.refresh()) == (True, False)
    assert (found.site("b.example"), found.token(sites.digest("secret"))) == (None, None)


def test_a_new_site_or_token_is_found_at_once(path: Path) -> None:
    SettingsFile(path).write(Settings())
    found, other = read(path), read(path)
    SettingsFile(path).write(FULL)
    assert found.site("example.com") == FULL.sites[0]
    assert other.token(sites.digest("secret")) == FULL.tokens[0]


def test_a_site_is_known_by_its_number(path: Path) -> None:
    SettingsFile(path).write(FULL)
    found = read(path)
    assert [found.knows(id) for id in (2, 3, NO_SITE)] == [True, False, True]


def test_only_the_owner_can_read_it_and_it_holds_no_token(path: Path) -> None:
    SettingsFile(path).write(FULL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret" not in path.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xff" * 100, b"\x92\x90\x91\xc0"])
def test_a_damaged_copy_is_told_once_and_as_good_as_none(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(damage)
    found = read(path)
    assert (found.loaded, found.refresh(), found.site("example.com")) == (False, False, None)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert SettingsFile(path).write(FULL)
    assert (found.refresh(), found.sites) == (True, FULL.sites)


def test_what_was_known_stays_when_the_copy_is_damaged(path: Path) -> None:
    SettingsFile(path).write(FULL)
    found = read(path)
    path.write_bytes(b"broken")
    assert not found.refresh()
    assert found.sites == FULL.sites
