"""A made stream of events as the door leaves them: several sites, many visitors, visits of one to six page views."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from headcount import localtime
from headcount.model import VISIT_DIMENSIONS, Hit, Site

SITES = 10
PAGES = 1000
"""Pages of each site; a few of them have most of the views."""
BEGIN = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
_KINDS = {
    "source": ("", *(f"source{n}.example" for n in range(100))),
    "referrer": ("", *(f"source{n}.example/a/path/{n}" for n in range(500))),
    "channel": ("Direct", "Organic Search", "Referral", "Organic Social", "Email", "Paid Search"),
    "utm_source": ("", "", "", "", "", "newsletter", "google", "partner"),
    "utm_medium": ("", "", "", "", "", "email", "cpc"),
    "utm_campaign": ("", "", "", "", "", *(f"campaign-{n}" for n in range(20))),
    "utm_content": ("", "", "", "", "", "", "", "top", "bottom"),
    "utm_term": ("", "", "", "", "", "", "", "", "privacy"),
    "country": tuple(f"{a}{b}" for a in "ABCDEFGH" for b in "KLMNOPQR"),
    "device": ("desktop", "mobile", "tablet"),
    "browser": ("Chrome", "Safari", "Firefox", "Edge", "Samsung Browser", "Opera"),
    "browser_version": tuple(f"Browser {n}" for n in range(40)),
    "os": ("Windows", "Android", "iOS", "Mac", "Linux"),
    "os_version": tuple(f"System {n}" for n in range(25)),
    "screen": ("XL", "L", "M", "S", "XS"),
    "language": tuple(f"{a}{b}" for a in "abcde" for b in "klmn"),
}


_VIEWS = (45, 20, 13, 10, 7, 5)
"""How often a visit has one page view, two, and so on."""


class _Skewed:
    """Draws from a list; the first of it most often (Zipf)."""

    def __init__(self, values: tuple[str, ...]) -> None:
        self._values = values
        self._weights = list(accumulate(1 / place for place in range(1, len(values) + 1)))

    def draw(self, chance: random.Random) -> str:
        return chance.choices(self._values, cum_weights=self._weights)[0]


def sites() -> list[Site]:
    return [
        Site(id=id, domain=f"site{id}.example", timezone="Etc/UTC", props=("plan", "place"), created_at=BEGIN)
        for id in range(1, SITES + 1)
    ]


def hits(visits: int, seconds: float, seed: int = 1, after: float = 0, most_views: int = 6) -> list[Hit]:
    """The events of so many visits that begin within so many seconds, in the order of their time."""
    chance = random.Random(seed)
    kinds = [_Skewed(_KINDS[name]) for name in VISIT_DIMENSIONS]
    pages = _Skewed(tuple(f"/section-{n % 20}/page-{n}" for n in range(PAGES)))
    of_site = list(accumulate(1 / place for place in range(1, SITES + 1)))
    found: list[Hit] = []
    for _ in range(visits):
        (site,) = chance.choices(range(1, SITES + 1), cum_weights=of_site)
        attributes = tuple(kind.draw(chance) for kind in kinds)
        token = chance.getrandbits(64) - (1 << 63)
        at = after + chance.random() * seconds
        (views,) = chance.choices(range(1, most_views + 1), _VIEWS[:most_views])
        found += _visit(chance, site, token, at, attributes, pages, views)
    found.sort(key=lambda hit: hit.at)
    return found


def _visit(
    chance: random.Random,
    site: int,
    token: int,
    at: float,
    attributes: tuple[str, ...],
    pages: _Skewed,
    views: int,
) -> Iterator[Hit]:
    def event(name: str, page: str, **given: Any) -> Hit:
        milliseconds = round((BEGIN.timestamp() + at) * 1000)
        day, hour = localtime.local_hour("Etc/UTC", milliseconds)
        return Hit(
            site=site,
            zone="Etc/UTC",
            day=day,
            hour=hour,
            at=milliseconds,
            token=token,
            name=name,
            hostname=f"site{site}.example",
            page=page,
            attributes=attributes,
            **given,
        )

    for _ in range(views):
        page = pages.draw(chance)
        yield event("pageview", page)
        at += chance.uniform(1, 10)
        if chance.random() < 0.1:
            props = (("plan", chance.choice(("free", "team"))), ("place", f"button {chance.randrange(30)}"))
            yield event("Signup", page, props=props)
        at += chance.uniform(2, 40)
        yield event("engagement", page, scroll=chance.randrange(101))
