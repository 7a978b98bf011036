"""License keys: shown, typed, mistyped, digested."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from headcount import errors
from headcount.licensing import keys

BODY = "7K2QM0RT5XW8E9C3VNYBZ4D61G"
PLAIN = f"HC{BODY}{keys._check(BODY)}"


def test_a_key_has_six_groups_of_five() -> None:
    groups = keys.shown(PLAIN).split("-")
    assert (groups[0], [len(group) for group in groups[1:]]) == ("HC", [5] * 6)


def test_a_key_has_at_least_128_random_bits() -> None:
    assert keys.RANDOM * 5 >= 128
    assert len({keys.new() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "typed",
    [
        keys.shown(PLAIN),
        keys.shown(PLAIN).lower(),
        PLAIN,
        " " + keys.shown(PLAIN).replace("-", " ") + "\n",
        keys.shown(PLAIN).replace("0", "O").replace("1", "l"),
        keys.shown(PLAIN).replace("1", "I"),
    ],
)
def test_a_key_is_read_as_people_type_it(typed: str) -> None:
    assert keys.parse(typed) == PLAIN


def slips(plain: str) -> set[str]:
    """The key with one character wrong, and with two neighbours swapped, at each place."""
    wrong = {plain[:at] + c + plain[at + 1 :] for at in range(2, 32) for c in keys.ALPHABET}
    swapped = {plain[:at] + plain[at + 1] + plain[at] + plain[at + 2 :] for at in range(2, 31)}
    return (wrong | swapped) - {plain}


def test_a_typo_is_found_without_a_look_up() -> None:
    typos = slips(PLAIN)
    assert len(typos) > 900
    for typed in typos:
        with pytest.raises(errors.BadInput, match="typo"):
            keys.parse(typed)


@pytest.mark.parametrize(
    "typed", ["", "HC", "HC-", PLAIN[:-1], PLAIN + "0", "XX" + PLAIN[2:], "HC" + "U" * 30, "é" * 40]
)
def test_what_is_no_key_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        keys.parse(typed)
    assert caught.value.field == "key"
    assert len(typed) < 5 or typed not in caught.value.message


def test_the_digests_are_those_that_clients_compute() -> None:
    assert keys.digest(PLAIN).hex() == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert (
        keys.instance_digest(PLAIN, "ïnstall-1").hex()
        == hmac.new(PLAIN.encode(), "ïnstall-1".encode(), hashlib.sha256).hexdigest()
    )


def test_one_install_under_two_licenses_cannot_be_recognised() -> None:
    assert keys.instance_digest(keys.new(), "host.example.com") != keys.instance_digest(
        PLAIN, "host.example.com"
    )
