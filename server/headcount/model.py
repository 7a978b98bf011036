"""The nouns that several parts share: sites, what a spool holds, dimensions, counts.

Nothing here may carry a client's address or user agent: see `privacy/door.py`.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from headcount.licensed import Heartbeat, HeartbeatRow, Product, SharingRow

OTHER = "(other)"
"""Stands for every value past the limit of distinct values a site, day and dimension."""

REDACTED = ":redacted"
"""Stands for a value that the owner had removed."""

NO_SITE = 0
"""The site id under which refusals are counted that belong to no site."""

VISIT_DIMENSIONS = (
    "source",
    "referrer",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "device",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "screen",
    "language",
)
"""What a visit has from its first event on; in this order in `Hit.attributes` and `VisitRow.attributes`."""

EVENT_DIMENSIONS = ("page", "hostname", "name")
"""What each event has of its own; besides, `props:NAME` for each property that the site has named."""


class Ignored(StrEnum):
    """Why something that arrived is not in the counts. Each is counted a site and day.

    What license checks brought is counted without a site.
    """

    BOT_SEARCH = "bot_search_engine"
    BOT_AI = "bot_ai_crawler"
    BOT_MONITOR = "bot_monitor"
    BOT_PREVIEW = "bot_preview"
    BOT_TOOL = "bot_tool"
    BOT_UNKNOWN = "bot_unknown"
    GPC = "gpc"
    PREFETCH = "prefetch"
    NO_VISIT = "engagement_without_visit"
    HOSTNAME = "hostname"
    UNKNOWN_SITE = "unknown_site"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    NOT_ALLOWED = "not_allowed"
    RATE_LIMIT = "rate_limit"
    BUSY = "busy"
    DELETED_SITE = "deleted_site"
    LICENSE_FIELD = "license_unknown_field"
    LICENSE_INVALID = "license_invalid"
    LICENSE_RATE_LIMIT = "license_rate_limit"
    LICENSE_BUSY = "license_busy"
    LATE = "past_retention"

    @property
    def public(self) -> str:
        """The word in `X-Headcount-Ignored`: every class of bot is `bot` there."""
        return "bot" if self.value.startswith("bot_") else self.value


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site and its settings, as the owner sets them."""

    id: int
    """Random; a reset gives a new one, so that nothing late can reach the new counts."""
    domain: str
    timezone: str
    next_timezone: str | None = None
    timezone_from: datetime | None = None
    """From this moment on (a midnight of `timezone`), `next_timezone` holds."""
    hostnames: tuple[str, ...] = ()
    """Allowed hostnames; empty: the domain and its subdomains. `*.example.com` allows subdomains."""
    query_params: tuple[str, ...] = ()
    """Query parameters that stay part of the page."""
    props: tuple[str, ...] = ()
    """Names of event properties that are kept."""
    retention_days: int | None = None
    """Days that raw rows live, today included; None: as the server."""
    gpc: bool = True
    """Honour `Sec-GPC: 1` and `DNT: 1`."""
    fold_digits: bool = True
    """Turn long digit runs in paths, titles and properties into `:number`."""
    created_at: datetime

    def zone_at(self, moment: datetime) -> str:
        """The name of the time zone that holds for this site at `moment`."""
        if self.next_timezone is not None and self.timezone_from is not None and moment >= self.timezone_from:
            return self.next_timezone
        return self.timezone


class Scope(StrEnum):
    """What a token may do."""

    EVENTS_WRITE = "events:write"
    STATS_READ = "stats:read"
    SITES_WRITE = "sites:write"
    LICENSES_WRITE = "licenses:write"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token as it is kept: without the token."""

    id: int
    digest: bytes
    """SHA-256 of the token's text."""
    site_id: int | None
    """The one site it may act on; None: all."""
    product_id: int | None = None
    """The one product it may act on; None: all."""
    scopes: tuple[Scope, ...]


class Settings(msgspec.Struct, frozen=True):
    """What a worker must know to collect, Postgres or not."""

    sites: list[Site] = []
    tokens: list[Token] = []
    products: list[Product] = []


class Hit(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One event as the spool holds it: everything personal has been reduced already."""

    site: int
    zone: str
    day: date
    """The site's local day, fixed at the door."""
    hour: int
    """Unix seconds at which the local hour began (half-hour zones: at :30 UTC)."""
    at: int
    """Milliseconds since 1970 when it was received. Ends at the rollup: rows carry the minute."""
    token: int
    """64 bits that stand for a visitor on one day; means nothing once the day's key is gone."""
    name: str
    hostname: str
    page: str
    attributes: tuple[str, ...]
    """One value for each of VISIT_DIMENSIONS; empty: not known."""
    props: tuple[tuple[str, str], ...] = ()
    interactive: bool = True
    scroll: int | None = None
    """Percent of the page seen, in an engagement event."""


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Something not counted: its reason alone, and how often."""

    site: int
    day: date
    reason: str
    count: int = 1


Record = Hit | Dropped | Heartbeat


class Counts(NamedTuple):
    """What is added up for one value of one dimension on one day.

    An event-level value (a page, an hour, an event's name) counts the visits that touched it; bounces and
    duration are those of these visits. Seconds for duration, percent for scroll.
    """

    visits: int = 0
    pageviews: int = 0
    events: int = 0
    bounces: int = 0
    duration: int = 0
    scroll: int = 0
    scroll_visits: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*[mine + theirs for mine, theirs in zip(self, other, strict=True)])

    def minus(self, other: Counts) -> Counts:
        return Counts(*[mine - theirs for mine, theirs in zip(self, other, strict=True)])


NOTHING = Counts()


class HitRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A raw event as Postgres keeps it for the raw window."""

    site: int
    day: date
    visit: int
    order: int
    minute: int
    """Unix seconds, cut to the minute."""
    hour: int
    name: str
    hostname: str
    page: str
    props: tuple[tuple[str, str], ...]
    scroll: int | None


class VisitRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A raw visit; sent again, whole, with each change."""

    site: int
    day: date
    visit: int
    minute: int
    attributes: tuple[str, ...]
    entry_page: str
    exit_page: str
    pageviews: int
    events: int
    bounce: bool
    duration: int


class CountRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What to add to one daily counter; `dimension` is empty for the site as a whole."""

    site: int
    day: date
    dimension: str
    value: str
    visitors: int
    counts: tuple[int, ...]


class Flush(msgspec.Struct, frozen=True, array_like=True):
    """What one local transaction adds to Postgres: no tokens, and nothing that has to be replayed."""

    hits: list[HitRow] = []
    visits: list[VisitRow] = []
    counts: list[CountRow] = []
    dropped: list[Dropped] = []
    heartbeats: list[HeartbeatRow] = []
    sharing: list[SharingRow] = []
