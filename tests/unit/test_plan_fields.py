"""Plans and releases field by field: every limit is named, and holds on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from headcount import errors
from headcount.licensed import DAY, Plan
from headcount.wire import fields
from headcount.wire import plan as wire
from headcount.wire import release as release_wire

DEFAULT = Plan(id=1, name="team")


def merged(**given: Any) -> Plan:
    return wire.merge(DEFAULT, fields.read(wire.Fields, given))


@pytest.mark.parametrize(
    "given",
    [
        {"seats": None},
        {"seats": 0},
        {"seats": 1_000_000},
        {"check_interval": 10, "lease": 30},
        {"check_interval": 30 * DAY, "lease": 90 * DAY},
        {"lease": 365 * DAY},
        {"grace": 0},
        {"grace": 365 * DAY},
        {"entitlements": {}},
        {"entitlements": {"a" * 64: True, "B.9_-": False, "n": -(2**53) + 1, "text": "x" * 200}},
        {"entitlements": {str(number): number for number in range(100)}},
        {"environments": ()},
        {"environments": tuple(f"e.{number}_-" for number in range(20))},
        {"environments": ("e" * 32,)},
        {"name": "9" + "z" * 62},
    ],
    ids=str,
)
def test_what_is_within_the_limits_is_taken(given: dict[str, Any]) -> None:
    plan = merged(**given)
    assert {name: getattr(plan, name) for name in given} == given


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"seats": -1}, "seats", "from 0 to 1000000, or null for no limit"),
        ({"seats": 1_000_001}, "seats", "from 0 to 1000000"),
        ({"seats": True}, "seats", "Expected `int | null`"),
        ({"seats": "5"}, "seats", "Expected `int | null`"),
        ({"check_interval": 9}, "check_interval", "from 10 to 2592000 seconds; this is 9"),
        (
            {"check_interval": 30 * DAY + 1, "lease": 365 * DAY},
            "check_interval",
            "from 10 to 2592000 seconds",
        ),
        ({"check_interval": 10**400}, "check_interval", "from 10 to 2592000 seconds"),
        ({"lease": 3 * DAY - 1}, "lease", "at least 3 times check_interval: 259200 seconds"),
        ({"lease": 365 * DAY + 1}, "lease", "from 259200 to 31536000 seconds"),
        ({"check_interval": 10 * DAY}, "lease", "at least 3 times check_interval: 2592000 seconds"),
        ({"grace": -1}, "grace", "from 0 to 31536000 seconds"),
        ({"grace": 365 * DAY + 1}, "grace", "from 0 to 31536000 seconds"),
        ({"grace": 1.5}, "grace", "Expected `int`"),
        (
            {"entitlements": {str(number): True for number in range(101)}},
            "entitlements",
            "at most 100 entries",
        ),
        ({"entitlements": {"a b": True}}, "entitlements", "names of 1 to 64 letters"),
        ({"entitlements": {"": True}}, "entitlements", "names of 1 to 64 letters"),
        ({"entitlements": {"a" * 65: True}}, "entitlements", "names of 1 to 64 letters"),
        ({"entitlements": {"a": "x" * 201}}, "entitlements", "at most 200 characters"),
        ({"entitlements": {"a": "\0"}}, "entitlements", "U+0000"),
        ({"entitlements": {"a": 2**53}}, "entitlements", "to 9007199254740991"),
        ({"entitlements": {"a": 1.5}}, "entitlements", "Expected"),
        ({"entitlements": {"a": None}}, "entitlements", "Expected"),
        ({"entitlements": ["sso"]}, "entitlements", "Expected `object`"),
        ({"environments": ["production"]}, "environments", "never has production"),
        ({"environments": ["Staging"]}, "environments", "names of 1 to 32"),
        ({"environments": ["e" * 33]}, "environments", "names of 1 to 32"),
        ({"environments": [str(number) for number in range(21)]}, "environments", "at most 20 entries"),
        ({"name": "Team"}, "name", "1 to 63 of the characters a-z 0-9"),
        ({"name": "z" * 64}, "name", "1 to 63 of the characters a-z 0-9"),
        ({"name": ""}, "name", "1 to 63 of the characters a-z 0-9"),
        ({"price": 5}, "price", "there is only product, name, seats"),
    ],
    ids=str,
)
def test_what_is_not_names_the_field_and_its_limit(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(errors.BadInput) as raised:
        merged(**given)
    assert raised.value.field == field
    assert says in raised.value.message


def test_what_is_left_out_stays() -> None:
    plan = merged(seats=5, environments=["test"])
    assert wire.merge(plan, fields.read(wire.Fields, {"grace": 0})) == Plan(
        id=1, name="team", seats=5, environments=("test",), grace=0
    )


# Releases


def test_a_release_needs_nothing_but_a_version() -> None:
    found = release_wire.release(fields.read(release_wire.Fields, {"version": "v2.4.1+build.7"}))
    assert (found.version, found.channel, found.url, found.plans) == ("2.4.1", "stable", "", ())


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({}, "version", "is required"),
        ({"version": "newest"}, "version", "such as 2.4.1 or 2.5.0-beta.1"),
        ({"version": "1." + "0" * 100}, "version", "at most 100 characters"),
        ({"version": "1", "minimum": "old"}, "minimum", "such as 2.4.1"),
        ({"version": "1", "channel": "Stable"}, "channel", "1 to 32 of the characters"),
        ({"version": "1", "channel": "c" * 33}, "channel", "1 to 32 of the characters"),
        ({"version": "1", "url": "ftp://a.example"}, "url", "https:// or http://"),
        ({"version": "1", "url": "javascript:alert(1)"}, "url", "https:// or http://"),
        ({"version": "1", "url": "https://a.example/" + "a" * 500}, "url", "at most 500 characters"),
        ({"version": "1", "notes": "a" * 501}, "notes", "at most 500 characters"),
        ({"version": "1", "notes": "\0"}, "notes", "U+0000"),
        ({"version": "1", "security": 1}, "security", "Expected `bool`"),
    ],
    ids=str,
)
def test_a_release_names_its_fault(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(errors.BadInput) as raised:
        release_wire.release(fields.read(release_wire.Fields, given))
    assert raised.value.field == field
    assert says in raised.value.message
