"""A crowd of made-up people, programs and refusers, and what each of them does minute by minute.

Whoever sends an event also writes down what the server ought to make of it: that is all that `brute` looks at.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Traits = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody, or something: an address (several, for a network of IPv6) and an agent."""

    number: int
    addresses: Sequence[str]
    agent: str
    traits: Traits
    """What is to be counted of them, by dimension."""
    language: str = ""
    """Sent in a header; an event that a server passes on has none."""
    screen: int | None = None
    direct: bool = False
    """Whether it comes from the browser, through a proxy; else a server passes it on."""
    ignored: str = ""
    """Why nothing of it is to be counted."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One event, as it was sent and as it is meant."""

    at: datetime
    site: str
    visitor: Visitor
    name: str
    host: str
    page: str
    url: str
    referrer: str = ""
    arrival: Traits = field(default_factory=dict)
    """What the referrer and the URL tell about where the visit came from, should it begin here."""
    props: Traits = field(default_factory=dict)
    """Those that are kept."""
    other_props: Traits = field(default_factory=dict)
    interactive: bool = True
    scroll: int | None = None

    @property
    def shown(self) -> bool:
        """Whether it is an event to be counted; engagement only tells more about one."""
        return self.name != "engagement"

    def body(self) -> dict[str, Any]:
        """As Plausible's clients send it, without the sender."""
        body: dict[str, Any] = {"n": self.name, "u": self.url, "d": self.site}
        if self.referrer:
            body["r"] = self.referrer
        if self.props or self.other_props:
            body["p"] = {**self.props, **self.other_props}
        if not self.interactive:
            body["i"] = False
        if not self.shown:
            body["e"] = 4000
            body["sd"] = 255 if self.scroll is None else self.scroll
        if self.visitor.screen is not None:
            body["w"] = self.visitor.screen
        return body


_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile"
_IOS = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
AGENTS = (
    (f"{_WINDOWS} Safari/537.36", "Chrome", "Chrome 131", "Windows", "Windows 10", "desktop"),
    (f"{_WINDOWS} Safari/537.36 Edg/131.0.0.0", "Edge", "Edge 131", "Windows", "Windows 10", "desktop"),
    (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {_IOS} Version/17.5 Mobile/15E148 Safari/604.1",
        *("Safari", "Safari 17", "iOS", "iOS 17", "mobile"),
    ),
    (
        f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {_IOS} Version/16.6 Mobile/15E148 Safari/604.1",
        *("Safari", "Safari 16", "iPadOS", "iPadOS 16", "tablet"),
    ),
    (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_IOS} Version/18.1 Safari/605.1.15",
        *("Safari", "Safari 18", "macOS", "macOS 10.15", "desktop"),
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
        *("Firefox", "Firefox 132", "Linux", "Linux", "desktop"),
    ),
    (f"{_ANDROID} Safari/537.36", "Chrome", "Chrome 130", "Android", "Android 10", "mobile"),
)
BOTS = (
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot_search_engine"),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "bot_ai_crawler",
    ),
    ("curl/8.5.0", "bot_tool"),
)
COUNTRIES = (  # the country of all addresses that begin like this
    ("LV", "46.109", "2a01:4e0"),
    ("IN", "49.32", "2409:4000"),
    ("US", "28.1", "2601:4000"),
    ("DE", "79.192", "2003:1000"),
    ("JP", "133.1", "2400:2000"),
    ("BR", "179.128", "2804:d40"),
)
LANGUAGES = (("lv,en;q=0.8", "lv"), ("en-IN,hi;q=0.5", "en"), ("pt-BR", "pt"), ("", ""))
SCREENS = ((390, "XS"), (1024, "L"), (1920, "XL"), (None, ""))
ARRIVALS: tuple[tuple[str, str, Traits], ...] = (
    ("", "", {"channel": "Direct"}),
    (
        "https://www.google.com/search?q=weather",
        "",
        {"source": "Google", "referrer": "google.com/search", "channel": "Organic Search"},
    ),
    (
        "https://chatgpt.com/",
        "",
        {"source": "ChatGPT", "referrer": "chatgpt.com", "channel": "AI Assistants"},
    ),
    (
        "https://blog.example.org/post/one/",
        "?lang=fr",
        {"source": "example.org", "referrer": "blog.example.org/post/one", "channel": "Referral"},
    ),
    (
        "",
        "?utm_source=newsletter&utm_medium=email&utm_campaign=spring&utm_content=top",
        {
            "source": "newsletter",
            "channel": "Email",
            "utm_source": "newsletter",
            "utm_medium": "email",
            "utm_campaign": "spring",
            "utm_content": "top",
        },
    ),
    (
        "https://www.google.com/",
        "?utm_source=google&utm_medium=cpc&utm_term=boots",
        {
            "source": "Google",
            "referrer": "google.com",
            "channel": "Paid Search",
            "utm_source": "google",
            "utm_medium": "cpc",
            "utm_term": "boots",
        },
    ),
)
INSIDE: Traits = {"channel": "Direct"}
"""What a visit is taken for that goes on after it had ended: its referrer is the site itself."""
PAGES = (("/", "/"), ("/user/20481234", "/user/:number"), *((f"/page/{n}", f"/page/{n}") for n in range(60)))
GAPS = (*(1, 1, 1, 2, 2, 3, 4, 6, 9, 15), 29, 30, 31, 45, 120)
"""Minutes between two requests; 30 of them end a visit, to the second."""


def people(count: int) -> list[Visitor]:
    """Distinct visitors. Two live behind each address, so that only their agents tell them apart."""
    found = []
    for number in range(count):
        household = number // 2
        country, v4, v6 = COUNTRIES[household % len(COUNTRIES)]
        high, low = divmod(household, 200)
        addresses = [f"{v4}.{high}.{low + 1}", f"::ffff:{v4}.{high}.{low + 1}"]
        if household % 5 == 0:  # one network, many addresses in it
            addresses = [f"{v6}:{household:x}:7::{n:x}" for n in range(1, 9)]
        agent, browser, browser_version, os, os_version, device = AGENTS[number % len(AGENTS)]
        direct = number % 4 == 1
        header, language = LANGUAGES[number % 3 if direct else 3]
        width, screen = SCREENS[number // 3 % len(SCREENS)]
        traits = {
            "country": country,
            "browser": browser,
            "browser_version": browser_version,
            "os": os,
            "os_version": os_version,
            "device": device,
            "language": language,
            "screen": screen,
        }
        found.append(
            Visitor(
                number=number,
                addresses=addresses,
                agent=agent,
                traits=traits,
                language=header,
                screen=width,
                direct=direct,
            )
        )
    return found


def others(first: int) -> list[Visitor]:
    """Programs, and people who do not want to be counted."""
    bots = [
        Visitor(
            number=first + n,
            addresses=[f"28.9.0.{n}"],
            agent=BOTS[n % 3][0],
            traits={},
            direct=n % 2 == 0,
            ignored=BOTS[n % 3][1],
        )
        for n in range(15)
    ]
    refusers = [
        Visitor(
            number=first + 100 + n,
            addresses=[f"28.9.1.{n}"],
            agent=AGENTS[0][0],
            traits={},
            direct=n % 2 == 0,
            ignored="gpc",
        )
        for n in range(10)
    ]
    return bots + refusers


class Crowd:
    """What everybody does on `sites` between `start` and `minutes` later: the same for the same seed."""

    def __init__(
        self, sites: Sequence[tuple[str, int, int]], start: datetime, minutes: int, seed: int
    ) -> None:
        """`sites`: domain, share of the visitors, and the minute around which many of them come."""
        self._sites = sites
        self._minutes = minutes
        self._random = random.Random(seed)
        # Everything of one minute has the same second, and each tenth minute is whole, so that some gaps are
        # exactly as long as a visit may be idle.
        self._at = [
            start + timedelta(minutes=n, seconds=0 if n % 10 == 0 else self._random.randrange(60))
            for n in range(minutes)
        ]

    def sends(self, visitors: Sequence[Visitor], events: int) -> list[Sent]:
        """Exactly so many events, at least one of each visitor, in the order of their time."""
        domains, shares, _ = zip(*self._sites, strict=True)
        each: dict[int, list[Sent]] = {visitor.number: [] for visitor in visitors}
        while sum(map(len, each.values())) < events:
            for visitor in visitors:
                site = visitor.number * 7919 % 100  # most of them always on the same site
                chosen = (
                    next(d for d, upto in zip(domains, _running(shares), strict=True) if site < upto)
                    if self._random.random() < 0.95
                    else self._random.choice(domains)
                )
                if not each[visitor.number] or sum(map(len, each.values())) < events:
                    self._browse(visitor, chosen, each[visitor.number])
        found = [event for sent in each.values() for event in sent]
        surplus = [event for sent in each.values() for event in sent[1:]]
        for event in self._random.sample(surplus, len(found) - events):
            found.remove(event)
        return sorted(found, key=lambda event: event.at)

    def _browse(self, visitor: Visitor, site: str, sent: list[Sent]) -> None:
        """One coming of the visitor, with breaks that may be long; not in a minute in which it sent already."""
        busy = {event.at for event in sent}
        middle = next(middle for domain, _, middle in self._sites if domain == site)
        minute = self._random.randrange(self._minutes)
        if self._random.random() < 0.5:
            minute = max(0, min(self._minutes - 1, middle + self._random.randrange(-40, 20)))
        referrer, query, arrival = self._random.choice(ARRIVALS)
        pages: list[tuple[str, str, str]] = []
        for _ in range(self._random.choice((1, 1, 2, 3, 5, 8))):
            if minute >= self._minutes:
                return
            if self._at[minute] not in busy:
                sent.extend(self._request(visitor, site, self._at[minute], (referrer, query, arrival), pages))
                referrer, query, arrival = f"https://{site}/page/1", "", INSIDE
            minute += self._random.choice(GAPS)

    def _request(
        self,
        visitor: Visitor,
        site: str,
        at: datetime,
        arrival: tuple[str, str, Traits],
        pages: list[tuple[str, str, str]],
    ) -> Iterator[Sent]:
        """What the visitor sends at one moment: perhaps about the page before, then about the next one."""
        referrer, query, traits = arrival
        if pages and self._random.random() < 0.5:
            host, url, page = pages[-1] if self._random.random() < 0.9 else self._random.choice(pages)
            scroll = self._random.choice((None, *range(5, 101, 5)))
            yield Sent(
                at=at,
                site=site,
                visitor=visitor,
                name="engagement",
                host=host,
                page=page,
                url=url,
                scroll=scroll,
            )
            if self._random.random() < 0.2:
                return
        host = self._random.choice((site, site, site, f"www.{site}", f"shop.{site}"))
        path, page = self._random.choice(PAGES)
        url = f"https://{host}{path}"
        sent = Sent(
            at=at,
            site=site,
            visitor=visitor,
            name="pageview",
            host=host,
            page=page,
            url=url + query,
            referrer=referrer,
            arrival=traits,
        )
        pages.append((host, url, page))
        kind = self._random.random()
        if kind < 0.75:
            yield sent
        if kind > 0.95:
            yield _changed(sent, name="Signup", props={"plan": self._random.choice(("free", "pro", ""))})
        elif kind > 0.85:
            yield _changed(sent, name="Read on", interactive=False)
        elif kind > 0.72:
            link = self._random.choice(("https://one.example/", "https://two.example/way"))
            yield _changed(sent, name="Outbound Link: Click", props={"url": link})


def _changed(sent: Sent, **fields: Any) -> Sent:
    """The custom event of this page; of its properties, an empty one and one without a name are not kept."""
    given = {**sent.__dict__, **fields}
    kept = {name: value for name, value in given["props"].items() if value}
    return Sent(**{**given, "props": kept, "other_props": {"shoe size": "43"}})


def by_minute(sent: Sequence[Sent]) -> dict[datetime, list[Sent]]:
    """The events of each moment, in order."""
    found: dict[datetime, list[Sent]] = defaultdict(list)
    for event in sent:
        found[event.at].append(event)
    return found


def _running(shares: Sequence[int]) -> list[int]:
    return [sum(shares[: n + 1]) for n in range(len(shares))]
