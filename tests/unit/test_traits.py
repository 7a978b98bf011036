"""Screens fall into five classes, and of the languages one is kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.privacy.traits import primary_language, screen_class


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, ""),
        (-1, ""),
        (0, ""),
        (1, "XS"),
        (575, "XS"),
        (576, "S"),
        (767, "S"),
        (768, "M"),
        (1023, "M"),
        (1024, "L"),
        (1439, "L"),
        (1440, "XL"),
        (7680, "XL"),
        (32_767, "XL"),
        (32_768, ""),
    ],
)
def test_a_screen_falls_into_a_class(width: int | None, expected: str) -> None:
    assert screen_class(width) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de", "de"),
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.1,fr", "fr"),
        ("en-US;q=0.5, de ; q=0.7", "de"),
        ("fr;q=0.5,de;q=0.5", "fr"),
        ("EN-gb", "en"),
        ("zh-Hant-TW", "zh"),
        ("gsw", "gsw"),
        ("en;q=0,de;q=0.001", "de"),
        ("*;q=1,sv;q=0.1", "sv"),
        ("iw", "he"),
        ("x-klingon,de;q=0.1", "de"),
        ("de;q=1.000", "de"),
        ("", ""),
        ("*", ""),
        ("en;q=0", ""),
        ("i-klingon", ""),
        ("german", ""),
        ("de;q=2", ""),
        ("de;q=0.1234", ""),
        ("d3", ""),
        ("../../etc", ""),
    ],
)
def test_the_language_wanted_most_is_kept(header: str, expected: str) -> None:
    assert primary_language(header) == expected


@given(st.text())
def test_a_language_is_two_or_three_small_letters_or_nothing(text: str) -> None:
    for header in (text, f"de;{text}", f"{text},en;q=0.1"):
        language = primary_language(header)
        assert language == "" or (len(language) in (2, 3) and language.isascii() and language.islower())


@pytest.mark.parametrize("piece", ["a", ",", ";", "de;q=0.5,", " ", "de-", "q=", "-a"])
def test_a_hostile_header_takes_milliseconds(piece: str) -> None:
    start = time.perf_counter()
    primary_language(piece * 4000)
    assert time.perf_counter() - start < 0.2
