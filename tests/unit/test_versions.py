"""What is kept of what an install says of itself: known words, and nothing that could ride along."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.licensed import Install, Release
from headcount.licensing import versions


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2", "2"),
        ("2.4", "2.4"),
        ("v2.4.1", "2.4.1"),
        ("2.5.0-beta.1", "2.5.0-beta.1"),
        ("2.5.0b1", "2.5.0-b.1"),
        ("2.5.0-RC2", "2.5.0-rc.2"),
        ("2.5.0-rc", "2.5.0-rc"),
        ("2.5.0+build.77", "2.5.0"),
        ("1.2.3.4", "1.2"),
        ("127.77.13.5", "127.77"),
        ("2.5.0-alice@example.com", "2.5.0"),
        ("2.5.0-web01.example.com", "2.5.0"),
        ("20260115", "20260115"),
        ("007.1", "7.1"),
        ("latest", ""),
        ("", ""),
        ("web01.example.com", ""),
        ("alice@example.com", ""),
        ("::1", ""),
        ("123456789", ""),
        ("2.4\n", "2.4"),
        ("²", ""),
    ],
)
def test_a_version_is_numbers_and_a_pre_release_word(given: str, kept: str) -> None:
    assert versions.version(given) == kept


@given(st.text(max_size=100))
def test_a_plain_version_is_its_own_plain_version(text: str) -> None:
    plain = versions.version(text)
    assert versions.version(plain) == plain
    assert len(plain) <= 46


def test_versions_are_sorted_as_people_expect() -> None:
    sorted_by_hand = ["1.9", "1.10-alpha", "1.10-beta.2", "1.10-beta.10", "1.10", "1.10.1", "2-rc.1", "2"]
    assert sorted(reversed(sorted_by_hand), key=versions.order) == sorted_by_hand


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (("", "", ""), ("production", "", "")),
        (("Staging", "Linux", "AMD64"), ("staging", "linux", "x86_64")),
        (("qa", "Darwin", "aarch64"), ("qa", "macos", "arm64")),
        (("web01.example.com", "127.77.13.5", "alice@example.com"), ("other", "other", "other")),
    ],
)
def test_environment_system_and_architecture_are_closed_lists(
    given: tuple[str, str, str], kept: tuple[str, str, str]
) -> None:
    environment, os, arch = kept
    assert versions.install("1.0", *given, ("qa",)) == Install(
        version="1.0", environment=environment, os=os, arch=arch
    )


RELEASES = (
    Release(version="2.0"),
    Release(version="2.1", plans=("team",)),
    Release(version="3.0-beta.1", channel="beta"),
    Release(version="1.9"),
)


@pytest.mark.parametrize(
    ("installed", "plan", "channel", "told"),
    [
        ("1.0", "solo", "stable", "2.0"),
        ("1.0", "team", "stable", "2.1"),
        ("2.1-rc.1", "team", "stable", "2.1"),
        ("2.1", "team", "stable", None),
        ("9.0", "team", "stable", None),
        ("1.0", "team", "beta", "3.0-beta.1"),
        ("1.0", "team", "nightly", None),
        ("", "team", "stable", None),
    ],
)
def test_an_install_is_told_of_the_newest_release_for_its_plan_and_channel(
    installed: str, plan: str, channel: str, told: str | None
) -> None:
    found = versions.newest(RELEASES, installed, plan, channel)
    assert (found.version if found else None) == told
