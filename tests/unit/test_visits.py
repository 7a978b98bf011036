"""What a visit is, when it ends, and what it says of itself."""

from __future__ import annotations

from typing import Any

import make_hits as make
from headcount import visits


def visit_of(*hits: Any) -> visits.Visit:
    visit = visits.begin(hits[0], 1)
    for hit in hits:
        visits.add(visit, hit)
    return visit


def test_one_page_view_is_a_bounce() -> None:
    assert visits.is_bounce(visit_of(make.hit()))


def test_an_interactive_event_keeps_a_visit_from_being_a_bounce() -> None:
    assert not visits.is_bounce(visit_of(make.hit(), make.hit(name="Signup")))


def test_an_event_that_is_not_interactive_leaves_a_bounce() -> None:
    assert visits.is_bounce(visit_of(make.hit(), make.hit(name="Scroll", interactive=False)))


def test_an_engagement_event_lengthens_a_visit_of_one_page() -> None:
    visit = visit_of(make.hit(second=0), make.hit(second=42, name="engagement", scroll=80))
    assert (visits.duration(visit), visits.is_bounce(visit)) == (42, True)


def test_an_engagement_event_counts_as_no_event() -> None:
    visit = visit_of(make.hit(), make.hit(name="engagement", scroll=80))
    assert visit.events == 1


def test_an_engagement_event_opens_no_visit() -> None:
    assert not visits.begins(make.hit(name="engagement"))


def test_a_visit_ends_after_thirty_minutes_and_not_before() -> None:
    visit = visit_of(make.hit(second=0))
    assert not visits.ended(visit, make.ms(1799.999))
    assert visits.ended(visit, make.ms(1800))


def test_a_clock_that_steps_back_ends_no_visit() -> None:
    assert not visits.ended(visit_of(make.hit(second=9000)), make.ms(0))


def test_a_raw_row_carries_the_minute_and_not_the_second() -> None:
    row = visits.add(visits.begin(make.hit(), 1), make.hit(second=59.9))
    assert row.minute == make.ms(0) // 1000
