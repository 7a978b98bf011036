"""What is sent to harm a server, as named byte strings: one connection each, to be sent as they stand.

MARK is in nearly all of them, so that a search finds what is kept of it. FINISHED ones say all that they announce,
so a server can answer; UNFINISHED ones leave it waiting. Those of POLITE are one request in well-formed HTTP,
whatever its body says.
"""

from __future__ import annotations

import gzip
import json
import zlib

MARK = "mark-5ca1ab1e"
EVENT = "/api/event"
CHECK = "/api/license/check"
PAGE = f"https://example.com/{MARK}"
GOOD = json.dumps({"n": "pageview", "u": PAGE, "d": "example.com"}).encode()
BAD = json.dumps({"n": "pageview", "d": MARK}).encode()
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def request(
    body: bytes = GOOD,
    *headers: str,
    path: str = EVENT,
    method: str = "POST",
    version: str = "1.1",
    length: str | None = "",
    agent: str = AGENT,
) -> bytes:
    """One request. `length`: of the body, if it is to be said otherwise; None: it is not said."""
    said = [] if length is None else [f"Content-Length: {length or len(body)}"]
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: count.example",
        f"User-Agent: {agent}",
        *said,
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def event(**fields: object) -> bytes:
    return request(json.dumps({"n": "pageview", "u": PAGE, "d": "example.com", **fields}).encode())


def raw_event(value: bytes, field: bytes = b"n") -> bytes:
    """An event one of whose fields is this JSON, well-formed or not."""
    others = {b"n": b'"pageview"', b"u": json.dumps(PAGE).encode(), b"d": b'"example.com"', field: value}
    return request(b"{" + b",".join(b'"%s":%s' % pair for pair in others.items()) + b"}")


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request(framed + end, "Transfer-Encoding: chunked", length=None)


def encoded(coding: str, body: bytes) -> bytes:
    return request(body, f"Content-Encoding: {coding}")


_ZEROS = b"0" * (8 << 20)
_LOTS = "x" * 100_000
_SCRIPT = f"<script>alert('{MARK}')</script>"
_OVERRIDE = f"\u202e{MARK}\u2066\u200f"
_CONTROL = f"{MARK}\x1b[2J\x07\x08\x7f\x9b31m"
_DEEP = b"[" * 5000 + b"]" * 5000

JSON: dict[str, bytes] = {
    "an event": event(),
    "a batch": request(b"[" + GOOD + b"," + GOOD + b"]"),
    "an event as a check": request(path=CHECK),
    "no body": request(b""),
    "blanks": request(b" " * 1000),
    "an empty array": request(b"[]"),
    "a batch with one that is wrong": request(b"[" + GOOD + b"," + BAD + b"]"),
    "501 events": request(b"[" + b",".join([GOOD] * 501) + b"]"),
    "an event of 33 KB": event(p={"a": _LOTS[:33_000]}),
    "a body of 1 MB and a byte": request(b'"' + b"x" * (1 << 20)),
    "a body of 4 MB": request(b'"' + b"x" * (4 << 20)),
    "no field": request(b"{}"),
    "fields without end": request(b"{" + b",".join(b'"f%d":1' % n for n in range(2500)) + b"}"),
    "a field named twice": request(GOOD[:-1] + b',"n":"again","n":7}'),
    "a name of 10,000 quotes": raw_event(b'"' + b'\\"' * 10_000 + b'"'),
    "deep arrays": request(_DEEP),
    "deep objects": request(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "deep properties": raw_event(_DEEP, b"p"),
    "deep properties in a text": event(p=_DEEP.decode()),
    "deep within the limit": raw_event(b"[" * 14 + b"]" * 14, b"p"),
    "1e400": raw_event(b"1e400"),
    "1e400 as a width": raw_event(b"1e400", b"w"),
    "-1e400 as an amount": raw_event(b'{"currency":"EUR","amount":-1e400}', b"$"),
    "an amount of 1e999999999": raw_event(b'{"currency":"EUR","amount":"1e999999999"}', b"$"),
    "an amount that is no number": raw_event(b'{"currency":"EUR","amount":"nan"}', b"$"),
    "5,000 digits": raw_event(b"9" * 5000),
    "5,000 digits in a property": raw_event(b'{"a":' + b"9" * 5000 + b"}", b"p"),
    "5,000 digits after the point": raw_event(b'{"a":0.' + b"9" * 5000 + b"}", b"p"),
    "2 to the 64": raw_event(str(2**64).encode(), b"w"),
    "minus zero": raw_event(b"-0.0", b"w"),
    "a name that is a number": raw_event(b"7"),
    "NaN": raw_event(b"NaN", b"w"),
    "Infinity": raw_event(b"-Infinity", b"w"),
    "a list as a name": raw_event(b'["pageview"]'),
    "an object as a URL": raw_event(b"{}", b"u"),
    "a number as a site": raw_event(b"1", b"d"),
    "U+0000 in a name": raw_event(rb'"\u0000"'),
    "U+0000 in a URL": raw_event(rb'"https://example.com/\u0000"', b"u"),
    "U+0000 in a site": raw_event(rb'"example.com\u0000"', b"d"),
    "U+0000 in a property": raw_event(rb'{"\u0000":"a"}', b"p"),
    "U+0000 in a text of properties": raw_event(rb'"{\"a\":\"\\u0000\"}"', b"p"),
    "a lone surrogate": raw_event(rb'"\ud800"'),
    "a lone surrogate in a text of properties": raw_event(rb'"{\"a\":\"\\udc00\"}"', b"p"),
    "bytes that are no UTF-8": raw_event(b'"\xff\xfe\xc0\x80\xed\xa0\x80"'),
    "a byte order mark": request(b"\xef\xbb\xbf" + GOOD),
    "UTF-16": request(GOOD.decode().encode("utf-16")),
    "a NUL for a body": request(b"\0"),
    "bytes for a body": request(bytes(range(256))),
    "control characters": event(n=_CONTROL, r=f"https://{_CONTROL}/", p={_CONTROL: _CONTROL}),
    "right to left": event(n=_OVERRIDE, u=PAGE + _OVERRIDE, r=f"https://other.example/{_OVERRIDE}"),
    "script": event(n=_SCRIPT, u=PAGE + _SCRIPT, r=f"https://other.example/{_SCRIPT}", p={_SCRIPT: _SCRIPT}),
    "script as a site": event(d=_SCRIPT),
    "a URL with a password": event(u=f"https://{MARK}:{MARK}@example.com/"),
    "a URL of another kind": event(u=f"javascript:alert('{MARK}')"),
    "a URL of 10,000 characters": event(u=PAGE + _LOTS[:10_000]),
    "a URL of dots and slashes": event(u=f"https://example.com/{'../' * 3000}etc/passwd"),
    "a URL of percent signs": event(u=PAGE + "%25" * 5000),
    "a URL of at signs": event(u=PAGE + "a@b." * 5000),
    "a URL of colons": event(u=PAGE + "1:" * 5000),
    "a referrer of dots": event(r="https://" + "a." * 10_000),
    "SQL": event(n="'; drop table sites; --", d="example.com' or '1'='1", p={"' --": "1); --"}),
    "a format": event(n="%s%n%x{0.__class__}", p={"${jndi:ldap://x}": "{{7*7}}"}),
    "11 sites": event(d=",".join(f"{n}.example" for n in range(11))),
    "31 properties": event(p={str(n): n for n in range(31)}),
    "an address that is none": event(ip="999.999.999.999", user_agent=AGENT),
    "an engagement without end": event(n="engagement", sd=10**12, e=10**9),
}
"""JSON that is odd, in HTTP that is not."""

BODIES: dict[str, bytes] = {
    "a body in chunks": chunked(GOOD[:20], GOOD[20:]),
    "a body in chunks of a byte": chunked(*(GOOD[place : place + 1] for place in range(len(GOOD)))),
    "8,000 bytes beside the size of a chunk": request(
        b"3;" + _LOTS.encode()[:8000] + b"\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None
    ),
    "chunks past the limit": chunked(*[b"x" * 65_536] * 40),
    "trailers": chunked(GOOD, end=f"0\r\nX-Trailer: {MARK}\r\n\r\n".encode()),
    "a body in gzip": encoded("gzip", gzip.compress(GOOD)),
    "a body in deflate": encoded("deflate", zlib.compress(GOOD)),
    "8 MB of zeros in gzip": encoded("gzip", gzip.compress(_ZEROS)),
    "8 MB of zeros in deflate": encoded("deflate", zlib.compress(_ZEROS)),
    "gzip in gzip": encoded("gzip", gzip.compress(gzip.compress(_ZEROS))),
    "gzip twice": encoded("gzip, gzip", gzip.compress(gzip.compress(GOOD))),
    "gzip that is none": encoded("gzip", GOOD),
    "gzip that is cut off": encoded("gzip", gzip.compress(GOOD)[:-9]),
    "gzip and more": encoded("gzip", gzip.compress(GOOD) + GOOD),
    "an unknown encoding": encoded(MARK, GOOD),
    "an expectation": request(GOOD, "Expect: 100-continue"),
    "an expectation that nobody meets": request(GOOD, f"Expect: {MARK}"),
    "an upgrade to WebSocket": request(GOOD, "Connection: Upgrade", "Upgrade: websocket"),
    "an upgrade to HTTP/2": request(
        GOOD, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    ),
    "a body for a GET": request(GOOD, path="/health/live", method="GET"),
    "JSON said to be an image": request(GOOD, "Content-Type: image/png"),
    "a type that is none": request(GOOD, "Content-Type: ;;;charset=\x80,"),
    "a charset that is none": request(GOOD, f"Content-Type: application/json; charset={MARK}"),
}
"""Bodies that are framed, packed or announced in odd ways."""

HEADERS: dict[str, bytes] = {
    "an address in every header": request(GOOD, *(f"{name}: 203.0.113.9, {MARK}" for name in (
        "X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "Via"))),
    "1,000 addresses": request(GOOD, "X-Forwarded-For: " + ",".join(["203.0.113.9"] * 600)),
    "a token that is none": request(GOOD, f"Authorization: Bearer {MARK}"),
    "a token of bytes": request(GOOD, "Authorization: Bearer \udcff\udcfe"),
    "a password": request(GOOD, f"Authorization: Basic {MARK}"),
    "an empty agent": request(agent=""),
    "an agent of 8,000 characters": request(agent="Mozilla/5.0 (" * 600),
    "an agent of bytes": request(agent="\udcff\udcfe\udc80"),
    "a language without end": request(GOOD, "Accept-Language: " + "a-" * 4000),
    "120 headers": request(GOOD, *(f"X-{n}: {MARK}" for n in range(115))),
    "a header of 8,000 bytes": request(GOOD, f"X-A: {MARK}" + _LOTS[:7900]),
    "a cookie of 8,000 bytes": request(GOOD, f"Cookie: a={MARK}" + _LOTS[:7900]),
    "a cookie that is none": request(GOOD, 'Cookie: ;;=;"\\;\udcff'),
    "an origin": request(GOOD, f"Origin: https://{MARK}.example"),
    "a host that is none": request().replace(b"Host: count.example", b"Host: a b/\\@" + MARK.encode()),
    "no type is accepted": request(GOOD, "Accept: ;;,,q=x", "Accept-Encoding: *;q=0"),
    "a range": request(b"", f"Range: bytes=0-{'9' * 500}", path="/h.js", method="GET"),
    "tags without end": request(b"", "If-None-Match: " + '"a",' * 1900, path="/h.js", method="GET"),
}  # fmt: skip
"""Headers that are well-formed, within the limits and odd."""

PATHS: dict[str, bytes] = {
    "no such page": request(b"", path=f"/{MARK}", method="GET"),
    "script in the path": request(b"", path=f"/<script>{MARK}</script>", method="GET"),
    "dots in the path": request(b"", path=f"/../../{MARK}/..%2f..%2fetc/passwd", method="GET"),
    "NUL in the path, encoded": request(b"", path=f"/{MARK}%00", method="GET"),
    "no UTF-8 in the path, encoded": request(b"", path=f"/{MARK}%ff%c0%80", method="GET"),
    "percent signs in the path": request(b"", path=f"/{MARK}%%%25%zz", method="GET"),
    "two slashes": request(path=f"/{EVENT}"),
    "a slash behind": request(path=f"{EVENT}/"),
    "a query behind": request(path=f"{EVENT}?{MARK}=1&{MARK}"),
    "a fragment behind": request(path=f"{EVENT}#{MARK}"),
    "an encoded letter": request(path="/api/%65vent"),
    "the whole address": request(path=f"http://count.example{EVENT}"),
    "the whole address of another": request(path=f"http://{MARK}.example{EVENT}"),
    "a star": request(b"", path="*", method="OPTIONS"),
    "an image by a script": request(b"", path=f"/h.gif?u=https://example.com/<script>{MARK}", method="GET"),
    "an image of NUL": request(b"", path="/h.gif?u=https://example.com/%00&d=%ff", method="GET"),
    "an image with a field twice": request(b"", path=f"/h.gif?u=a&u={MARK}&d=&d=%0a", method="GET"),
    "a domain of bytes": request(b"", path="/api/v1/sites/%ff%00", method="GET"),
    "an id of 5,000 digits": request(b"", path=f"/api/v1/licenses/{'9' * 5000}", method="GET"),
    "a question by GET": request(b"", path=EVENT, method="GET"),
    "a method that is rare": request(b"", path=EVENT, method="PROPFIND"),
    "a method that deletes": request(b"", path=EVENT, method="DELETE"),
    "a trace": request(b"", path=EVENT, method="TRACE"),
    "a preflight": request(b"", f"Origin: https://{MARK}", path=EVENT, method="OPTIONS"),
    "a tunnel": request(b"", path=f"{MARK}.example:443", method="CONNECT"),
    "HTTP/1.0": request(version="1.0"),
    "HTTP/1.0 that stays": request(GOOD, "Connection: keep-alive", version="1.0"),
    "a connection that ends": request(GOOD, "Connection: close"),
}  # fmt: skip
"""Paths and methods."""

PIPELINES: dict[str, bytes] = {
    "good, bad, good": request() + request(BAD) + request(),
    "bad, nowhere, good": request(BAD) + PATHS["no such page"] + request(),
    "40 of them": request() * 40,
    "good, in chunks, good": request() + chunked(GOOD) + request(),
    "good, packed, good": request() + encoded("gzip", gzip.compress(GOOD)) + request(),
    "good, too large, good": request() + event(p={"a": _LOTS[:40_000]}) + request(),
    "an image between": request() + PATHS["an image by a script"] + request(BAD) + request(),
    "good, and an end": request() + PATHS["a connection that ends"] + request(),
    "good, then no HTTP": request() + f"{MARK}\r\n\r\n".encode(),
    "good, then two lengths": request() + request(GOOD, "Content-Length: 3"),
    "empty lines between": request() + b"\r\n" + request(),
}
"""Several requests at once, on one connection."""

MALFORMED: dict[str, bytes] = {
    "no HTTP": f"{MARK}\r\n\r\n".encode(),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + MARK.encode(),
    "HTTP/9.9": request(version="9.9"),
    "HTTP/1.10": request(version="1.10"),
    "a small version": request().replace(b"HTTP/1.1", b"http/1.1", 1),
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + MARK.encode() * 40 + b"\r\n\r\n",
    "SSH": f"SSH-2.0-{MARK}\r\n\r\n".encode(),
    "only NULs": b"\0" * 1000 + b"\r\n\r\n",
    "NUL in the request line": request(path=f"/{MARK}\0"),
    "NUL in a header's name": request(GOOD, f"X\0: {MARK}"),
    "NUL in a header": request(GOOD, f"X-A: {MARK}\0"),
    "a line break alone in a header": request(GOOD, f"X-A: {MARK}\rX-B: 1"),
    "a method that is none": request(method=f"BREW-{MARK}"),
    "a method in small letters": request(method="post"),
    "a blank in the path": request(path=f"/api/event {MARK}"),
    "a path of 100,000 characters": request(b"", path=f"/{MARK}{_LOTS}", method="GET"),
    "a method of 100,000 characters": request(method="A" * 100_000),
    "no path": b"POST  HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a path that is none": request(path=MARK),
    "an authority that is none": request(b"", path="http://[::1/", method="GET"),
    "a header of 100,000 bytes": request(GOOD, f"X-A: {MARK}{_LOTS}"),
    "a name of 100,000 bytes": request(GOOD, f"X-{_LOTS}: {MARK}"),
    "10,000 headers": request(GOOD, *(f"X-{n}: {MARK}" for n in range(10_000))),
    "10,000 times the same header": request(GOOD, *[f"X-A: {MARK}"] * 10_000),
    "10,000 empty headers": request(GOOD, *["X-A:"] * 10_000),
    "a cookie of 1 MB": request(GOOD, f"Cookie: a={MARK}{_LOTS * 10}"),
    "1,000 cookies": request(GOOD, *[f"Cookie: a={MARK}"] * 1000),
    "a header without a colon": request(GOOD, MARK),
    "a header without a name": request(GOOD, f": {MARK}"),
    "a blank before a colon": request(GOOD, f"Content-Length : {len(GOOD)}"),
    "a blank before a name": request(GOOD, f" X-A: {MARK}"),
    "a folded header": request(GOOD, f"X-A: {MARK}\r\n {MARK}"),
    "bytes in a header's name": request(GOOD, f"X-\udcff: {MARK}"),
    "two lengths": request(GOOD, "Content-Length: 3"),
    "the same length twice": request(GOOD, f"Content-Length: {len(GOOD)}"),
    "two lengths in one": request(length=f"{len(GOOD)}, {len(GOOD)}"),
    "a length with a sign": request(length=f"+{len(GOOD)}"),
    "a length below zero": request(length="-1"),
    "a length in hex": request(length=hex(len(GOOD))),
    "a length with a low line": request(length="1_0"),
    "a length of 5,000 digits": request(length="9" * 5000),
    "a length of 2 to the 64": request(length=str(2**64)),
    "a length that is none": request(length=MARK),
    "a length that is empty": request(GOOD, "Content-Length:", length=None),
    "a length and chunks": request(b"0\r\n\r\n" + request(), "Transfer-Encoding: chunked", length="5"),
    "chunks and a length": request(
        b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5", length=None
    ),
    "chunks twice": request(b"0\r\n\r\n", "Transfer-Encoding: chunked, chunked", length=None),
    "chunks in two headers": request(
        b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", length=None
    ),
    "chunks, then identity": request(b"0\r\n\r\n", "Transfer-Encoding: chunked, identity", length=None),
    "nearly chunks": request(b"0\r\n\r\n", "Transfer-Encoding: xchunked", length=None),
    "chunks in HTTP/1.0": request(b"0\r\n\r\n", "Transfer-Encoding: chunked", length=None, version="1.0"),
    "a chunk of no size": request(b"ZZ\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "a chunk below zero": request(b"-1\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "a chunk without end": request(
        b"f" * 40 + b"\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None
    ),
    "a chunk that is longer than it says": request(
        b"3\r\nabcdef\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None
    ),
    "a size of chunks with a blank": request(
        b"3 \r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None
    ),
    "10,000 trailers": chunked(GOOD, end=b"0\r\n" + f"X-A: {MARK}\r\n".encode() * 10_000 + b"\r\n"),
    "two agents": request(GOOD, f"User-Agent: {MARK}"),
    "no host": b"POST /api/event HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD,
    "two hosts": request(GOOD, f"Host: {MARK}.example"),
    "bare line feeds": request().replace(b"\r\n", b"\n"),
    "bare carriage returns": request().replace(b"\r\n", b"\r") + b"\r\n\r\n",
}
"""HTTP that breaks its rules (RFC 9112), or the limits of a server."""

ANCIENT: dict[str, bytes] = {
    "HTTP/0.9": f"GET /{MARK}\r\n\r\n".encode(),
    "HTTP/0.9 with a version": f"GET /{MARK} HTTP/0.9\r\n\r\n".encode(),
}
"""A form of HTTP whose answers have no status line."""

_HEAD = f"POST {EVENT} HTTP/1.1\r\nHost: count.example\r\nX-A: {MARK}"

UNFINISHED: dict[str, bytes] = {
    "nothing": b"",
    "half a word": b"PO",
    "half a request line": f"POST /{MARK}".encode(),
    "half a head": _HEAD.encode(),
    "half a body": request(length=str(len(GOOD) + 1000)),
    "half a chunk": request(b"ffff\r\n" + GOOD, "Transfer-Encoding: chunked", length=None),
    "half a batch": request(b"[" + GOOD, "Transfer-Encoding: chunked", length=None),
    "chunks without their end": chunked(GOOD, end=b""),
    "an expectation and no body": request(b"", "Expect: 100-continue", length="1000"),
    "a length of 2 to the 62": request(length=str(2**62)),
    "half a TLS hello": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + MARK.encode(),
    "good, and half another": request() + _HEAD.encode(),
}
"""They end in the middle; what follows never comes."""

POLITE = {**JSON, **BODIES, **HEADERS, **PATHS}
FINISHED = {**POLITE, **PIPELINES, **MALFORMED, **ANCIENT}
