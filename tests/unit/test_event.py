"""Plausible's body, long and short, and what is wrong with one that is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import errors
from headcount.wire import event
from headcount.wire.event import Event

URL = "https://example.com/a"
PAGEVIEW = {"name": "pageview", "url": URL}
ENGAGEMENT = {"name": "engagement", "url": URL}
LONG = {
    "name": "Signup",
    "url": URL,
    "domain": "example.com",
    "referrer": "https://elsewhere.example/",
    "props": {"plan": "team"},
    "revenue": {"currency": "EUR", "amount": 12.5},
    "interactive": False,
    "hashMode": 1,
    "screen_width": 1280,
}
SHORT = {"n": "name", "u": "url", "d": "domain", "r": "referrer", "p": "props", "$": "revenue",
         "i": "interactive", "h": "hashMode", "w": "screen_width"}  # fmt: skip


def one(fields: object) -> Event:
    found = event.parse(json.dumps(fields).encode())
    assert isinstance(found, Event)
    return found


def fault(fields: object) -> errors.BadInput:
    with pytest.raises(errors.BadInput) as caught:
        event.parse(json.dumps(fields).encode())
    return caught.value


def test_long_names_are_read() -> None:
    assert one(LONG) == Event(
        name="Signup",
        url=URL,
        domains=("example.com",),
        referrer="https://elsewhere.example/",
        props={"plan": "team"},
        interactive=False,
        hash_mode=True,
        screen_width=1280,
    )


def test_short_names_say_the_same() -> None:
    assert one({short: LONG[long] for short, long in SHORT.items()}) == one(LONG)


@pytest.mark.parametrize("name", ["props", "p", "meta", "m"])
@pytest.mark.parametrize("write", [lambda props: props, json.dumps])
def test_properties_are_an_object_or_its_json(name: str, write: Any) -> None:
    given = {"text": "a", "int": 3, "float": 1.5, "yes": True, "no": False, "null": None, "empty": ""}
    assert one({**PAGEVIEW, name: write(given)}).props == {
        "text": "a",
        "int": "3",
        "float": "1.5",
        "yes": "true",
        "no": "false",
    }


@pytest.mark.parametrize("nothing", [None, "", {}, "{}"])
def test_no_properties_can_be_said_in_several_ways(nothing: object) -> None:
    assert one({**PAGEVIEW, "p": nothing}).props == {}


def test_a_number_can_be_a_name() -> None:
    assert one({**PAGEVIEW, "name": 404}).name == "404"


def test_what_is_left_out_or_null_has_its_default() -> None:
    nulls = dict.fromkeys([*LONG, "ip", "user_agent", "sd", "e", "v"])
    assert one({**nulls, **PAGEVIEW}) == one(PAGEVIEW) == Event(name="pageview", url=URL)


def test_names_that_mean_nothing_here_are_passed_over() -> None:
    assert one({**PAGEVIEW, "v": 24, "x": {"y": []}, "": 1}) == one(PAGEVIEW)


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (1, True), ("true", True), (False, False), (0, False)]
)
def test_interactive_and_hash_mode_are_true_or_false(value: object, expected: bool) -> None:
    found = one({**PAGEVIEW, "i": value, "h": value})
    assert (found.interactive, found.hash_mode) == (expected, expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("Example.com", ("example.com",)),
        ("a.example, b.example", ("a.example", "b.example")),
        ("a.example,a.example", ("a.example",)),
    ],
)
def test_several_domains_are_a_comma_list(given: str, expected: tuple[str, ...]) -> None:
    assert one({**PAGEVIEW, "d": given}).domains == expected


@pytest.mark.parametrize(
    ("given", "scroll"),
    [
        ({"sd": 0}, 0),
        ({"sd": 55, "e": 3000}, 55),
        ({"sd": 100}, 100),
        ({"sd": 101}, 100),
        ({"sd": 254}, 100),
        ({"sd": 255}, None),
        ({"sd": 10**12}, 100),
        ({"sd": 40.0}, 40),
        ({"e": 3000}, None),
        ({"e": event.MAX_ENGAGED}, None),
    ],
)
def test_an_engagement_event_tells_how_far_was_scrolled(given: dict[str, Any], scroll: int | None) -> None:
    assert one({**ENGAGEMENT, **given}).scroll == scroll


def test_other_events_tell_nothing_of_scrolling() -> None:
    assert one({**PAGEVIEW, "sd": 50}).scroll is None


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({}, "sd", "needs sd or e"),
        ({"sd": -1}, "sd", "whole number from 0"),
        ({"sd": 1.5}, "sd", "whole number from 0"),
        ({"sd": True}, "sd", "whole number from 0"),
        ({"sd": [1]}, "sd", "whole number from 0"),
        ({"sd": "many"}, "sd", "whole number from 0"),
        ({"e": -1}, "e", "from 0 to 2592000000"),
        ({"e": event.MAX_ENGAGED + 1}, "e", "from 0 to 2592000000"),
        ({"e": 1e300}, "e", "from 0 to 2592000000"),
    ],
)
def test_an_engagement_event_without_figures_is_refused(given: dict[str, Any], field: str, says: str) -> None:
    error = fault({**ENGAGEMENT, **given})
    assert (error.field, says in error.message) == (field, True)


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"name": None}, "name", "required"),
        ({"name": ""}, "name", "required"),
        ({"name": " "}, "name", "required"),
        ({"name": True}, "name", "required"),
        ({"name": ["pageview"]}, "name", "required"),
        ({"name": "x" * 121}, "name", "at most 120 characters"),
        ({"name": 10**120}, "name", "at most 120 characters"),
        ({"url": None}, "url", "required"),
        ({"url": ""}, "url", "required"),
        ({"url": 7}, "url", "text"),
        ({"url": {}}, "url", "text"),
        ({"domain": ["example.com"]}, "domain", "text"),
        ({"domain": ",".join(map(str, range(11)))}, "domain", "at most 10"),
        ({"referrer": 1}, "referrer", "text"),
        ({"props": [1]}, "props", "object"),
        ({"props": 3}, "props", "object"),
        ({"props": "[1]"}, "props", "object"),
        ({"props": "{"}, "props", "JSON"),
        ({"props": "[" * 40}, "props", "at most 16 deep"),
        ({"props": {"a": {}}}, "props", "text, a number"),
        ({"props": {"a": [1]}}, "props", "text, a number"),
        ({"props": dict.fromkeys(map(str, range(31)), 1)}, "props", "at most 30"),
        ({"props": {"x" * 301: 1}}, "props", "at most 300 bytes"),
        ({"props": {"ä" * 151: 1}}, "props", "at most 300 bytes"),
        ({"props": {"a": "x" * 2001}}, "props", "at most 2000 bytes"),
        ({"props": {"a": "ä" * 1001}}, "props", "at most 2000 bytes"),
        ({"props": {"a": 10**2000}}, "props", "at most 2000 bytes"),
        ({"revenue": 5}, "revenue", "currency and amount"),
        ({"revenue": {"currency": "EUR"}}, "revenue", "currency and amount"),
        ({"revenue": {"amount": 5}}, "revenue", "currency and amount"),
        ({"revenue": {"currency": "EURO", "amount": 5}}, "revenue", "three letters"),
        ({"revenue": {"currency": "äöü", "amount": 5}}, "revenue", "three letters"),
        ({"revenue": {"currency": 978, "amount": 5}}, "revenue", "three letters"),
        ({"revenue": {"currency": "EUR", "amount": "five"}}, "revenue", "number"),
        ({"revenue": {"currency": "EUR", "amount": "NaN"}}, "revenue", "number"),
        ({"revenue": {"currency": "EUR", "amount": "1e9999999999999999999"}}, "revenue", "number"),
        ({"revenue": {"currency": "EUR", "amount": True}}, "revenue", "number"),
        ({"revenue": {"currency": "EUR", "amount": [5]}}, "revenue", "number"),
        ({"interactive": "perhaps"}, "interactive", "true or false"),
        ({"interactive": []}, "interactive", "true or false"),
        ({"hashMode": 2}, "hashMode", "true or false"),
        ({"screen_width": -1}, "screen_width", "from 0 to 100000"),
        ({"screen_width": 10**30}, "screen_width", "from 0 to 100000"),
        ({"ip": 1}, "ip", "text"),
        ({"user_agent": {}}, "user_agent", "text"),
    ],
)  # fmt: skip
def test_a_fault_names_its_field_and_the_limit(given: dict[str, Any], field: str, says: str) -> None:
    error = fault({**PAGEVIEW, **given})
    assert (error.field, error.index, says in error.message) == (field, None, True), error.message


@pytest.mark.parametrize("name", ["name", "url", "domain", "referrer", "ip", "user_agent"])
def test_nul_is_refused_wherever_it_stands(name: str) -> None:
    error = fault({**PAGEVIEW, name: "a\0b"})
    assert (error.field, error.message) == (name, "must not contain the character U+0000")


@pytest.mark.parametrize("props", [{"a": "\0"}, {"\0": "a"}, '{"a": "\\u0000"}', "{\0}"])
def test_nul_is_refused_in_properties(props: object) -> None:
    assert fault({**PAGEVIEW, "props": props}).field == "props"


@pytest.mark.parametrize("amount", [5, 5.5, "5", "-5.50", 0, 10**30])
def test_revenue_that_is_an_amount_is_taken(amount: object) -> None:
    assert one({**PAGEVIEW, "$": {"currency": "eur", "amount": amount}}) == one(PAGEVIEW)
    assert one({**PAGEVIEW, "$": json.dumps({"currency": "EUR", "amount": amount})}) == one(PAGEVIEW)


def test_what_is_as_long_as_it_may_be_is_taken() -> None:
    props = {f"{i:03}" * 100: "x" * 2000 for i in range(5)} | {str(i): i for i in range(25)}
    found = one({**PAGEVIEW, "name": "ä" * 120, "props": props, "referrer": "ä" * 3000})
    assert (len(found.name), len(found.props), len(found.referrer.encode())) == (120, 30, 2000)


def test_a_list_of_events_stays_a_list() -> None:
    assert event.parse(json.dumps([PAGEVIEW]).encode()) == [one(PAGEVIEW)]


@pytest.mark.parametrize(("count", "allowed"), [(0, False), (1, True), (500, True), (501, False)])
def test_a_list_has_1_to_500_events(count: int, allowed: bool) -> None:
    body = [PAGEVIEW] * count
    if allowed:
        assert len(event.parse(json.dumps(body).encode())) == count  # type: ignore[arg-type] # a list
    else:
        assert fault(body).message == f"an array has 1 to 500 events; this has {count}"


@pytest.mark.parametrize("index", [0, 2])
def test_the_failing_event_of_a_list_is_named(index: int) -> None:
    body: list[Any] = [PAGEVIEW] * 3
    body[index] = {"name": "pageview"}
    error = fault(body)
    assert (error.field, error.index) == ("url", index)


@pytest.mark.parametrize("body", ["text", 1, True, None, 1.5])
def test_an_event_is_an_object(body: object) -> None:
    assert (fault(body).field, fault([PAGEVIEW, body]).index) == ("body", 1)


def test_one_event_has_at_most_32_kib() -> None:
    body = json.dumps(PAGEVIEW).encode()
    assert event.parse(body.ljust(event.MAX_BODY)) == one(PAGEVIEW)
    with pytest.raises(errors.TooLarge, match="at most 32768 bytes; this has 32769"):
        event.parse(body.ljust(event.MAX_BODY + 1))


def test_a_list_has_at_most_a_mebibyte() -> None:
    body = json.dumps([PAGEVIEW]).encode()
    assert event.parse(body.ljust(event.MAX_BATCH_BODY)) == [one(PAGEVIEW)]
    with pytest.raises(errors.TooLarge, match="at most 1048576 bytes; this has 1048577"):
        event.parse(body.ljust(event.MAX_BATCH_BODY + 1))


def test_an_event_cannot_be_printed() -> None:
    found = one({**PAGEVIEW, "ip": "192.0.2.7", "user_agent": "Netscape"})
    assert {repr(found), str(found), f"{found}", f"{[found]}"} == {"Event(…)", "[Event(…)]"}


names = st.sampled_from([*SHORT, *LONG, "sd", "e", "m", "meta", "ip", "user_agent"]) | st.text()
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
    | st.sampled_from(["pageview", "engagement", URL, "EUR", "{}"])
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=8)
)


@given(st.dictionaries(names, anything) | anything)
def test_whatever_is_sent_is_an_event_or_bad_input(fields: object) -> None:
    try:
        found = event.from_fields(fields)
    except errors.BadInput as error:
        error.message.encode()
        return
    assert found.name
    assert found.url
    assert all(map(str.encode, (found.name, found.url, *found.domains, *found.props, *found.props.values())))


@given(st.binary() | anything.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_are_sent_are_events_or_bad_input(body: bytes) -> None:
    with contextlib.suppress(errors.BadInput):
        assert event.parse(body)
