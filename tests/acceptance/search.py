"""Looks for addresses and words in every byte of files, in whatever form a program might have written them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import re2


@dataclass(frozen=True)
class Needle:
    """One form of something that must not be there."""

    of: str
    form: str
    body: bytes
    any_case: bool = False


def needles(of: str) -> list[Needle]:
    """All forms of an address or a word that are too long to be there by chance."""
    found = [needle for text in texts(of) for needle in _of_text(of, text)]
    address = _address(of)
    if isinstance(address, IPv6Address):
        network = ip_network((address, 64), strict=False).network_address.packed[:8]
        found.append(Needle(of, "packed network", network))
        found += _of_bytes(of, "packed", address.packed)
    return found


def short_needles(of: str) -> list[Needle]:
    """The forms of an IPv4 address that have four bytes or little more, and may be there by chance."""
    address = _address(of)
    if not isinstance(address, IPv4Address):
        return []
    turned = Needle(of, "packed, turned", address.packed[::-1])
    return [turned, *_of_bytes(of, "packed", address.packed)]


def texts(of: str) -> list[str]:
    """The ways to write it, in small and capital letters."""
    return sorted({case(text) for text in _written(of) for case in (str, str.lower, str.upper)})


def _written(of: str) -> list[str]:
    address = _address(of)
    if address is None:
        return [of]
    number = str(int(address))
    if isinstance(address, IPv4Address):
        mapped = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"  # the end of ::ffff:…
        return [str(address), mapped, number]
    groups = [f"{int(group, 16):x}" for group in address.exploded.split(":")]
    network = [address.exploded[:20], ":".join(groups[:4]) + ":"]
    return [address.compressed, address.exploded, ":".join(groups), *network, number]


def find(wanted: Iterable[Needle], places: Iterable[Path]) -> list[tuple[str, str, str]]:
    """(what, form, file) of each needle that is in a file below one of the places, or in the name of one."""
    wanted = list(wanted)
    every = _union(wanted)
    found = set()
    for file in _files(places):
        content = str(file).encode() + b"\n" + file.read_bytes()
        if every.search(content) is not None:
            found |= {
                (needle.of, needle.form, str(file)) for needle in wanted if _union([needle]).search(content)
            }
    return sorted(found)


def _address(of: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(of)
    except ValueError:
        return None


def _of_text(of: str, text: str) -> Iterator[Needle]:
    yield Needle(of, f"text {text}", text.encode(), any_case=True)
    yield Needle(
        of,
        f"percent-encoded {text}",
        "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
        any_case=True,
    )
    if quote(text, safe="") != text:
        yield Needle(of, f"quoted {text}", quote(text, safe="").encode(), any_case=True)
    for needle in _of_bytes(of, text, text.encode()):
        if needle.form != text:
            yield needle


def _of_bytes(of: str, form: str, body: bytes) -> Iterator[Needle]:
    yield Needle(of, form, body)
    yield Needle(of, f"hex of {form}", body.hex().encode(), any_case=True)
    for shift in range(3):  # where in a longer text it may begin
        # Only those letters that hang on nothing but the body.
        whole = base64.b64encode(bytes(shift) + body)[-(-shift * 8 // 6) : (shift + len(body)) * 8 // 6]
        yield Needle(of, f"base64 of {form}", whole)
        yield Needle(of, f"base64 of {form}, for URLs", whole.translate(bytes.maketrans(b"+/", b"-_")))


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from (path for path in [place, *place.rglob("*")] if path.is_file())


def _union(wanted: Iterable[Needle]) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.dot_nl = True
    options.max_mem = 512 << 20
    parts = [
        b"(?i:%b)" % _literal(needle.body) if needle.any_case else _literal(needle.body) for needle in wanted
    ]
    return re2.compile(b"|".join(parts), options)


def _literal(body: bytes) -> bytes:
    return "".join(f"\\x{byte:02x}" for byte in body).encode()
