"""The tally against a brute-force count, and the bounds it keeps."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import make_hits as make
from headcount import tally, visits
from headcount.model import NO_SITE, NOTHING, OTHER, Counts, Dropped, Flush, Hit, Ignored, Record, VisitRow

Total = dict[tuple[str, str], tuple[int, Counts]]


def new(max_values: int = 10_000) -> tally.Tally:
    return tally.Tally(max_values, itertools.count(1).__next__)


def take(target: tally.Tally, *records: Record) -> Flush:
    return stored(target, target.take(records, lambda site: site in (make.SITE, NO_SITE)))


def stored(target: tally.Tally, flush: Flush) -> Flush:
    """As if the state had been saved."""
    for ledger in target.ledgers.values():
        ledger.stored()
    return flush


def summed(flushes: Iterable[Flush]) -> Total:
    """(dimension, value): visitors and counts, as Postgres would hold them."""
    total: Total = {}
    for row in itertools.chain.from_iterable(flush.counts for flush in flushes):
        visitors, counts = total.get((row.dimension, row.value), (0, NOTHING))
        total[row.dimension, row.value] = (visitors + row.visitors, counts.plus(Counts(*row.counts)))
    return {key: value for key, value in total.items() if value != (0, NOTHING)}


def brute_force(hits: Sequence[Hit]) -> Total:
    """The same, counted slowly: split into visits, then added up visit by visit."""
    by_visitor: dict[int, list[list[Hit]]] = defaultdict(list)
    for hit in hits:
        mine = by_visitor[hit.token]
        if mine and hit.at - mine[-1][-1].at < 1800_000:
            mine[-1].append(hit)
        elif hit.name != "engagement":
            mine.append([hit])
    total: Total = {}
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for token, mine in by_visitor.items():
        for group in mine:
            visit = visits.begin(group[0], 0)
            for hit in group:
                visits.add(visit, hit)
            for key, counts in contribution(group, visit).items():
                seen[key].add(token)
                total[key] = (len(seen[key]), total.get(key, (0, NOTHING))[1].plus(counts))
    return total


def contribution(hits: Sequence[Hit], visit: visits.Visit) -> dict[tuple[str, str], Counts]:
    """What one visit adds to each counter, told from all of its events."""
    whole = Counts(1, *visits.whole(visit))
    counts = dict.fromkeys(visits.keys(visit), whole)
    for hit in hits:
        keys = [("page", hit.page), ("hostname", hit.hostname), ("name", hit.name), ("hour", str(hit.hour))]
        keys += [(f"props:{name}", value) for name, value in hit.props]
        for key in keys if hit.name != "engagement" else ():
            sofar = counts.get(key, whole._replace(pageviews=0, events=0))
            views = sofar.pageviews + (hit.name == "pageview")
            counts[key] = sofar._replace(pageviews=views, events=sofar.events + 1)
    for page in {page for dimension, page in counts if dimension == "page"}:
        depths = [hit.scroll for hit in hits if hit.page == page and hit.scroll is not None]
        if depths:
            counts["page", page] = counts["page", page]._replace(scroll=max(depths), scroll_visits=1)
    return counts


def in_order(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: hit.at)


@settings(max_examples=150, deadline=None)
@given(st.lists(make.hits(span=20_000, tokens=4), max_size=40), st.integers(1, 10))
def test_any_events_in_any_batches_count_as_a_brute_force_count(hits: list[Hit], size: int) -> None:
    target = new()
    ordered = in_order(hits)
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    flushes = [take(target, *batch) for batch in batches]
    assert summed(flushes) == brute_force(ordered)


@settings(max_examples=50, deadline=None)
@given(st.lists(make.hits(span=20_000, tokens=4), max_size=40))
def test_expiring_visits_changes_no_count(hits: list[Hit]) -> None:
    target, flushes = new(), []
    for hit in in_order(hits):
        target.expire(hit.at)
        flushes.append(take(target, hit))
    target.expire(make.ms(50_000))
    assert summed([*flushes, take(target)]) == brute_force(in_order(hits))


@settings(max_examples=50, deadline=None)
@given(st.lists(make.hits(span=20_000, tokens=4), max_size=40))
def test_raw_visits_and_counters_agree_at_every_moment(hits: list[Hit]) -> None:
    target, flushes = new(), []
    rows: dict[int, VisitRow] = {}
    for hit in in_order(hits):
        flushes.append(take(target, hit))
        rows |= {row.visit: row for row in flushes[-1].visits}
        _, whole = summed(flushes).get(("", ""), (0, NOTHING))
        raw = (
            len(rows),
            *(sum(getattr(row, name) for row in rows.values()) for name in ("pageviews", "bounce")),
        )
        assert raw == (whole.visits, whole.pageviews, whole.bounces)


@given(st.lists(make.hits(), min_size=1, max_size=12))
def test_a_visit_contributes_what_an_obvious_count_says(hits: list[Hit]) -> None:
    hits = sorted(hits, key=lambda hit: hit.at)
    hits[0] = make.hit(second=(hits[0].at - make.ms(0)) / 1000)
    counted = {key: counts for key, (_, counts) in summed([take(new(), *hits)]).items()}
    events = [hit for hit in hits if hit.name != "engagement"]
    views = [hit for hit in events if hit.name == "pageview"]
    bounce = len(views) == 1 and not any(hit.interactive for hit in events if hit.name != "pageview")
    seconds = (hits[-1].at - hits[0].at) // 1000
    whole = Counts(1, len(views), len(events), int(bounce), seconds)
    assert counted["", ""] == counted["country", "LV"] == counted["entry_page", hits[0].page] == whole
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


def test_the_deepest_scroll_of_a_page_counts_once() -> None:
    flush = take(new(), make.hit(), *(make.hit(name="engagement", scroll=depth) for depth in (30, 90, 60)))
    assert summed([flush])["page", "/"] == (1, Counts(1, 1, 1, 1, 0, 90, 1))


def test_a_visitor_who_comes_back_is_one_visitor_and_two_visits() -> None:
    flush = take(new(), make.hit(0), make.hit(4000))
    assert summed([flush])["", ""] == (1, Counts(2, 2, 2, 2, 0))


def test_two_visits_of_one_visitor_share_no_number() -> None:
    flush = take(new(), make.hit(0), make.hit(4000))
    assert len({row.visit for row in flush.visits}) == 2


def test_a_flush_holds_no_token() -> None:
    token = 0x5EC2E7_70CE_5EC2E7
    flush = take(new(), make.hit(token=token))
    assert str(token) not in str(msgspec.to_builtins(flush))


def test_the_exit_page_moves_on_and_takes_its_visitor_along() -> None:
    target = new()
    flushes = [take(target, make.hit(page="/a")), take(target, make.hit(5, page="/b"))]
    assert ("exit_page", "/a") not in summed(flushes)
    assert summed(flushes)["exit_page", "/b"][0] == 1


def test_values_past_the_limit_become_other_in_counters_and_raw_rows_alike() -> None:
    flush = take(new(max_values=3), *(make.hit(n, token=n, page=f"/{n}") for n in range(10)))
    pages = {row.page for row in flush.hits}
    assert pages == {"/0", "/1", "/2", OTHER}
    assert {key[1] for key in summed([flush]) if key[0] == "entry_page"} == pages


def test_a_single_visit_cannot_grow_without_bound() -> None:
    target = new()
    take(target, *(make.hit(n, page=f"/{n}") for n in range(visits.MAX_TOUCHED + 50)))
    ((visit,),) = [ledger.visits.values() for ledger in target.ledgers.values()]
    assert len(visit.touched["page"]) == visits.MAX_TOUCHED + 1


def test_engagement_without_a_visit_is_counted_as_that() -> None:
    flush = take(new(), make.hit(name="engagement", scroll=5))
    assert [(row.reason, row.count) for row in flush.dropped] == [(Ignored.NO_VISIT, 1)]


def test_events_of_a_site_that_is_gone_are_counted_for_none() -> None:
    flush = take(new(), make.hit(site=99))
    assert [(row.site, row.reason) for row in flush.dropped] == [(NO_SITE, Ignored.DELETED_SITE)]


def test_reasons_add_up() -> None:
    gpc = Dropped(make.SITE, make.today(), Ignored.GPC)
    assert [
        row.count for row in take(new(), gpc, gpc, Dropped(make.SITE, make.today(), "gpc", 3)).dropped
    ] == [5]


def test_a_day_of_another_zone_is_another_ledger() -> None:
    target = new()
    take(target, make.hit(), make.hit(1, zone="Asia/Kolkata"))
    assert len(target.ledgers) == 2


def test_visitors_are_exact_below_two_hundred_and_within_two_percent_above() -> None:
    def visitors(count: int) -> Any:
        tokens = [hash_of(n) for n in range(count)]
        return summed([take(new(), *(make.hit(n / 1000, token=token) for n, token in enumerate(tokens)))])[
            "", ""
        ][0]

    assert [visitors(count) for count in (1, 50, 199)] == [1, 50, 199]
    assert abs(visitors(5000) - 5000) <= 100


def hash_of(number: int) -> int:
    return int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=8).digest(), "big", signed=True)
