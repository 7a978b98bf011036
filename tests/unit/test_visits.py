"""The visit engine against a slow and obvious model."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import make_hits as make
from headcount import visits
from headcount.model import Counts


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
    assert visits.contribution(visit)[visits.WHOLE].events == 1


def test_an_engagement_event_opens_no_visit() -> None:
    assert not visits.begins(make.hit(name="engagement"))


def test_the_deepest_scroll_of_a_page_counts_once() -> None:
    visit = visit_of(make.hit(), *(make.hit(name="engagement", scroll=depth) for depth in (30, 90, 60)))
    assert visits.contribution(visit)["page", "/"] == Counts(1, 1, 1, 1, 0, 90, 1)


def test_a_visit_ends_after_thirty_minutes_and_not_before() -> None:
    visit = visit_of(make.hit(second=0))
    assert not visits.ended(visit, make.ms(1799.999))
    assert visits.ended(visit, make.ms(1800))


def test_a_clock_that_steps_back_ends_no_visit() -> None:
    assert not visits.ended(visit_of(make.hit(second=9000)), make.ms(0))


def test_a_raw_row_carries_the_minute_and_not_the_second() -> None:
    row = visits.add(visits.begin(make.hit(), 1), make.hit(second=59.9))
    assert row.minute == make.ms(0) // 1000


@given(st.lists(make.hits(), min_size=1, max_size=12))
def test_a_visit_contributes_what_an_obvious_count_says(hits: list[Any]) -> None:
    hits = sorted(hits, key=lambda hit: hit.at)
    hits[0] = make.hit(second=(hits[0].at - make.ms(0)) / 1000)
    counted = visits.contribution(visit_of(*hits))
    events = [hit for hit in hits if hit.name != "engagement"]
    views = [hit for hit in events if hit.name == "pageview"]
    bounce = len(views) == 1 and not any(hit.interactive for hit in events if hit.name != "pageview")
    seconds = (hits[-1].at - hits[0].at) // 1000
    whole = Counts(1, len(views), len(events), int(bounce), seconds)
    assert counted[visits.WHOLE] == counted["country", "LV"] == counted["entry_page", hits[0].page] == whole
    for page in {hit.page for hit in events}:
        depths = [hit.scroll for hit in hits if hit.page == page and hit.scroll is not None]
        assert counted["page", page] == Counts(
            1,
            sum(hit.page == page for hit in views),
            sum(hit.page == page for hit in events),
            int(bounce),
            seconds,
            max(depths, default=0),
            int(bool(depths)),
        )
    assert counted["exit_page", events[-1].page] == whole
