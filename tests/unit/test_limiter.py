"""Token buckets: a burst at once, then so many a second, and nothing remembered for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import errors
from headcount.services import limiter
from headcount.services.limiter import Limiter


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(bucket: Limiter, client: bytes = b"one") -> bool:
    try:
        bucket.check(client)
    except errors.TooManyRequests:
        return False
    return True


def test_a_burst_passes_and_no_more() -> None:
    bucket = Limiter(50, 3, Seconds())
    assert [admitted(bucket) for _ in range(5)] == [True, True, True, False, False]


def test_the_bucket_fills_again_at_the_rate() -> None:
    time = Seconds()
    bucket = Limiter(2, 1, time)
    passed = []
    for _ in range(8):
        passed.append(admitted(bucket))
        time.now += 0.25
    assert passed == [True, False, True, False, True, False, True, False]


def test_each_client_has_a_bucket_of_its_own() -> None:
    bucket = Limiter(1, 1, Seconds())
    assert [admitted(bucket, client) for client in (b"one", b"two", b"one", b"two")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = Limiter(0, 1, Seconds())
    assert all(admitted(bucket) for _ in range(1000))


def test_after_ten_minutes_nothing_is_remembered() -> None:
    time = Seconds()
    bucket = Limiter(0.0001, 1, time)
    assert (admitted(bucket), admitted(bucket)) == (True, False)
    time.now += limiter.KEY_LIFE
    assert admitted(bucket)


def test_no_client_is_held_as_it_came() -> None:
    bucket = Limiter(1, 1, Seconds())
    bucket.check(b"192.0.2.1")
    assert b"192.0.2.1" not in repr(vars(bucket)).encode()


def test_a_crowd_does_not_grow_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_CLIENTS", 10)
    bucket = Limiter(1, 1, Seconds())
    for number in range(100):
        bucket.check(number.to_bytes(4, "big"))
    assert len(bucket._buckets) == 10
    assert not admitted(bucket, (99).to_bytes(4, "big"))


gaps = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(st.floats(0.5, 100), st.integers(1, 10), gaps)
def test_no_window_lets_more_pass_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    time = Seconds()
    bucket = Limiter(rate, burst, time)
    passed = []
    for gap in gaps:
        time.now += gap
        passed += [time.now] if admitted(bucket) else []
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], 1):
            assert last <= burst + (end - start) * rate + 1e-6


@given(st.floats(0.01, 100), st.integers(1, 5))
def test_who_waits_as_told_is_admitted(rate: float, burst: int) -> None:
    time = Seconds()
    bucket = Limiter(rate, burst, time)
    for _ in range(burst):
        bucket.check(b"one")
    with pytest.raises(errors.TooManyRequests) as caught:
        bucket.check(b"one")
    assert caught.value.retry_after >= 1
    time.now += caught.value.retry_after + 1e-6
    assert admitted(bucket)
