"""Tells bots from people, by the agent and by what only a program sends.

The list is that of the package `crawler-user-agents`; the rest are a few rules of our own. It names the
class of a bot and never gives an agent back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import crawleruseragents
import re2

from headcount.model import Ignored

LONGEST_READ = 1000
"""Characters; real agents have 80 to 400."""

# The class that a pattern's tags stand for: the first line with one of them. What reads for advertisers,
# feeds, archives, search optimisers and scanners is a tool, as are libraries and remote-controlled browsers.
_CLASSES = (
    (Ignored.BOT_AI, "ai-crawler"),
    (Ignored.BOT_SEARCH, "search-engine"),
    (Ignored.BOT_MONITOR, "monitoring"),
    (Ignored.BOT_PREVIEW, "social-preview"),
    (Ignored.BOT_TOOL, ""),
)

# Some patterns are short words that also name phones (HTC Butterfly, ViewSonic), builds of Android
# (AP3A.240617.008 is on many phones with Android 15) and browsers inside apps. So of a browser's agent, these
# parts are not looked at.
_INNOCENT = re.compile(
    r"\(Linux; (?:U; )?Android (?![^()]{0,300}Storebot-Google)[^()]{0,300}[()]"
    r"|\b(?:Sogou(?:MSE|MobileBrowser|Search)|MetaIAB (?:Facebook|Instagram)|Blackboard|Freespoke|Fluid|Viber"
    r"|WhatsAppElectron)\b"
    r"|coc_?coc_?browser|\dcoccoc\b"
)
_ENGINE = re.compile(r"\) (?:AppleWebKit|Gecko)/")

# Besides Mozilla/ and Opera/, the browsers of old phones and of terminals.
_STARTS = (
    "Mozilla/",
    "Opera/",
    "UCWEB/",
    "Nokia",
    "SonyEricsson",
    "SAMSUNG-",
    "BlackBerry",
    "LG-",
    "MOT-",
    "DoCoMo/",
    "KDDI-",
    "Lynx/",
    "Links (",
    "ELinks",
    "w3m/",
    "NetSurf/",
    "Dillo/",
    "HbbTV/",
    "MQQBrowser/",
)
# An address on the web or of mail (Ecosia's `android@101.0` is a version), automation, a trade that names
# itself.
_ODD = (
    r"(?i:https?:/|\bwww\.|[\w.+-]@[a-z0-9-]{1,63}\.[a-z]{2}|headless|phantomjs|slimerjs|selenium|webdriver"
    r"|puppeteer|playwright|cypress/|(?:bot|crawler|spider|scraper)\b)"
)
# A browser names its system in the first parenthesis; only Internet Explorer and Konqueror said "compatible".
_BARE = re.compile(
    r"Mozilla/[0-9.]++ *+(?:\((?:compatible;? ?)?\))?$|Mozilla/5\.0 \(compatible(?!; (?:MSIE|Konq|U))"
)

_AHEAD = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)
_AHEAD_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


class _Patterns(NamedTuple):
    any: Any
    """One pattern of all, which most agents are asked alone."""
    classes: tuple[tuple[Ignored, Any], ...]


def bot_class(user_agent: str, headers: Mapping[str, str]) -> Ignored | None:
    """The class of bot, or None for what seems to be a person's browser. Without headers the agent decides."""
    agent = _suspicious_part(user_agent[:LONGEST_READ])
    # aiohttp gives bytes that are no UTF-8 as lone surrogates, which RE2 cannot take.
    text = agent.encode(errors="replace")
    patterns = _patterns()
    if patterns.any.search(text) is not None:
        return next((name for name, pattern in patterns.classes if pattern.search(text)), Ignored.BOT_UNKNOWN)
    # `From` is the contact address of whoever runs a robot (RFC 9110 §10.1.2).
    if not agent.startswith(_STARTS) or _BARE.match(agent) or "From" in headers:
        return Ignored.BOT_UNKNOWN
    return None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether the browser fetches ahead, for somebody who may never look."""
    for name in _AHEAD_HEADERS:
        value = headers.get(name)
        if value and _AHEAD.search(value):
            return True
    return False


def _suspicious_part(agent: str) -> str:
    if agent.startswith("Mozilla/5.0 (") and _ENGINE.search(agent):
        return _INNOCENT.sub("(", agent)
    return agent


@cache
def _patterns() -> _Patterns:
    classes: dict[Ignored, list[str]] = {name: [] for name, _ in _CLASSES}
    for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA:
        tags = entry.get("tags", ())
        name = next((name for name, tag in _CLASSES if tag in tags), Ignored.BOT_TOOL)
        classes[name].append(entry["pattern"])
    everything = [pattern for patterns in classes.values() for pattern in patterns]
    return _Patterns(
        _union([*everything, _ODD]), tuple((name, _union(found)) for name, found in classes.items())
    )


def _union(patterns: list[str]) -> Any:
    # One search of RE2, whose time is linear whatever is sent. (A re2.Set says "no match" when it runs out of
    # memory; this falls back to a slower search instead.)
    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False  # the log would have the text
    options.never_capture = True
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), options)
