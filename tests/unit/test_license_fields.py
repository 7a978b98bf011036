"""Licenses field by field: when they end, whose they are; and no error tells what was given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headcount import errors
from headcount.licensed import DAY
from headcount.wire import fields, paging
from headcount.wire import license as wire

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ("2030-12-31", datetime(2031, 1, 1, tzinfo=UTC)),
        ("2030-12-31T12:00:00Z", datetime(2030, 12, 31, 12, tzinfo=UTC)),
        ("2030-12-31T12:00:00.9+02:00", datetime(2030, 12, 31, 10, tzinfo=UTC)),
        (1_924_992_000, datetime(2031, 1, 1, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", wire.EARLIEST),
        ("2199-12-31", wire.LATEST),
    ],
)
def test_an_end_is_a_day_a_moment_or_unix_seconds(given: int | str, end: datetime) -> None:
    assert wire.moment("expires_at", given) == end


@pytest.mark.parametrize(
    "given", ["", "soon", "2030-13-01", "2030-12-31T12:00:00", "31.12.2030", 10**18, -(10**18), "9999-12-31"]
)
def test_what_is_no_end_is_refused(given: int | str) -> None:
    with pytest.raises(
        errors.BadInput, match=r"must be (a date such as 2030-12-31|from 2000-01-01)"
    ) as raised:
        wire.moment("expires_at", given)
    assert raised.value.field == "expires_at"


@pytest.mark.parametrize("given", [{}, {"expires_at": None}])
def test_without_an_end_it_never_ends(given: dict[str, Any]) -> None:
    assert wire.end(fields.read(wire.Term, given), NOW) is None


@pytest.mark.parametrize(
    ("before", "counted_from"),
    [(None, NOW), (NOW - timedelta(days=3), NOW), (NOW + timedelta(days=3), NOW + timedelta(days=3))],
)
def test_a_term_counts_from_the_later_of_now_and_the_end_before(
    before: datetime | None, counted_from: datetime
) -> None:
    term = fields.read(wire.Term, {"for": DAY})
    assert wire.end(term, NOW, before) == counted_from + timedelta(days=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"for": 0}, "from 1 to 3153600000 seconds"),
        ({"for": wire.MAX_FOR + 1}, "from 1 to 3153600000 seconds"),
        ({"for": 1, "expires_at": None}, "cannot be given together"),
        ({"for": "1d"}, "Expected `int`"),
    ],
)
def test_a_term_that_cannot_be_names_for(given: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.BadInput, match=says) as raised:
        wire.end(fields.read(wire.Term, given), NOW)
    assert raised.value.field == "for"


def test_a_term_that_leads_too_far_is_refused() -> None:
    with pytest.raises(errors.BadInput, match="from 2000-01-01 to 2200-01-01"):
        wire.end(fields.read(wire.Term, {"for": wire.MAX_FOR}), NOW, datetime(2150, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"customer_ref": "x" * 201}, "customer_ref", "at most 200 characters; this has 201"),
        ({"customer_name": "x" * 201}, "customer_name", "at most 200 characters; this has 201"),
        ({"customer_email": "a@" + "x" * 253}, "customer_email", "at most 254 characters; this has 255"),
        ({"customer_email": "planted.example"}, "customer_email", "must be an e-mail address, or empty"),
        ({"customer_email": "a b@planted.example"}, "customer_email", "must be an e-mail address, or empty"),
        ({"customer_ref": "planted\0"}, "customer_ref", "U+0000"),
        ({"customer_ref": "planted\ud800"}, "customer_ref", "lone surrogate"),
    ],
    ids=str,
)
def test_a_fault_of_a_customer_names_the_field_and_not_the_value(
    given: dict[str, str], field: str, says: str
) -> None:
    with pytest.raises(errors.BadInput) as raised:
        wire.customer(fields.read(wire.Customer, given))
    assert raised.value.field == field
    assert says in raised.value.message
    assert "planted" not in raised.value.message


def test_fields_of_a_customer_and_keys_are_not_printed() -> None:
    given = fields.read(wire.Fields, {"customer_name": "Erika", "customer_email": "e@a.example"})
    assert "Erika" not in repr(given) + str(given)
    assert "HC-1" not in repr(fields.read(wire.Key, {"key": "HC-1"}))


def test_texts_lose_the_blanks_around_them() -> None:
    assert wire.customer(fields.read(wire.Customer, {"customer_ref": " C-17\n"})).customer_ref == "C-17"


@pytest.mark.parametrize("seats", [-1, 1_000_001])
def test_seats_have_both_limits(seats: int) -> None:
    with pytest.raises(errors.BadInput, match="from 0 to 1000000"):
        wire.seats(seats)


@pytest.mark.parametrize("given", [{}, {"instance": "a" * 64, "all": True}, {"instance": "a" * 63}])
def test_whose_seat_is_freed_must_be_said(given: dict[str, Any]) -> None:
    with pytest.raises(errors.BadInput) as raised:
        wire.released(fields.read(wire.Release, given))
    assert raised.value.field == "instance"


@pytest.mark.parametrize("text", ["0", "1001", "-1", "ten", "", "9" * 30, "١"])
def test_a_page_has_a_limit(text: str) -> None:
    with pytest.raises(errors.BadInput, match="from 1 to 1000"):
        paging.limit(text)


def test_a_page_has_a_hundred_entries_unless_more_is_asked_for() -> None:
    assert (paging.limit(None), paging.limit("1"), paging.limit("1000")) == (100, 1, 1000)
