"""JSON from strangers: bounded in size, depth and time."""

from __future__ import annotations

import json as reference
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headcount import errors
from headcount.wire import json

LIMIT = 1 << 20


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values)
def test_what_is_shallow_is_read_as_it_was_meant(value: object) -> None:
    assume(depth(value) <= json.MAX_DEPTH)
    assert json.decode(reference.dumps(value, ensure_ascii=False).encode(), LIMIT) == value


@given(st.binary())
def test_bytes_are_json_or_bad_input(body: bytes) -> None:
    try:
        found = json.decode(body, LIMIT)
    except errors.BadInput:
        return
    assert found == reference.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1} {"a": 2}',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        rb'"\ud800"',
        rb'"\udc00"',
        rb'"\ud800\ud800"',
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'"\x01"',
        b"9" * 5000,
    ],
)
def test_what_is_no_json_in_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(errors.BadInput, match=r"RFC 8259.*UTF-8"):
        json.decode(body, LIMIT, "props")


def test_more_bytes_than_the_limit_are_too_large() -> None:
    assert json.decode(b"1234", 4) == 1234
    with pytest.raises(errors.TooLarge, match="at most 4 bytes; this has 5"):
        json.decode(b"12345", 4)


@pytest.mark.parametrize(
    ("opening", "closing", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('{"]":[0,', "]}", 2)]
)
def test_nesting_is_bounded(opening: str, closing: str, levels: int) -> None:
    times = json.MAX_DEPTH // levels
    assert json.decode(f"{opening * times}1{closing * times}".encode(), LIMIT)
    with pytest.raises(errors.BadInput, match="at most 16 deep"):
        json.decode(f"[{opening * times}1{closing * times}]".encode(), LIMIT)


def test_a_body_that_was_cut_off_is_not_called_deep() -> None:
    with pytest.raises(errors.BadInput, match="RFC 8259"):
        json.decode(b"[" + b'{"a":[1]},' * 100, LIMIT)


@pytest.mark.parametrize("text", ["[" * 100, '"[' * 50, r"\"[[" * 30, "\\"])
def test_brackets_in_a_string_are_no_nesting(text: str) -> None:
    assert json.decode(reference.dumps(text).encode(), LIMIT) == text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * LIMIT,
        b"[" * 20 + b'"' + rb"\"" * (LIMIT // 2 - 20),
        b"[" * 20 + b'"' * (LIMIT - 20),
        b"[" * 20 + b'"\\' * (LIMIT // 2 - 10),
        b"[]" * (LIMIT // 2),
        b'{"a":' * (LIMIT // 5),
    ],
)
def test_a_hostile_body_is_refused_in_no_time(body: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(errors.BadInput):
        json.decode(body, LIMIT)
    assert time.perf_counter() - start < 1


def test_of_a_name_given_twice_the_last_value_counts() -> None:
    assert json.decode(b'{"a": 1, "a": 2}', LIMIT) == {"a": 2}


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfffb"])
def test_text_that_nothing_can_store_is_refused(text: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        json.clean("name", text)
    assert caught.value.field == "name"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert json.clean("name", text) is text
