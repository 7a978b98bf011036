"""The one door: a client's address and user agent end here.

A `Client` exists only inside one request, between the socket and `reduce` (or `whereabouts`, for a license
check). Nothing else looks into one, and it cannot be printed or stored. What comes out holds neither.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import NamedTuple, NoReturn

from headcount import errors, localtime
from headcount.licensed import UTC_ZONE
from headcount.model import Dropped, Hit, Ignored, Site
from headcount.privacy import address, agents, bots, channels, scrub, sources, traits, url
from headcount.wire.event import MAX_PROP_VALUE, Event

KEY_LIFE = 600_000
"""Milliseconds after which the key of the look-up cache is renewed and the cache forgotten."""

BUILT_IN_PROPS = {
    "Outbound Link: Click": "url",
    "File Download": "url",
    "Cloaked Link: Click": "url",
    "404": "path",
    "Form: Submission": "path",
    "WP Form Completions": "path",
}
"""The one property that each of Plausible's built-in events carries; it is kept without being named."""


LEFT_BY_PROXIES = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)


class Client:
    """Whom an event came from. Hand it to `reduce`; the limiter may have its `key`."""

    __slots__ = ("_address", "_headers", "_user_agent")

    def __init__(self, address: address.Address | None, user_agent: str, headers: Mapping[str, str]) -> None:
        self._address = address
        self._user_agent = user_agent
        self._headers = headers

    def __repr__(self) -> str:
        return "Client(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be stored")

    def key(self) -> bytes:
        """The network of the address, for a keyed digest and for nothing else."""
        return address.network_bytes(self._address) if self._address is not None else b""

    def is_this_machine(self) -> bool:
        """Whether it came from the machine that we run on, and not through a proxy there."""
        local = self._address is not None and self._address.is_loopback
        return local and not any(name in self._headers for name in LEFT_BY_PROXIES)

    def speaking_for(self, event: Event) -> Client:
        """The visitor that a trusted server's event names by `ip` and `user_agent`, else the sender."""
        if event.ip is None and event.user_agent is None:
            return self
        visitor = address.parse(event.ip) if event.ip is not None else self._address
        if visitor is None:
            raise errors.BadInput("ip", "must be an IPv4 or IPv6 address")
        # The other headers are the server's own, not the visitor's; a refusal is passed on by hand.
        refusal = {name: "1" for name in ("Sec-GPC", "DNT") if self._headers.get(name) == "1"}
        return Client(visitor, self._user_agent if event.user_agent is None else event.user_agent, refusal)


class Agents:
    """Look-up cache of user agents, keyed by a digest under a random key that lives 10 minutes."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._until = 0
        self._key = b""
        self._known: OrderedDict[bytes, tuple[agents.Agent, Ignored | None]] = OrderedDict()

    def look_up(self, user_agent: str, now: int) -> tuple[agents.Agent, Ignored | None]:
        """What the agent is, and its class if it is a bot. `now` in milliseconds."""
        if now >= self._until or now < self._until - KEY_LIFE:
            self._key, self._until = secrets.token_bytes(32), now + KEY_LIFE
            self._known.clear()
        # Header bytes that are no UTF-8 arrive as lone surrogates.
        digest = blake2b(user_agent.encode(errors="surrogateescape"), digest_size=16, key=self._key).digest()
        found = self._known.get(digest)
        if found is None:
            found = agents.describe(user_agent), bots.bot_class(user_agent, {})
            self._known[digest] = found
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the door asks: the country of an address, the key of a day, what an agent is."""

    country: Callable[[address.Address], str]
    day_key: Callable[[str, date], bytes]
    agents: Agents


def warm_up() -> None:
    """Load what the first event would otherwise wait for: half a second of patterns and lists."""
    agents.describe("Mozilla/5.0")
    bots.bot_class("Mozilla/5.0", {})
    sources.classify("https://example.com/", lambda _: False)


def reduce(event: Event, client: Client, site: Site, at: int, lookups: Lookups) -> Hit | Dropped:
    """The event without its client: a Hit, or why it is not counted. `at`: milliseconds since 1970.

    Raises BadInput if the URL is none, WrongHostname if it is not one of the site's.
    """
    zone = site.zone_at(datetime.fromtimestamp(at / 1000, UTC))
    day, hour = localtime.local_hour(zone, at)
    page = url.read_url(
        event.url, hash_routing=event.hash_mode, query_params=site.query_params, fold_digits=site.fold_digits
    )
    if not url.host_allowed(page.hostname, site.domain, site.hostnames):
        raise errors.WrongHostname("url", "its hostname is not one of the site's: see `hostnames`")
    agent, bot = lookups.agents.look_up(client._user_agent, at)
    reason = _ignored(client, site, bot)
    if reason is not None:
        return Dropped(site.id, day, reason)
    return Hit(
        site=site.id,
        zone=zone,
        day=day,
        hour=hour,
        at=at,
        token=_token(lookups.day_key(zone, day), site.id, client),
        name=scrub.scrub(event.name, site.fold_digits) or "(empty)",
        hostname=page.hostname,
        page=page.page,
        attributes=_attributes(event, client, site, page, agent, lookups),
        props=_props(event, site, page),
        interactive=event.interactive,
        scroll=event.scroll,
    )


class Whereabouts(NamedTuple):
    """What is kept of where a check came from."""

    country: str
    network: int
    """64 bits for the network, on this day and for this license; nothing without the day's key. 0: not known."""


def whereabouts(client: Client, license: int, day: date, lookups: Lookups) -> Whereabouts:
    """Where a license check came from, without its address. `day`: of UTC."""
    if client._address is None:
        return Whereabouts("", 0)
    salt = blake2b(license.to_bytes(8, "big"), digest_size=32, key=lookups.day_key(UTC_ZONE, day)).digest()
    digest = blake2b(address.site_bytes(client._address), digest_size=8, key=salt).digest()
    return Whereabouts(lookups.country(client._address), int.from_bytes(digest, "big", signed=True))


def _token(day_key: bytes, site: int, client: Client) -> int:
    """64 bits for a visitor of one site on one day; nothing without the day's key."""
    salt = blake2b(site.to_bytes(8, "big"), digest_size=32, key=day_key).digest()
    digest = blake2b(
        client.key() + b"\0" + client._user_agent.encode(errors="surrogateescape"), digest_size=8, key=salt
    ).digest()
    return int.from_bytes(digest, "big", signed=True)


def _ignored(client: Client, site: Site, bot: Ignored | None) -> Ignored | None:
    headers = client._headers
    if bots.is_prefetch(headers):
        return Ignored.PREFETCH
    bot = bot or (bots.bot_class(client._user_agent, headers) if "From" in headers else None)
    if bot is not None:
        return bot
    refuses = headers.get("Sec-GPC") == "1" or headers.get("DNT") == "1"
    return Ignored.GPC if refuses and site.gpc else None


def _attributes(
    event: Event, client: Client, site: Site, page: url.Page, agent: agents.Agent, lookups: Lookups
) -> tuple[str, ...]:
    """One value for each of model.VISIT_DIMENSIONS, in that order."""
    came_from = sources.classify(
        event.referrer,
        lambda host: url.host_allowed(host, site.domain, site.hostnames),
        fold_digits=site.fold_digits,
    )
    tags = page.tags
    tagged = tags.get("utm_source", "")
    return (
        sources.name_of_tag(tagged) if tagged else came_from.name,
        came_from.referrer,
        channels.channel(came_from, tags),
        tagged,
        tags.get("utm_medium", ""),
        tags.get("utm_campaign", ""),
        tags.get("utm_content", ""),
        tags.get("utm_term", ""),
        lookups.country(client._address) if client._address is not None else "",
        agent.device,
        agent.browser,
        agent.browser_version,
        agent.os,
        agent.os_version,
        traits.screen_class(event.screen_width),
        traits.primary_language(client._headers.get("Accept-Language", "")),
    )


def _props(event: Event, site: Site, page: url.Page) -> tuple[tuple[str, str], ...]:
    own = BUILT_IN_PROPS.get(event.name)
    given = event.props
    if own == "path" and "path" not in given:
        given = {**given, "path": page.page}
    kept = sorted(name for name in given if name in site.props or name == own)
    return tuple((name, _prop(given[name], name == own == "url", site)) for name in kept)


def _prop(value: str, is_url: bool, site: Site) -> str:
    if is_url:
        value = value.partition("?")[0].partition("#")[0]
    # Scrubbing can lengthen a text, and an index row of Postgres has room for 2,700 bytes.
    return url.cut(scrub.scrub(value, site.fold_digits), MAX_PROP_VALUE)
