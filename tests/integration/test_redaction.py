"""Redaction: what should not have been stored is replaced in Postgres, in open ledgers and on its way there."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make_hits
import make_rows
from headcount import errors, redaction, tally
from headcount.model import REDACTED, CountRow, Flush
from headcount.services.redactions import Redactions
from headcount.store.postgres import Database
from make_rows import Hit, StoppedClock, Visit

if TYPE_CHECKING:
    from make_rows import Connection

SECRET = "jane"
VISITS = [
    Visit((Hit(page="/users/jane"), Hit(page="/home"))),
    Visit((Hit(page="/users/jane"),), visitor=1),
    Visit((Hit(page="/home"), Hit("Signup", page="/users/jane")), visitor=2),
    Visit((Hit("Signup jane"), Hit(props=(("plan", "jane"), ("size", "L")))), visitor=3),
    Visit((Hit(hostname="jane.example.com"),), visitor=4),
    Visit(attributes={"referrer": "jane.example", "source": "jane.example"}, visitor=5),
    Visit(attributes={"utm_source": "to jane", "source": "to jane", "utm_term": "jane"}, visitor=6),
    Visit(attributes={name: "jane" for name in ("utm_medium", "utm_campaign", "utm_content")}, visitor=7),
]
ALL = [
    ("page", "/users/*"),
    ("name", "*jane"),
    ("props:plan", "jane"),
    ("hostname", "jane.*"),
    ("referrer", "jane.*"),
    ("utm_source", "*jane"),
    ("utm_term", "jane"),
    ("utm_medium", "ja*"),
    ("utm_campaign", "*a*"),
    ("utm_content", "j*e"),
]


@pytest.fixture
async def redactions(dsn: str, db: Connection) -> AsyncIterator[Redactions]:
    for id, domain in ((1, "a.example"), (2, "b.example")):
        await db.execute(
            "insert into site (id, domain, timezone, created_at) values ($1, $2, 'Europe/Berlin', $3)",
            id, domain, make_rows.NOW,
        )  # fmt: skip
        await make_rows.store(db, VISITS, id)
    database = Database(lambda: dsn)
    yield Redactions(database, StoppedClock())
    await database.close()


async def rows_of(db: Connection, site: int) -> dict[str, list[str]]:
    """All rows of the tables of counts and raw rows, as text."""
    tables = ("counter", "hour", "hit", "visit")
    return {
        table: sorted(
            row[0] for row in await db.fetch(f"select t::text from {table} t where site_id = $1", site)
        )
        for table in tables
    }


async def redact(redactions: Redactions, dimension: str, pattern: str, site: int = 1) -> int:
    return await redactions.request(redaction.parse(site, dimension, pattern))


# In Postgres


async def test_nothing_is_left_of_what_was_redacted(redactions: Redactions, db: Connection) -> None:
    others = await rows_of(db, 2)
    for dimension, pattern in ALL:
        assert await redact(redactions, dimension, pattern) > 0
    assert SECRET not in repr(await rows_of(db, 1))
    assert await rows_of(db, 2) == others


async def test_the_sums_of_every_dimension_stay(redactions: Redactions, db: Connection) -> None:
    sums = "select dimension, sum(visits), sum(pageviews), sum(events), sum(duration) from counter where site_id = 1"
    before = await db.fetch(f"{sums} group by dimension order by dimension")
    for dimension, pattern in ALL:
        await redact(redactions, dimension, pattern)
    assert await db.fetch(f"{sums} group by dimension order by dimension") == before


async def test_counts_and_raw_rows_of_redacted_pages_agree(redactions: Redactions, db: Connection) -> None:
    assert await redact(redactions, "page", "/users/*") == 3
    visits = {"page": "select count(distinct visit) from hit where site_id = 1 and page = $1",
              "entry_page": "select count(*) from visit where site_id = 1 and entry_page = $1",
              "exit_page": "select count(*) from visit where site_id = 1 and exit_page = $1"}  # fmt: skip
    for dimension, query in visits.items():
        counted = "select visits from counter where site_id = 1 and dimension = $1 and value = $2"
        assert (
            await db.fetchval(counted, dimension, REDACTED)
            == await db.fetchval(query, REDACTED)
            == (3 if dimension == "page" else 2)
        )


async def test_redacting_again_changes_nothing_more(redactions: Redactions, db: Connection) -> None:
    await redact(redactions, "page", "/users/*")
    before = await rows_of(db, 1)
    assert await redact(redactions, "page", "/users/*") == 0
    assert await rows_of(db, 1) == before


async def test_redacting_more_is_added_to_what_was_redacted(redactions: Redactions, db: Connection) -> None:
    await redact(redactions, "page", "/users/*")
    await redact(redactions, "page", "/home")
    query = "select value, pageviews from counter where site_id = 1 and dimension = 'page' order by value"
    assert [tuple(row) for row in await db.fetch(query)] == [("/", 5), (REDACTED, 4)]


async def test_the_names_that_everything_rests_on_are_never_redacted(
    redactions: Redactions, db: Connection
) -> None:
    await redact(redactions, "name", "*e*")
    assert await db.fetchval("select count(*) from hit where site_id = 1 and name = 'pageview'") == 9
    query = "select value from counter where site_id = 1 and dimension = 'name'"
    assert {row[0] for row in await db.fetch(query)} == {"Signup", REDACTED, "pageview"}


@pytest.mark.parametrize(
    "pattern",
    ["/users/_ane", "/users/%", "\\/users/jane", "/USERS/jane", "users", "/users/jan", "/home*/users"],
)
async def test_only_a_star_stands_for_other_text(
    redactions: Redactions, db: Connection, pattern: str
) -> None:
    before = await rows_of(db, 1)
    assert await redact(redactions, "page", pattern) == 0
    assert await rows_of(db, 1) == before


async def test_the_request_waits_for_the_nodes_and_goes_with_its_site(
    redactions: Redactions, db: Connection
) -> None:
    await redact(redactions, "page", "/users/*")
    assert list((await redactions.waiting()).values()) == [redaction.Redaction(1, "page", "/users/*")]
    await db.execute("delete from site where id = 1")
    assert await redactions.waiting() == {}


# What may be asked for


@pytest.mark.parametrize(
    ("dimension", "pattern", "field", "says"),
    [
        ("country", "LV", "dimension", "must be one of page, hostname, name"),
        ("", "a", "dimension", "must be one of page, hostname, name"),
        ("props:\0", "a", "dimension", "U+0000"),
        ("page", "", "pattern", "1 to 2000 characters"),
        ("page", "**", "pattern", "others than *"),
        ("page", "a" * 2001, "pattern", "1 to 2000 characters"),
        ("page", "a\0", "pattern", "U+0000"),
        ("page", "\udcff", "pattern", "lone surrogate"),
        ("page", "*a" * 11, "pattern", "at most 10 *"),
    ],
)
def test_a_request_with_a_fault_names_it(dimension: str, pattern: str, field: str, says: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        redaction.parse(1, dimension, pattern)
    assert (caught.value.field, says in caught.value.message) == (field, True), caught.value.message


@pytest.mark.parametrize(
    ("pattern", "value", "meant"),
    [
        ("/a", "/a", True),
        ("/a", "/ab", False),
        ("/a*", "/a", True),
        ("*a", "/a/a", True),
        ("/a*a", "/a", False),
        ("/a*b*c", "/a-b-b-c", True),
        ("/a*b*c", "/a-c-b", False),
        ("a*", "A", False),
        ("a*b", "a\nb", True),
        ("**a**", "bab", True),
        (".*x", ".x", True),
        (".*x", "ax", False),
        ("*e*", "pageview", True),
    ],
)
def test_a_pattern_names_whole_values(pattern: str, value: str, meant: bool) -> None:
    assert redaction.parse(1, "page", pattern).matcher()(value) is meant


@pytest.mark.parametrize(
    ("dimension", "value"), [("page", ""), ("page", REDACTED), ("name", "pageview"), ("name", "engagement")]
)
def test_some_values_are_never_meant(dimension: str, value: str) -> None:
    assert not redaction.Redaction(1, dimension, "*").matcher()(value)


async def test_postgres_and_we_mean_the_same_values(db: Connection) -> None:
    letters = st.text(st.sampled_from("ab*%_\\.\n"), min_size=1, max_size=6)
    cases = []

    @given(letters, letters)
    def collect(pattern: str, value: str) -> None:
        cases.append((redaction.Redaction(1, "page", pattern), value))

    collect()
    found = await db.fetch(
        "select value like pattern from unnest($1::text[], $2::text[]) as t (value, pattern)",
        [value for _, value in cases], [request.like for request, _ in cases],
    )  # fmt: skip
    assert [row[0] for row in found] == [request.matcher()(value) for request, value in cases]


def test_a_hostile_value_takes_no_time() -> None:
    meant = redaction.parse(1, "page", "*a" * 9 + "*b").matcher()
    start = time.perf_counter()
    assert not meant("a" * 2000)
    assert time.perf_counter() - start < 0.1


# In what is still open


def taken(target: tally.Tally, *hits: Any) -> Flush:
    """What the tally gives out for the hits, as if its state had been saved."""
    flush = target.take(hits, lambda _: True)
    for ledger in target.ledgers.values():
        ledger.stored()
    return flush


def new_tally() -> tally.Tally:
    return tally.Tally(1000, itertools.count(1).__next__)


def summed(rows: Iterable[CountRow]) -> Counter[tuple[Any, ...]]:
    total: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        for index, number in enumerate((row.visitors, *row.counts)):
            total[row.site, row.dimension, row.value, index] += number
    return +total


PAGE = redaction.parse(make_hits.SITE, "page", "/users/*")
FIRST = [
    make_hits.hit(0, 1, page="/users/1"),
    make_hits.hit(1, 2, page="/users/2"),
    make_hits.hit(2, 3, page="/home"),
    make_hits.hit(3, 1, "engagement", page="/users/1", scroll=50),
    make_hits.hit(4, 4, page="/users/1", site=8),
]
LATER = [
    make_hits.hit(60, 1, page="/home"),
    make_hits.hit(70, 2, "engagement", page="/home", scroll=10),
    make_hits.hit(80, 5, page="/home"),
    make_hits.hit(9000, 1, page="/home"),
    make_hits.hit(9000, 4, page="/users/3", site=8),
]


def replaced(hit: Any) -> Any:
    meant = hit.site == make_hits.SITE and hit.page.startswith("/users/")
    return msgspec.structs.replace(hit, page=REDACTED) if meant else hit


def test_redacting_in_between_counts_as_if_it_had_never_been_there() -> None:
    ours, theirs = new_tally(), new_tally()
    first = redaction.in_flush(taken(ours, *FIRST), PAGE)
    redaction.in_tally(ours, PAGE)
    later = taken(ours, *LATER)
    expected = [taken(theirs, *map(replaced, FIRST)), taken(theirs, *LATER)]
    assert summed([*first.counts, *later.counts]) == summed(row for flush in expected for row in flush.counts)
    assert [*first.hits, *later.hits] == [row for flush in expected for row in flush.hits]
    assert [*first.visits, *later.visits] == [row for flush in expected for row in flush.visits]


def test_another_site_keeps_its_values() -> None:
    flush = redaction.in_flush(taken(new_tally(), *FIRST), PAGE)
    assert {row.page for row in flush.hits if row.site == 8} == {"/users/1"}
    assert "/users/" not in repr([row for row in flush.counts if row.site != 8])


@pytest.mark.parametrize(
    ("dimension", "given"),
    [
        ("name", {"name": "jane"}),
        ("hostname", {"hostname": "jane"}),
        ("props:plan", {"props": (("plan", "jane"), ("size", "L"))}),
        ("utm_source", {"attributes": make_hits.attributes(utm_source="jane", source="jane")}),
        ("referrer", {"attributes": make_hits.attributes(referrer="jane", source="jane")}),
        ("source", {"attributes": make_hits.attributes(source="jane")}),
        ("utm_term", {"attributes": make_hits.attributes(utm_term="jane")}),
    ],
)
def test_of_a_value_nothing_stays_in_flush_and_tally(dimension: str, given: dict[str, Any]) -> None:
    request, target = redaction.parse(make_hits.SITE, dimension, "j*"), new_tally()
    flush = redaction.in_flush(taken(target, make_hits.hit(**given)), request)
    redaction.in_tally(target, request)
    later = taken(target, make_hits.hit(60, page="/later"))
    (ledger,) = target.ledgers.values()
    assert SECRET not in repr(
        [flush, later, list(ledger.visits.values()), ledger.cells.keys(), *map(list, ledger.cells.values())]
    )
    assert REDACTED in repr(flush)


def test_a_visitor_of_two_redacted_pages_is_one_visitor_of_the_redacted() -> None:
    target = new_tally()
    first = redaction.in_flush(
        taken(target, make_hits.hit(0, page="/users/1"), make_hits.hit(1, page="/users/2")), PAGE
    )
    redaction.in_tally(target, PAGE)
    later = taken(target, make_hits.hit(60, page=REDACTED))
    found = summed([*first.counts, *later.counts])
    assert found[make_hits.SITE, "page", REDACTED, 0] == 1
