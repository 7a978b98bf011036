"""The verdict on a load: it has to see what it is there for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from acceptance.ledger import Ledger, Outcome, Stored, check_counters, check_events, check_visits

DAY = date(2026, 11, 1)


@pytest.fixture
def sent() -> Ledger:
    """Two visitors, one page each, and a page that was on its way."""
    ledger = Ledger()
    pages = [ledger.new_page(visitor) for visitor in (1, 2, 2)]
    ledger.note(pages, Outcome.ACKNOWLEDGED)
    ledger.note(pages[2:], Outcome.IN_FLIGHT)
    return ledger


@pytest.fixture
def found(sent: Ledger) -> Stored:
    """Both visits, without what was on its way."""
    hits = [(page, DAY, visitor) for page, visitor in list(sent.visitors.items())[:2]]
    return Stored(
        hits=hits,
        by_page={page: 1 for page, _, _ in hits},
        visits=2,
        visitors=2,
        pageviews=2,
        by_hour=2,
        raw_visits=2,
        raw_pageviews=2,
    )


def test_what_was_in_flight_may_be_stored_or_not(sent: Ledger, found: Stored) -> None:
    check_events(sent, found)
    check_events(sent, replace(found, hits=[*found.hits, ("/view/0/2", DAY, 2)]))
    check_counters(found)
    check_visits(sent, found)


def test_a_lost_a_doubled_and_a_refused_view_are_found(sent: Ledger, found: Stored) -> None:
    with pytest.raises(AssertionError, match="1 acknowledged and not stored"):
        check_events(sent, replace(found, hits=found.hits[1:]))
    with pytest.raises(AssertionError, match="1 stored more than once"):
        check_events(sent, replace(found, hits=[*found.hits, found.hits[0]]))
    sent.note(["/view/0/2"], Outcome.REFUSED)
    with pytest.raises(AssertionError, match="1 stored, but neither"):
        check_events(sent, replace(found, hits=[*found.hits, ("/view/0/2", DAY, 2)]))


def test_counters_that_differ_from_the_raw_rows_are_found(found: Stored) -> None:
    for wrong in (
        replace(found, by_page={"/view/0/0": 2, "/view/0/1": 1}),
        replace(found, by_page={**found.by_page, "/view/0/2": 1}),
        replace(found, pageviews=3),
        replace(found, by_hour=1),
        replace(found, raw_pageviews=3),
        replace(found, raw_visits=3),
    ):
        with pytest.raises(AssertionError):
            check_counters(wrong)


def test_visits_that_were_cut_joined_or_counted_wrong_are_found(sent: Ledger, found: Stored) -> None:
    joined = [(page, day, 1) for page, day, _ in found.hits]
    cut = [*found.hits, ("/view/0/2", DAY, 3)]
    for wrong in (
        replace(found, hits=joined),
        replace(found, hits=cut),
        replace(found, visits=3),
        replace(found, visitors=1),
    ):
        with pytest.raises(AssertionError):
            check_visits(sent, wrong)
