"""The nouns of licensing: products, plans, licenses, instances, and the heartbeat as the spool holds it.

Nothing here may carry a license key, the id of an install, or an address: see `licensing/keys.py` and
`privacy/door.py`.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

import msgspec

PRODUCTION = "production"
"""The environment that is meant when none is named; it always needs a seat."""

UTC_ZONE = "Etc/UTC"
"""Licenses are counted by the day of UTC."""

DAY = 86_400
"""Seconds."""


class Standing(StrEnum):
    """What the vendor has made of a license."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Status(StrEnum):
    """What a check is answered."""

    ACTIVE = "active"
    GRACE = "grace"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    OVER_SEATS = "over_seats"
    UNKNOWN = "unknown"
    WRONG_PRODUCT = "wrong_product"


class Use(StrEnum):
    """What a key may sign; a signature of one use is none of the other."""

    CHECK = "check"
    FILE = "file"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """One of a product's keys, certified by its root key."""

    kid: str
    use: Use
    public: bytes
    private: bytes
    """Encrypted under HEADCOUNT_SECRET_KEY."""
    not_before: int
    not_after: int | None
    """Unix seconds; None: it is in use."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer has bought, and how often an install asks. Durations in seconds."""

    id: int
    name: str
    seats: int | None = None
    """None: no limit."""
    entitlements: dict[str, bool | int | str] = {}
    check_interval: int = DAY
    lease: int = 14 * DAY
    """An install that is silent for longer frees its seat."""
    grace: int = 14 * DAY
    """How long software goes on without an answer, and past the end of a license."""
    environments: tuple[str, ...] = ("staging", "development", "test", "ci")
    """Environments whose installs need no seat and are not counted."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version that installs may be told about."""

    version: str
    channel: str = "stable"
    url: str = ""
    notes: str = ""
    security: bool = False
    minimum: str = ""
    """The oldest version that can be updated to it directly; empty: any."""
    plans: tuple[str, ...] = ()
    """Plans it is for; empty: all."""


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product with what a worker needs to answer for it."""

    id: int
    name: str
    root: bytes
    """The public root key, which clients carry."""
    key_set: str
    """The signed list of the keys below: a compact JWS."""
    keys: tuple[SigningKey, ...] = ()
    plans: tuple[Plan, ...] = ()
    releases: tuple[Release, ...] = ()

    def plan(self, id: int) -> Plan | None:
        return next((plan for plan in self.plans if plan.id == id), None)

    def key(self, use: Use) -> SigningKey:
        """The key that signs now; there is one for each use."""
        return next(key for key in self.keys if key.use is use and key.not_after is None)


class License(msgspec.Struct, frozen=True, kw_only=True):
    """A license as a check needs it: no key, and nothing about the customer."""

    id: int
    product: int
    digest: bytes
    """SHA-256 of the key."""
    plan: int
    standing: Standing
    seats: int | None
    """In place of the plan's; None: as the plan."""
    expires_at: int | None
    """Unix seconds; None: never."""
    used: int
    """Seats that are taken."""


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """What an install says of itself, reduced to known words."""

    version: str
    environment: str
    os: str
    arch: str


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """One answered check as the spool holds it."""

    product: int
    license: int
    """0: an unknown key, or one of another product."""
    instance: bytes
    at: int
    """Milliseconds since 1970. Ends at the rollup: rows carry the minute."""
    day: date
    """Day of UTC."""
    version: str
    country: str
    environment: str
    os: str
    arch: str
    status: str
    chain: int = 0
    generation: int = 0
    random: int = 0
    """The token it brought: see `licensing/tokens.py`. 0: none."""
    network: int = 0
    """64 bits for the network it came from, on this day and for this license; ends in a sketch."""


class HeartbeatRow(msgspec.Struct, frozen=True, array_like=True):
    """A heartbeat on its way to Postgres."""

    product: int
    license: int
    instance: bytes
    minute: int
    """Unix seconds, cut to the minute."""
    day: date
    version: str
    country: str
    environment: str
    os: str
    arch: str
    status: str
    chain: int
    generation: int
    random: int


class SharingRow(msgspec.Struct, frozen=True, array_like=True):
    """What to add to a license's distinct instances, networks and countries of a day."""

    product: int
    license: int
    day: date
    instances: int
    networks: int
    countries: int


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One install as the vendor sees it."""

    license: int
    digest: bytes
    seat: bool
    state: str
    first_seen: datetime
    last_seen: datetime
    version: str
    country: str
    environment: str
    os: str
    arch: str
    status: str
    forks: int
    """How often two installs turned out to share this identity."""
    offline_until: datetime | None
    """Until when a license file keeps its seat; None: it has none."""
