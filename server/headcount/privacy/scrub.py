"""Takes out of free text what may name a person: addresses, numbers, identifiers, secrets.

Best effort: a name or an ordinary word cannot be told from content. Every pattern is linear in the length
of the text (possessive, or bounded), since anybody may send anything. It must never need a list or a log.
"""

from __future__ import annotations

import ipaddress
import re

EMAIL = ":email"
UUID = ":uuid"
TOKEN = ":token"  # noqa: S105 - no password
NUMBER = ":number"

# Text that is not there when it is shown, or that turns what stands around it: C0, DEL and C1, line
# separators, marks of direction, zero-width and invisible characters, lone surrogates (UTF-8 has no form for
# them), and the invisible "tags". The joiners U+200C and U+200D stay: Persian and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]+"
)

_ENCODED_AT = re.compile(r"%(?:25)*+40|\uff20")
_LOCAL = r"\w.!#$%'*+=^`{|}~-"
# Starts only where a local part can start, so that each run is read once. One match takes a whole chain of
# domains (a@b.com@c.com): half of it would be an address again for the next call.
_EMAIL = re.compile(rf"(?<![{_LOCAL}])[{_LOCAL}]++((?:@[\w-]++(?:(?:\.|%2[Ee])[\w-]++)++)++)")
_TOP_LEVEL = re.compile(r"(?:\.|%2[Ee])[^\W\d_][\w-]+$")
_IMAGE_SCALE = re.compile(r"@\dx\.")  # logo@2x.png

_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+(?:\.[\w-]*+){2,4}")

_RUN = re.compile(r"[A-Za-z0-9_+-]{16,}+=*+")
_PIECE = re.compile(r"[A-Za-z0-9]{16,}+")
_SEPARATOR = re.compile(r"[_+-]")
_SEGMENT = re.compile(r"[0-9]+|[A-Z]?[a-z]+|[A-Z]+")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?=[a-fA-F]*+[0-9])(?=[0-9]*+[a-fA-F])[0-9A-Fa-f]{16,}+")
_KEY = re.compile(r"([A-Z0-9]{4,6}-){3,}[A-Z0-9]{4,6}")
# By how many groups of digits the text has (0, 1, 2, 3, 4 or more): the mean length of its segments (a word,
# a number, capitals) up to which it counts as random. Simulated with 20 characters: of base62, base58 and
# base64 about 5 % are missed, of base36 11 %, of hex 1 %; with 32 characters 1 %, 3 % and 0.2 %.
_RANDOM_UP_TO = (2.2, 2.6, 3.2, 4.2, 5.0)

_ADDRESS_4 = re.compile(r"(?<!\d)(?<!\d\.)(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)")
_ADDRESS_6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]{3,}+(?!\w)")
_ADDRESS_MAC = re.compile(r"(?<!\w)(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?!\w)")
_LONGEST_ADDRESS = 45

# A date stays, since many paths have one. Then phone and card numbers: 9 digits and more, with a separator or
# a parenthesis between two digits; then plain runs.
_NUMBER = re.compile(
    r"(?P<date>(?<!\d)(?:19|20)\d\d([-.])(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12]\d|3[01])(?!\d))"
    r"|\+?\(?\d(?:[ .-]?+[()]?+[ .-]?+\d){8,}+"
    r"|\d{6,}+"
)


def scrub(text: str, fold_digits: bool = True) -> str:
    """`text` with `:email`, `:uuid`, `:token` and `:number` in place of what may name a person.

    Without `fold_digits`, long numbers stay (also those of phones and cards); network addresses never do.
    Scrubbing scrubbed text changes nothing.
    """
    if len(text) < 16 and text.isalpha():  # a word
        return text
    text = visible(text)
    # A replacement can bring a new match about, so it goes on until nothing changes. It does end: every one
    # takes away length, digits or an at sign, and the words put in have neither digit nor at sign.
    while (scrubbed := _once(text, fold_digits)) != text:
        text = scrubbed
    return text


def visible(text: str) -> str:
    """`text` without what a screen does not show, or shows elsewhere than it stands."""
    return text if text.isprintable() else _HIDDEN.sub("", text)


def _once(text: str, fold_digits: bool) -> str:
    if "%" in text or "\uff20" in text:
        text = _ENCODED_AT.sub("@", text)
    if "@" in text:
        text = _EMAIL.sub(_email, text)
    if text.count("-") >= 4:
        text = _UUID.sub(UUID, text)
    if "eyJ" in text:
        text = _JWT.sub(TOKEN, text)
    text = _RUN.sub(_run, text)
    if text.count(":") >= 2:
        text = _ADDRESS_6.sub(_address_6, text)
    if text.count(":") + text.count("-") >= 5:
        text = _ADDRESS_MAC.sub(_address_mac, text)
    if text.count(".") >= 3:
        text = _ADDRESS_4.sub(_address_4, text)
    return _NUMBER.sub(_number, text) if fold_digits else text


def _email(match: re.Match[str]) -> str:
    domain = match[1]
    # lodash@4.17.21 is a version: the last label of a domain never starts with a digit.
    if _TOP_LEVEL.search(domain) is None or _IMAGE_SCALE.match(domain):
        return match[0]
    return EMAIL


def _run(match: re.Match[str]) -> str:
    """A run of letters, digits and separators: a token as a whole, or piece by piece, or a slug."""
    run = match[0]
    if _is_base64(run) or _is_key(run):
        return TOKEN
    pieces = _PIECE.sub(_piece, run)
    return pieces if pieces == run else pieces.rstrip("=")


def _piece(match: re.Match[str]) -> str:
    piece = match[0]
    return TOKEN if _HEX.search(piece) or (len(piece) >= 20 and _is_random(piece)) else piece


def _is_base64(run: str) -> bool:
    """Its own separators are rare, and it has capitals and small letters, as few slugs do."""
    if len(run) < 20 or run.islower() or run.isupper():
        return False
    pieces = _SEPARATOR.split(run)
    return len(run) >= 7 * len(pieces) > 7 and _is_random(run)


def _is_key(run: str) -> bool:
    """Groups of the same length, capitals and digits: a product key."""
    if not run.isupper() or not _KEY.fullmatch(run):
        return False
    lengths = {len(group) for group in run.split("-")}
    return len(lengths) == 1 and _is_random(run)


def _is_random(text: str) -> bool:
    segments = _SEGMENT.findall(text)
    numbers = sum(segment[0] <= "9" for segment in segments)
    return sum(map(len, segments)) <= len(segments) * _RANDOM_UP_TO[min(numbers, 4)]


def _address_6(match: re.Match[str]) -> str:
    text = match[0]
    for address in (text, text.rstrip(".:")):
        if _is_address_6(address):
            return NUMBER + text[len(address) :]
    return text


def _is_address_6(text: str) -> bool:
    # Foo::Bar is no address: it has no digit.
    if text.count(":") < 2 or len(text) > _LONGEST_ADDRESS or not any(map(str.isdigit, text)):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _address_mac(match: re.Match[str]) -> str:
    return NUMBER if any(map(str.isdigit, match[0])) else match[0]


def _address_4(match: re.Match[str]) -> str:
    return NUMBER if all(int(part) < 256 for part in match[0].split(".")) else match[0]


def _number(match: re.Match[str]) -> str:
    return match[0] if match["date"] else NUMBER
