"""The stats API's questions: what is understood, and how everything else is refused."""

from __future__ import annotations

import contextlib
from datetime import date, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import errors
from headcount.stats import pattern
from headcount.stats.question import (
    DIMENSIONS,
    RANGES,
    All,
    Match,
    Not,
    Operator,
    Query,
    Some,
    property_dimension,
)
from headcount.wire import query

PAGE = DIMENSIONS["event:page"]


def parse(**fields: Any) -> Query:
    asked = {"site_id": "example.com", "metrics": ["visitors"], "date_range": "7d", **fields}
    return query.parse(orjson.dumps({name: value for name, value in asked.items() if value is not None}))


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(errors.BadInput) as caught:
        parse(**fields)
    return caught.value.field, caught.value.message


def test_the_shortest_question_is_understood() -> None:
    assert parse() == Query("example.com", ("visitors",), "7d")


def test_a_full_question_is_understood() -> None:
    asked = parse(
        metrics=["visits", "bounce_rate"],
        date_range=["2026-11-01", "2026-11-22"],
        dimensions=["time:day", "event:props:plan"],
        filters=[["is", "visit:country", ["LV", "EE"]]],
        order_by=[["bounce_rate", "asc"], ["event:props:plan", "desc"]],
        include={"total_rows": True, "imports": False},
        pagination={"limit": 10, "offset": 20},
    )
    assert asked.date_range == (date(2026, 11, 1), date(2026, 11, 22))
    assert asked.dimensions == (DIMENSIONS["time:day"], property_dimension("plan"))
    assert asked.order_by == (("bounce_rate", False), ("event:props:plan", True))
    assert asked.include == {"total_rows"}
    assert (asked.limit, asked.offset) == (10, 20)


def test_filters_become_a_tree() -> None:
    is_page = ["is", "event:page", ["/"]]
    asked = parse(
        filters=[["or", [["not", is_page], ["and", [is_page]]]], ["contains_not", "event:page", ["a"]]]
    )
    match = Match(Operator.IS, PAGE, ("/",))
    assert asked.filters == (
        Some((Not(match), All((match,)))),
        Not(Match(Operator.CONTAINS, PAGE, ("a",))),
    )


def test_case_can_be_ignored() -> None:
    asked = parse(filters=[["is", "event:page", ["/A"], {"case_sensitive": False}]])
    assert asked.filters == (Match(Operator.IS, PAGE, ("/A",), case_sensitive=False),)


def test_numbers_among_the_values_are_texts() -> None:
    assert parse(filters=[["is", "event:props:n", [5]]]).filters == (
        Match(Operator.IS, property_dimension("n"), ("5",)),
    )


def test_date_times_keep_their_offsets() -> None:
    asked = parse(date_range=["2026-11-22T12:00:00+02:00", "2026-11-22T15:59:59+02:00"])
    assert asked.date_range == (
        datetime.fromisoformat("2026-11-22T12:00:00+02:00"),
        datetime.fromisoformat("2026-11-22T15:59:59+02:00"),
    )


@pytest.mark.parametrize("word", RANGES)
def test_every_named_range_is_understood(word: str) -> None:
    assert parse(date_range=word).date_range == word


@pytest.mark.parametrize(
    "asked",
    [
        None,
        5,
        "yesterday",
        ["2026-11-22"],
        ["2026-11-22", "2026-11-01"],
        ["2026-11-22", "soon"],
        ["2026-11-22", "2026-11-22T15:00:00Z"],
        ["2026-11-22T14:00:00", "2026-11-22T15:00:00"],
        ["0001-01-01", "2026-11-22"],
        ["2026-11-22", "9999-12-31"],
        [{}, []],
    ],
)
def test_other_ranges_are_refused(asked: object) -> None:
    assert refusal(date_range=asked)[0] == "date_range"


def test_an_unknown_metric_is_told_what_there_is() -> None:
    assert refusal(metrics=["time_on_page"]) == (
        "metrics",
        '"time_on_page" is no metric; there are visitors, visits, pageviews, views_per_visit, bounce_rate, '
        "visit_duration, events, scroll_depth",
    )


def test_an_unknown_dimension_is_told_what_there_is() -> None:
    field, message = refusal(dimensions=["visit:planet"])
    assert field == "dimensions"
    assert "visit:utm_campaign" in message
    assert "event:props:NAME" in message


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"dimensions": ["event:goal"]}, "goals"),
        ({"dimensions": ["visit:region_name"]}, "regions"),
        ({"filters": [["is", "visit:city", ["1"]]]}, "cities"),
        ({"filters": [["is", "segment", [1]]]}, "segments"),
        ({"filters": [["has_done", ["is", "event:page", ["/"]]]]}, "behavioural filters"),
    ],
)
def test_what_headcount_does_not_have_is_said_plainly(asked: dict[str, Any], what: str) -> None:
    assert refusal(**asked)[1].startswith(f"Headcount does not have {what}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site_id", None),
        ("site_id", ""),
        ("site_id", "a" * 256),
        ("metrics", None),
        ("metrics", []),
        ("metrics", ["visits", "visits"]),
        ("metrics", [[]]),
        ("dimensions", "event:page"),
        ("dimensions", ["event:page", "event:page"]),
        ("dimensions", ["time:day", "time:week"]),
        ("dimensions", ["event:props:"]),
        ("dimensions", ["visit:os", "visit:source", "visit:device", "visit:screen", "visit:browser"]),
        ("filters", {}),
        ("filters", [[]]),
        ("filters", ["is"]),
        ("filters", [["is", "event:page"]]),
        ("filters", [["is", "event:page", []]]),
        ("filters", [["is", "event:page", [None]]]),
        ("filters", [["is", "event:page", [True]]]),
        ("filters", [["is", "event:page", ["a" * 2001]]]),
        ("filters", [["is", "event:page", ["a"], {"case_sensitive": 1}]]),
        ("filters", [["is", "event:page", ["a"], {"colour": True}]]),
        ("filters", [["is", "event:page", ["a"]] * 2] * 26),
        ("filters", [["is", "event:page", ["a"]]] * 51),
        ("filters", [["is", "time:day", ["2026-11-22"]]]),
        ("filters", [["and", []]]),
        ("filters", [["not", ["not", ["not", ["not", ["not", ["is", "event:page", ["a"]]]]]]]]),
        ("filters", [["matches", "event:page", ["("]]]),
        ("filters", [["matches", "event:page", ["(a)\\1"]]]),
        ("filters", [["matches", "event:page", ["(\\pL{100}){10}"]]]),
        ("filters", [["matches", "event:page", ["a"] * (pattern.MAX_PATTERNS + 1)]]),
        ("order_by", [["visits", "desc"]]),
        ("order_by", [["visitors", "down"]]),
        ("order_by", [["visitors", "asc"], ["visitors", "asc"]]),
        ("order_by", [[[], "asc"]]),
        ("include", {"time_labels": True}),
        ("include", {"total_rows": 1}),
        ("include", {"comparisons": True}),
        ("pagination", {"limit": 0}),
        ("pagination", {"limit": 10_001}),
        ("pagination", {"limit": True}),
        ("pagination", {"offset": -1}),
        ("pagination", {"page": 1}),
        ("now", "2026-11-22"),
    ],
)
def test_a_fault_names_its_field(field: str, value: object) -> None:
    assert refusal(**{field: value})[0] == field


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"site_id": "\xff"}',
        b'{"site_id": "\\ud800"}',
        b'{"site_id": "a\\u0000b"}',
        b'{"filters": [["is", "event:page", ["\\u0000"]]]}',
        b"[" * 60_000,
        b'{"filters": ' + b'["not",' * 5_000 + b"1" + b"]" * 5_000 + b"}",
        b'{"\\u0000": 1}',
    ],
)
def test_what_is_no_clean_json_object_is_refused_whole(body: bytes) -> None:
    with pytest.raises(errors.BadInput) as caught:
        query.parse(body)
    assert caught.value.field == "body"


def test_a_body_past_the_limit_is_too_large() -> None:
    with pytest.raises(errors.TooLarge, match="65536"):
        query.parse(b" " * (query.MAX_BODY + 1))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(errors.BadInput):
        query.parse(body)


words = st.one_of(
    st.text(st.sampled_from("aé(*\\/ "), max_size=4),
    st.sampled_from(
        ["and", "or", "not", "is", "matches", "contains_not", "event:page", "time", "event:props:a", "7d"]
    ),
    st.sampled_from(
        ["case_sensitive", "limit", "asc", "visitors", "2026-11-22", "2026-11-22T10:00:00Z", "(", "["]
    ),
)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)
fields = ["metrics", "date_range", "dimensions", "filters", "order_by", "include", "pagination", "site_id"]
nearly_right = st.fixed_dictionaries(
    {"site_id": st.just("example.com"), "metrics": st.just(["visitors"]), "date_range": st.just("7d")}
)


@given(nearly_right, st.dictionaries(st.sampled_from(fields), json, max_size=2))
def test_random_json_is_understood_or_refused(right: dict[str, object], wrong: dict[str, object]) -> None:
    body = orjson.dumps({**right, **wrong}, option=orjson.OPT_NON_STR_KEYS)
    with contextlib.suppress(errors.BadInput):  # and nothing else
        assert isinstance(query.parse(body), Query)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63), 10**30])
def test_a_number_that_no_answer_could_repeat_is_refused(number: int) -> None:
    body = b'{"site_id":"example.com","metrics":["visits"],"date_range":"day","filters":[["is","event:page",[%d]]]}'
    with pytest.raises(errors.BadInput, match="numbers are at most 9223372036854775807") as caught:
        query.parse(body % number)
    assert caught.value.field == "filters"
