"""Countries by their code."""

from __future__ import annotations

import pytest

from headcount.privacy import countries
from headcount.privacy.countries import country_name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("DE", "Germany"),
        ("de", "Germany"),
        ("CI", "Côte d’Ivoire"),
        ("XK", "Kosovo"),
        ("T1", "Tor network"),
        ("XX", "Unknown"),
        ("", "Unknown"),
        ("ZZ", "ZZ"),
    ],
)
def test_a_code_has_its_name(code: str, name: str) -> None:
    assert country_name(code) == name


def test_all_249_countries_of_the_standard_have_a_name_of_their_own() -> None:
    standard = {code: name for code, name in countries._NAMES.items() if code not in ("XK", "T1", "XX")}
    assert len(standard) == len(set(standard.values())) == 249
    assert all(len(code) == 2 and code.isascii() and code.isupper() for code in standard)
