"""What is sent to harm a server does no harm: a real one, at its socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import hostile_corpus as corpus
from acceptance.server import Server, until
from acceptance.talking import Answer, connected

TOGETHER = 16
"""Attacks at a time."""
GROWTH = 48 << 20
"""Bytes that a worker may have more than before: what its allocator keeps after a megabyte a connection."""

LATER = 16
"""Files and sessions of Postgres that a worker opens when it first needs them; attacks are a hundred and more."""
_MORE = {"a batch": 1, "an engagement without end": -1}
"""Events that an attack holds besides the usual one."""

pytestmark = pytest.mark.timeout(120)


class Workers:
    """The worker processes and what they hold, as they were when all was quiet."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pids = sorted(server.children("web"))
        self._held = {pid: _memory(pid) for pid in self._pids}
        self._open = {pid: _open_files(pid) for pid in self._pids}

    async def are_as_before(self) -> None:
        """The same processes, with as many open files as before, and hardly more memory."""
        assert sorted(self._server.children("web")) == self._pids
        await until(lambda: all(_open_files(pid) <= self._open[pid] + LATER for pid in self._pids))
        grown = {pid: _memory(pid) - self._held[pid] for pid in self._pids}
        assert max(grown.values()) < GROWTH, grown


async def test_odd_requests_are_answered_one_by_one_and_what_is_acknowledged_is_stored(place: Path) -> None:
    async with Server(place, rate_limit="0") as server:
        await server.start()
        await server.add_site("example.com")
        token = await server.token("stats:read")
        await _all(server, {"a first one": corpus.request()})
        workers = Workers(server)

        answered = await _all(server, corpus.POLITE)

        assert {name: answer for name, answer in answered.items() if not _is_sound(answer[:1])} == {}
        # What stood behind the attack on the same connection is understood as it was meant.
        assert {name for name, (_, *after) in answered.items() if [one.status for one in after] != [202]} == (
            {"HTTP/1.0", "a connection that ends", "gzip that is none", "gzip and more"}
        )
        taken = sum(_taken(name, answers) for name, answers in answered.items()) + 2
        await until(lambda: _is_stored(server, token, taken))
        await workers.are_as_before()
        assert corpus.MARK not in server.said()


async def test_what_is_no_http_is_refused_and_the_connection_closed(place: Path) -> None:
    async with Server(place, rate_limit="0") as server:
        await server.start()
        workers = Workers(server)

        answered = await _all(server, corpus.MALFORMED)

        statuses = {name: [one.status for one in answers] for name, answers in answered.items()}
        # A server that closes while a megabyte is still on its way takes its own answer back (TCP's reset).
        assert {name: found for name, found in statuses.items() if found != [400]} in (
            {}, {"a cookie of 1 MB": []},
        )  # fmt: skip
        await workers.are_as_before()
        assert corpus.MARK not in server.said()


async def test_hundreds_who_never_come_to_an_end_keep_nobody_waiting(place: Path) -> None:
    async with Server(place, rate_limit="0") as server, AsyncExitStack() as held:
        await server.start()
        workers = Workers(server)
        for data in list(corpus.UNFINISHED.values()) * 25:
            connection = await held.enter_async_context(connected(server.origin))
            await connection.say(data)

        answered = await _all(server, {str(number): corpus.request() for number in range(50)})

        assert {status for answers in answered.values() for status in _statuses(answers)} <= {202, 400}
        assert {len(answers) for answers in answered.values()} == {2}
        await held.aclose()
        await workers.are_as_before()
        assert corpus.MARK not in server.said()


async def test_requests_in_a_row_are_answered_in_their_order(place: Path) -> None:
    async with Server(place, rate_limit="0") as server:
        await server.start()
        await server.add_site("example.com")
        await server.token("stats:read")  # from here on every worker knows the site
        good, bad = corpus.request(), corpus.request(corpus.BAD)
        rows = {"good, bad, good": good + bad + good, "40": good * 40, "by turns": (bad + good) * 20}
        answered = await _all(server, rows)
        assert {name: _statuses(answers) for name, answers in answered.items()} == {
            "good, bad, good": [202, 400, 202, 202],
            "40": [202] * 41,
            "by turns": [400, 202] * 20 + [202],
        }


async def _all(server: Server, attacks: Mapping[str, bytes]) -> dict[str, list[Answer]]:
    """What each attack is answered, and after it a plain event on the same connection."""
    places = asyncio.Semaphore(TOGETHER)

    async def attack(data: bytes) -> list[Answer]:
        async with places, connected(server.origin) as connection:
            await connection.say(data)
            first = await connection.answer()
            if first is None:
                return []
            await connection.say(corpus.request(corpus.GOOD, "Connection: close"))
            return [first, *await connection.rest()]

    answers = await asyncio.gather(*map(attack, attacks.values()))
    return dict(zip(attacks, answers, strict=True))


def _statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def _is_sound(answers: list[Answer]) -> bool:
    """One answer that is no failure of ours, and JSON that names the fault if it is one of the client's."""
    if len(answers) != 1 or not 200 <= answers[0].status < 500:
        return False
    return answers[0].status < 400 or _names_a_fault(answers[0].body)


def _names_a_fault(body: bytes) -> bool:
    errors = json.loads(body)["errors"]
    return bool(errors) and all(isinstance(text, str) for texts in errors.values() for text in texts)


def _taken(name: str, answers: list[Answer]) -> int:
    """How many events these answers acknowledge, of which the first is to the attack."""
    taken = [
        (answer.status == 202 or answer.headers.get("content-type") == "image/gif")
        and "x-headcount-ignored" not in answer.headers
        for answer in answers
    ]
    return sum(taken) + taken[0] * _MORE.get(name, 0)


async def _is_stored(server: Server, token: str, events: int) -> bool:
    found = await server.total(token, "example.com", "events")
    assert found <= events
    return found == events


def _memory(pid: int) -> int:
    """Bytes of its own that the process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
