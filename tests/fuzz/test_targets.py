"""Whatever is sent, a parser takes it or says why not. `python -m fuzz.run` tries longer, led by what is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hostile_corpus as corpus
from fuzz import targets

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    ["name", "url", "domain", "referrer", "props", "revenue", "sd", "e", "ip", "key", "product", "instance",
     "version", "nonce", "site_id", "metrics", "filters", "date_range", "seats", "for", "expires_at", "hostnames"]
)  # fmt: skip
_DATA = st.one_of(
    st.binary(max_size=400),
    st.text().map(str.encode),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(_NAMES, _VALUES).map(lambda value: json.dumps(value).encode()),
)
_BODIES = [request.partition(b"\r\n\r\n")[2] for request in corpus.JSON.values()]


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=25)
@given(data=_DATA)
@example(data=b"")
@example(data=b"\xff\xfe\0")
@example(data=b"9" * 5000)
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    targets.attempt(targets.TARGETS[name], data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_hostile_corpus_is_taken_or_refused(name: str) -> None:
    for body in _BODIES:
        targets.attempt(targets.TARGETS[name], body[:100_000])


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_long_repetition_is_read_to_its_end(name: str) -> None:
    # What is not linear takes hours for this, and runs into the time limit of a test.
    for piece in (b"a@b.", b"1:", b"a-", b"eyJ.", b"%40", b"((", b"1.", b"A1B2-", b" ;q=1,", b'"'):
        targets.attempt(targets.TARGETS[name], piece * (200_000 // len(piece)))


@pytest.mark.timeout(120)
def test_each_target_can_be_fuzzed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.run", "1", "versions"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
