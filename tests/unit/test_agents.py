"""What user agents name, in people's words; `agents.txt` has the table."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headcount.privacy import agents
from headcount.privacy.agents import UNKNOWN, describe

LINES = (Path(__file__).parent / "agents.txt").read_text(encoding="utf-8").splitlines()[1:]
CHROME = LINES[0].split("\t")[3]
DEVICES = {"desktop", "mobile", "tablet", "tv", "other"}


@pytest.mark.parametrize("line", LINES)
def test_an_agent_is_described_as_people_would(line: str) -> None:
    browser_version, os_version, device, agent = line.split("\t")
    described = describe(agent)
    assert (described.browser_version, described.os_version, described.device) == (
        browser_version,
        os_version,
        device,
    )


def test_browser_and_system_are_named_with_and_without_their_version() -> None:
    assert describe(CHROME) == ("Chrome", "Chrome 131", "Windows", "Windows 10", "desktop")


@pytest.mark.parametrize("line", LINES)
def test_a_version_starts_with_the_name(line: str) -> None:
    described = describe(line.split("\t")[3])
    assert described.browser_version.startswith(described.browser)
    assert described.os_version.startswith(described.os)


def test_no_agent_is_unknown() -> None:
    assert describe("") == UNKNOWN


def test_an_agent_that_names_nothing_is_some_other_device() -> None:
    assert describe("nothing to see here") == ("", "", "", "", "other")


def test_a_client_cannot_write_its_own_text_into_a_name() -> None:
    for agent in ("Joe Doe/5.0 CFNetwork/1490 Darwin/23", "JoeDoeBot/1.0", "joe@example.com Crawler/2.0"):
        assert "joe" not in "".join(describe(agent)).lower()


@settings(deadline=None)  # the first call loads the list
@given(st.text())
def test_only_listed_names_come_out(text: str) -> None:
    for agent in (text, CHROME + text, f"Mozilla/5.0 ({text}) AppleWebKit/1 {text}/1.0"):
        described = describe(agent)
        assert described.browser in {"", *agents._BROWSERS.values()}
        assert described.os in {"", "iPadOS", *agents._SYSTEMS.values()}
        assert described.device in DEVICES | {""}


def test_bytes_that_are_no_utf_8_are_read_over() -> None:
    assert describe(CHROME + "\udcff").browser == "Chrome"


def test_only_the_first_1000_characters_are_read() -> None:
    assert describe("x" * 1000 + CHROME) == describe("x" * 1000)


@pytest.mark.parametrize(
    "piece", ["a", "Mozilla/5.0 (", "1.", "Android ", "(", ";", "Chrome/1 ", "A/1 CFNetwork "]
)
def test_a_hostile_agent_takes_milliseconds(piece: str) -> None:
    describe(CHROME)
    start = time.perf_counter()
    describe(piece * 2000)
    assert time.perf_counter() - start < 0.2
