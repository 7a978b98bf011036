"""Builds hits and sites with only the telling fields given."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import strategies as st

from headcount import localtime
from headcount.clock import Clock
from headcount.model import VISIT_DIMENSIONS, Hit, Site

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SITE = 7


class Hands(Clock):
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.time = [NOON]

    def now(self) -> datetime:
        return self.time[0]

    def milliseconds(self) -> int:
        return round(self.time[0].timestamp() * 1000)


def ms(second: float = 0) -> int:
    """Milliseconds since 1970, so many seconds after noon."""
    return round((NOON.timestamp() + second) * 1000)


def site(id: int = SITE, domain: str = "example.com", **given: Any) -> Site:
    return Site(**{"id": id, "domain": domain, "timezone": "Etc/UTC", "created_at": NOON, **given})


def attributes(**given: str) -> tuple[str, ...]:
    known = {"country": "LV", "browser": "Firefox", "device": "desktop", "source": "Google", **given}
    return tuple(known.get(name, "") for name in VISIT_DIMENSIONS)


def hit(second: float = 0, token: int = 1, name: str = "pageview", page: str = "/", **given: Any) -> Hit:
    at = ms(second)
    day, hour = localtime.local_hour(given.get("zone", "Etc/UTC"), at)
    fields: dict[str, Any] = {
        "site": SITE,
        "zone": "Etc/UTC",
        "day": day,
        "hour": hour,
        "at": at,
        "token": token,
        "name": name,
        "hostname": "example.com",
        "page": page,
        "attributes": attributes(),
        **given,
    }
    return Hit(**fields)


@st.composite
def hits(draw: st.DrawFn, span: int = 1500, tokens: int = 1) -> Hit:
    """Any hit within so many seconds after noon, of one of so many visitors."""
    name = draw(st.sampled_from(["pageview", "pageview", "engagement", "Signup"]))
    return hit(
        second=draw(st.integers(0, span)),
        token=draw(st.integers(1, tokens)),
        name=name,
        page=draw(st.sampled_from(["/", "/a", "/b", "/c"])),
        interactive=draw(st.booleans()) if name == "Signup" else True,
        scroll=draw(st.integers(0, 100)) if name == "engagement" else None,
        props=(("plan", draw(st.sampled_from(["free", "team"]))),) if name == "Signup" else (),
        attributes=attributes(country=draw(st.sampled_from(["LV", "DE", ""]))),
    )


def today() -> date:
    return NOON.date()
