"""Unmistakable addresses, agents, host names and keys go in by every way there is, and are nowhere afterwards.

Everything happens to the server: pages are viewed, requests are broken in all manners, processes are killed,
Postgres recovers. Then every byte that it left is searched: the data directory with the database, its log and
its write-ahead log, spools, state, settings, the day keys on the RAM disk, temporary files and all output.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from acceptance import planted, search
from acceptance.planted import SITE, Somebody
from acceptance.server import Server, until
from headcount.licensing import keys

pytestmark = pytest.mark.timeout(240)

PLANTED = Somebody(
    sockets=("127.77.13.5", "127.77.13.6", "127.77.13.7"),
    forwarded=(
        *("203.0.113.77", "203.0.113.78", "203.0.113.79"),
        *("2001:db8:77:13::beef", "2001:db8:77:1413:5:beef:a:b"),
    ),
    passed_on=("198.51.100.177", "198.51.100.178", "198.51.100.179", "2001:db8:b0d7:77:c0de:5:a:b"),
    word="Xyzzyphant",
)
CONTROL = Somebody(
    sockets=("127.0.0.1", "127.0.0.2", "127.0.0.3"),
    forwarded=("192.0.2.11", "192.0.2.12", "192.0.2.13", "2001:db8:1::1", "2001:db8:2::1"),
    passed_on=("192.0.2.14", "192.0.2.15", "192.0.2.16", "2001:db8:3::1"),
    word="Usual",
)

Hits = set[tuple[str, str, str]]
"""(what, form, file)"""


async def test_what_is_planted_is_nowhere_afterwards(place: Path, another_place: Path) -> None:
    short = [needle for address in PLANTED.addresses for needle in search.short_needles(address)]
    async with a_server(another_place) as control, a_server(place) as server:
        _, key = await asyncio.gather(live_through(control, CONTROL), live_through(server, PLANTED))
        by_chance = found(control, another_place, short)
        networks = (
            "127.77.13",
            "203.0.113",
            "198.51.100",
        )  # what is left of an address by cutting one number off
        secret = (PLANTED.word, key, keys.parse(key), *networks)
        long = [needle for what in (*PLANTED.addresses, *secret) for needle in search.needles(what)]
        assert found(server, place, long) == set()
        assert {"base", "pg_wal", "state.db"} <= where(found(server, place, search.needles(planted.KEPT)))
        assert all_of_one_way(found(server, place, short), by_chance) == []


def a_server(place: Path) -> Server:
    return Server(place, trusted_proxies="127.0.0.0/8", rate_limit="5", log_level="debug")


async def live_through(server: Server, who: Somebody) -> str:
    """All that can happen to a server in one life; the license key that was used in it."""
    await server.start()
    await server.add_site(SITE, props="note")
    await server.add_site("tokyo.example", timezone="Asia/Tokyo")
    token = await server.token("events:write", "stats:read")

    key = await server.license("planted", seats=100)
    assert set(await planted.good(server, who, token)) == {202}
    assert min(await planted.bad(server, who, token)) >= 400
    assert any(b" 400 " in answer for answer in await planted.broken(server, who))
    assert {200, 400, 404} <= set(await planted.ask(server, who, token))
    assert {200, 400, 404, 413} <= set(await planted.checks(server, who, key))
    assert await failing_in_the_door(server, who) == {500}
    assert 429 in await planted.flood(server, who)

    await server.kill_child("web")
    await server.kill_child("web", signal.SIGABRT)  # which would leave a core file
    await server.kill_child("rollup")
    await server.kill_postgres()
    assert set(await planted.good(server, who, token)) <= {202, 429}
    await until_all_are_counted(server, who, token)
    for words in (("stats", SITE), ("site", "list"), ("privacy", "status")):
        await server.command(*words)

    await server.stop()
    await server.start()
    await planted.broken(server, who)
    await server.stop()
    return key


async def failing_in_the_door(server: Server, who: Somebody) -> set[int]:
    """What is answered when something goes wrong that nobody thought of: here, a day key cannot be made."""
    (folder,) = server.day_key_folders()
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    folder.touch()
    event = {"n": "pageview", "u": "https://tokyo.example/"}
    try:
        return {(await server.post(event, who.headers(address))).status for address in who.forwarded}
    finally:
        folder.unlink()
        away.rename(folder)


async def until_all_are_counted(server: Server, who: Somebody, token: str) -> None:
    """So that they did go through the whole of it: as many visitors at least as addresses."""

    async def are_counted() -> bool:
        return await server.total(token, SITE, "visitors") >= len(who.addresses)

    await until(are_counted)


def found(server: Server, place: Path, needles: list[search.Needle]) -> Hits:
    """(what, form, file) in all that the server left, on any disk, also of RAM."""
    assert (place / "data" / "state.db").exists()
    assert len(server.day_key_folders()) == 1
    return set(search.find(needles, [place, *server.day_key_folders()]))


def where(hits: Hits) -> set[str]:
    """The names of all files and folders in which something was found."""
    return {part for _, _, file in hits for part in Path(file).parts}


def all_of_one_way(hits: Hits, by_chance: Hits) -> list[tuple[str, ...]]:
    """The ways in of which each IPv4 address was found, in the same form, and without being planted none.

    Four bytes are in a database by chance now and then; were they kept, then those of all.
    """
    ways = [
        tuple(one for one in way if ":" not in one)
        for way in (PLANTED.sockets, PLANTED.forwarded, PLANTED.passed_on)
    ]
    forms = {form for _, form, _ in hits}
    there = {(what, form) for what, form, _ in hits} - {(what, form) for what, form, _ in by_chance}
    return [(form, *way) for form in forms for way in ways if {(one, form) for one in way} <= there]


@pytest.mark.parametrize("what", [*PLANTED.addresses, PLANTED.word])
def test_the_search_finds_what_is_planted(what: str, tmp_path: Path) -> None:
    """A mutation test of the search: in the middle of noise, in each form, made without its help."""
    for number, form in enumerate(forms(what)):
        file = tmp_path / f"{number}" / "base"
        file.parent.mkdir()
        file.write_bytes(os.urandom(5000) + form + os.urandom(5000))
        hits = search.find([*search.needles(what), *search.short_needles(what)], [file.parent])
        assert {path for _, _, path in hits} == {str(file)}, form


def forms(what: str) -> Iterator[bytes]:
    """What a program might write."""
    texts = [what]
    try:
        address = ipaddress.ip_address(what)
    except ValueError:
        texts += [what.upper(), what.lower()]
    else:
        yield address.packed
        yield address.packed.hex().encode()
        yield b"\\x" + address.packed.hex().upper().encode()
        yield base64.b64encode(address.packed)
        yield base64.urlsafe_b64encode(b"v" + address.packed + b"!")
        yield str(int(address)).encode()
        texts += [address.exploded, address.exploded.upper(), address.compressed.upper()]
        if address.version == 4:
            texts += [f"::ffff:{what}", str(ipaddress.IPv6Address(f"::ffff:{what}"))]
        else:
            yield address.packed[:8] + bytes(8)
            texts.append(f"{ipaddress.ip_network(f'{what}/64', strict=False)}")
    for text in texts:
        yield text.encode()
        yield text.encode().hex().encode()
        yield text.encode().hex().upper().encode()
        yield quote(text, safe="").encode()
        yield quote(text, safe="").lower().encode()
        yield "".join(f"%{byte:02X}" for byte in text.encode()).encode()
        for around in ("", "a", "ab", "abc"):
            yield base64.b64encode(f"{around}{text}".encode())
            yield base64.urlsafe_b64encode(f"{around}{text}{around}".encode())
