"""Country files in MaxMind's format, made for a test."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network
from typing import Any

MADE_AT = 1_780_000_000


def encode(value: Any) -> bytes:
    """A value of MaxMind's data section; a number up to 65,535 has 16 bits there, others are given as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return bytes([2 << 5 | len(value)]) + value.encode()
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(encode(x) for pair in value.items() for x in pair)
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(encode, value))
    return bytes([5 << 5 | 2]) + int(value).to_bytes(2, "big")


def database(records: dict[str, Any]) -> bytes:
    """A file in MaxMind's format (version 2.0) that knows these networks; IPv4 lies in ::/96."""
    tree: list[list[int | None]] = [[None, None]]
    data, offsets = b"", []
    for network, record in records.items():
        found = ip_network(network)
        bits, length = (
            int(found.network_address),
            found.prefixlen + (0 if isinstance(found, IPv6Network) else 96),
        )
        node = 0
        for depth in range(length):
            bit = bits >> (127 - depth) & 1
            if depth == length - 1:
                offsets.append((node, bit, len(data)))
            elif tree[node][bit] is None:
                tree[node][bit] = len(tree)
                tree.append([None, None])
            node = tree[node][bit] or 0
        data += encode(record)
    count = len(tree)
    for node, bit, offset in offsets:
        tree[node][bit] = count + 16 + offset
    nodes = b"".join((count if side is None else side).to_bytes(3, "big") for pair in tree for side in pair)
    about = {
        "node_count": bytes([6 << 5 | 4]) + count.to_bytes(4, "big"),
        "record_size": 24,
        "ip_version": 6,
        "database_type": "Test-Country",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": bytes([8, 9 - 7]) + MADE_AT.to_bytes(8, "big"),
        "description": {},
    }
    return nodes + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(about)
