"""The rotating token: one install leaves a line, a copy leaves a fork."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headcount.licensing import jws, tokens
from headcount.licensing.tokens import NONE, Trail, follow

SECRET, INSTANCE, NOW = b"s" * 32, b"i" * 32, 1_800_000_000


def position(token: str) -> tokens.Position:
    return tokens.read(SECRET, INSTANCE, token)


class Client:
    """An install that keeps the token of its last answer."""

    def __init__(self, token: str = "") -> None:
        self.token = token

    def check(self, trail: Trail, *, lost: bool = False, now: int = NOW) -> Trail:
        seen = position(self.token)
        answer = tokens.after(SECRET, INSTANCE, seen, now)
        if not lost:
            self.token = answer
        return follow(trail, seen)


@given(st.text(max_size=300) | st.binary(max_size=80).map(jws.encode))
def test_what_was_not_made_here_is_no_token(text: str) -> None:
    assert position(text) == NONE


def test_a_token_is_bound_to_its_install_and_to_this_server() -> None:
    token = tokens.after(SECRET, INSTANCE, NONE, NOW)
    assert position(token) != NONE
    assert tokens.read(SECRET, b"j" * 32, token) == NONE
    assert tokens.read(b"t" * 32, INSTANCE, token) == NONE


@given(st.lists(st.booleans(), max_size=30))
def test_an_install_whose_answers_get_lost_now_and_then_is_no_fork(losses: list[bool]) -> None:
    client, trail, before = Client(), Trail(), False
    for lost in losses:
        lost = lost and not before  # one repeat is normal
        trail = client.check(trail, lost=lost)
        before = lost
    assert trail.forks == 0


def test_two_installs_that_go_on_from_one_are_a_fork() -> None:
    first, trail = Client(), Trail()
    for _ in range(3):
        trail = first.check(trail)
    copy = Client(first.token)
    for _ in range(3):
        trail = first.check(trail)
        trail = copy.check(trail)
    assert trail.forks > 0


def test_a_copy_that_wakes_up_late_is_a_fork() -> None:
    first, trail = Client(), Trail()
    trail = first.check(trail)
    copy = Client(first.token)
    for _ in range(5):
        trail = first.check(trail)
    trail = copy.check(trail)
    assert trail.forks == 1


def test_an_install_that_lost_its_file_begins_a_new_chain() -> None:
    client, trail = Client(), Trail()
    for _ in range(5):
        trail = client.check(trail)
    client.token = ""
    for _ in range(3):
        trail = client.check(trail, now=NOW + 60)
    assert (trail.chain, trail.generation, trail.forks) == (NOW + 60, 2, 0)
