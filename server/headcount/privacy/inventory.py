"""Every stored field: where it lives, what it is for, and how long it is kept.

A test compares this with the schema, the spool's records, the state file, and the local copies: a field that
is not listed fails the build, and so does one that is listed and gone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

SITE = "until the site, or what it belongs to, is deleted"
GOOD = "for good, until the site is deleted or reset"
RAW = "30 days at most, less by setting, today included"
NODE = "as long as the node exists"
DRAINED = "seconds: until the rollup has counted it; longer only while that is down"
DAY = "until five minutes after the site's local day has ended"
VISIT = "until the visit ends, at the latest as its day"
OUTBOX = "until Postgres has it, and 15 minutes longer"


class Place(Enum):
    """Where a field lives."""

    POSTGRES = "Postgres"
    SPOOL = "Spool (data directory)"
    STATE = "State file (data directory)"
    LOCAL = "Local copies (data directory)"
    RAM = "RAM disk"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored field."""

    place: Place
    record: str
    """Table, record or file."""
    field: str
    purpose: str
    retention: str

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "place": self.place.value}


def _fields(place: Place, record: str, retention: str, /, **purposes: str) -> list[Entry]:
    return [Entry(place, record, field, purpose, retention) for field, purpose in purposes.items()]


_EVENT = {
    "site": "The site.",
    "day": "Local day of the site.",
    "hour": "When the local hour began.",
    "name": "pageview, engagement, or the name of a custom event.",
    "hostname": "Hostname of the page.",
    "page": "Scrubbed path of the page, with the query parameters the site allows.",
    "props": "Properties that the site has named, scrubbed.",
    "scroll": "Percent of the page seen; engagement events only.",
}
_ATTRIBUTES = "What the visit is counted by: source, country, browser … as in Postgres."

ENTRIES: tuple[Entry, ...] = (
    *_fields(
        Place.POSTGRES,
        "site",
        SITE,
        id="Random identity of the site; a reset gives a new one, so that nothing late reaches the new counts.",
        domain="The name the script tag carries in data-domain.",
        timezone="IANA time zone that fixes the site's days.",
        next_timezone="Time zone that holds from timezone_from on.",
        timezone_from="Midnight of the old time zone at which next_timezone takes effect.",
        hostnames="Hostnames whose events are accepted; empty: the domain and its subdomains.",
        query_params="Query parameters that stay part of the page.",
        props="Names of event properties that are kept.",
        retention_days="Days that raw rows live, today included; null: as the server is set.",
        gpc="Whether Sec-GPC and DNT are honoured.",
        fold_digits="Whether long digit runs in paths, titles and properties become :number.",
        created_at="When the site was added.",
    ),
    *_fields(
        Place.POSTGRES,
        "token",
        SITE,
        id="Random identity, to list and revoke it.",
        digest="SHA-256 of the token (256 random bits), to recognise it.",
        site_id="The one site it may act on; null: all of them.",
        scopes="What it may do: events:write, stats:read, sites:write.",
        created_at="When it was made.",
    ),
    *_fields(
        Place.POSTGRES,
        "counter",
        GOOD,
        site_id="The site.",
        day="Local day of the site.",
        dimension="What is counted by: empty for the site as a whole, page, source, country, props:NAME …",
        value="The value of the dimension; empty where it is not known.",
        visitors="Distinct visitors of the day, estimated by HyperLogLog while the day was open.",
        visits="Visits; for event-level dimensions those that touched the value.",
        pageviews="Page views.",
        events="Page views and custom events.",
        bounces="Visits of one page view and no interactive event.",
        duration="Seconds from first to last event, over these visits.",
        scroll="Sum over visits of the deepest scroll in percent; pages only.",
        scroll_visits="Visits whose scroll is known; pages only.",
    ),
    *_fields(
        Place.POSTGRES,
        "hour",
        GOOD,
        site_id="The site.",
        day="Local day of the site.",
        hour="The moment at which the local hour began.",
        visitors="Distinct visitors in that hour, estimated by HyperLogLog.",
        visits="Visits with an event in that hour.",
        pageviews="Page views in that hour.",
        events="Page views and custom events in that hour.",
        bounces="Those of the visits that bounced.",
        duration="Seconds from first to last event, over these visits.",
    ),
    *_fields(
        Place.POSTGRES,
        "dropped",
        GOOD,
        site_id="The site; 0 for what belongs to none.",
        day="Local day of the site; UTC for site 0.",
        reason="Why: a class of bot, gpc, prefetch, hostname, invalid, rate_limit …",
        count="How often.",
    ),
    *_fields(
        Place.POSTGRES,
        "visit",
        RAW,
        site_id="The site.",
        day="Local day of the site; one partition each.",
        visit="Random number that ties the rows of one visit together.",
        minute="When it began, cut to the minute.",
        source="Common name or registrable domain it came from.",
        referrer="Host and scrubbed path it came from, without query.",
        channel="Acquisition channel.",
        utm_source="Campaign tag utm_source, ref or source of the entry URL.",
        utm_medium="Campaign tag utm_medium of the entry URL.",
        utm_campaign="Campaign tag utm_campaign of the entry URL.",
        utm_content="Campaign tag utm_content of the entry URL.",
        utm_term="Campaign tag utm_term of the entry URL.",
        country="Country of the address, ISO 3166-1 alpha-2; the address itself is never kept.",
        device="Device class: desktop, mobile, tablet, tv, other.",
        browser="Browser name.",
        browser_version="Browser name and major version.",
        os="Operating system name.",
        os_version="Operating system name and major version.",
        screen="Screen class by width: XS, S, M, L, XL.",
        language="Primary language tag.",
        entry_page="First page of the visit.",
        exit_page="Last page of the visit so far.",
        pageviews="Page views.",
        events="Page views and custom events.",
        bounce="One page view and no interactive event.",
        duration="Seconds from first to last event.",
    ),
    *_fields(
        Place.POSTGRES,
        "hit",
        RAW,
        site_id="The site.",
        day="Local day of the site; one partition each.",
        visit="The visit it belongs to.",
        order="Its place within the visit.",
        minute="When, cut to the minute.",
        hour="The moment at which the local hour began.",
        name="pageview, engagement, or the name of a custom event.",
        hostname="Hostname of the page.",
        page="Scrubbed path of the page, with the query parameters the site allows.",
        props="Properties that the site has named, scrubbed.",
        scroll="Percent of the page seen; engagement events only.",
    ),
    *_fields(
        Place.POSTGRES,
        "drain",
        NODE,
        source="Random name of a node's state file.",
        applied="Number of the last flush applied.",
        applied_at="When that was.",
    ),
    *_fields(
        Place.POSTGRES,
        "gap",
        GOOD,
        source="The node.",
        first_missing="First flush that is missing.",
        last_missing="Last flush that is missing.",
        found_at="When it was noticed.",
    ),
    *_fields(
        Place.POSTGRES,
        "purge",
        "400 days",
        id="Random identity.",
        ran_at="When it ran.",
        kind="partition (a whole day dropped) or rows (deleted for one site).",
        site_id="The site whose rows were deleted; null for a partition.",
        before="Raw rows of days before this one are gone.",
        rows="Raw rows removed: hits and visits.",
    ),
    *_fields(
        Place.POSTGRES,
        "redaction",
        "1 day",
        id="Random identity.",
        site_id="The site.",
        dimension="Of which dimension: page (entry and exit pages too), referrer, utm_*, props:NAME …",
        pattern="Which values: * stands for any text.",
        requested_at="When it was asked for.",
    ),
    *_fields(
        Place.POSTGRES,
        "migration",
        "for good",
        name="Name of the file, without its ending.",
        applied_at="When it was applied.",
    ),
    *_fields(
        Place.SPOOL,
        "Hit",
        DRAINED,
        **_EVENT,
        zone="Time zone of the site, which decides the day.",
        at="Millisecond of arrival, to put events in order and measure visits; rows carry the minute.",
        token="Stands for a visitor on one day; pseudonymous until the day's key is destroyed.",  # noqa: S106
        attributes=_ATTRIBUTES,
        interactive="Whether the event keeps a visit from being a bounce.",
    ),
    *_fields(
        Place.SPOOL,
        "Dropped",
        DRAINED,
        site="The site; 0 for what belongs to none.",
        day="Local day of the site.",
        reason="Why it was not counted.",
        count="How often.",
    ),
    *_fields(
        Place.SPOOL,
        "batch",
        DRAINED,
        number="Number of the group commit, which never comes back.",
        last="Millisecond of its last event, to merge spools in order.",
        body="Records: Hit and Dropped.",
    ),
    *_fields(
        Place.SPOOL,
        "lock",
        "as long as the spool exists",
        received="Millisecond up to which everything received is in the spool.",
        drained="Number of the last batch that is safe elsewhere.",
    ),
    *_fields(Place.STATE, "source", NODE, name="Random name of the node.", flush="Number of the last flush."),
    *_fields(
        Place.STATE, "position", NODE, spool="Random name of a spool.", number="Last batch taken of it."
    ),
    *_fields(
        Place.STATE,
        "visit",
        VISIT,
        site="The site.",
        zone="Time zone of the day.",
        day="Local day of the site.",
        token="Stands for a visitor on one day; pseudonymous until the day's key is destroyed.",  # noqa: S106
        body="The record Visit.",
    ),
    *_fields(
        Place.STATE,
        "Visit",
        VISIT,
        site="The site.",
        zone="Time zone of the day.",
        day="Local day of the site.",
        token="Stands for a visitor on one day; pseudonymous until the day's key is destroyed.",  # noqa: S106
        id="Random number that ties the raw rows of the visit together.",
        started="Millisecond of the first event, for the duration.",
        last="Millisecond of the last event, for the duration and the end of the visit.",
        attributes=_ATTRIBUTES,
        entry_page="First page of the visit.",
        exit_page="Last page of the visit so far.",
        pageviews="Page views.",
        events="Page views and custom events.",
        interactive="Interactive custom events, for the bounce.",
        order="How many raw rows it has.",
        touched="Pages, hosts, events, hours and properties it touched, with counts.",
        scroll="Deepest scroll of each page in percent.",
    ),
    *_fields(
        Place.STATE,
        "cell",
        DAY,
        site="The site.",
        zone="Time zone of the day.",
        day="Local day of the site.",
        dimension="What is counted by.",
        value="The value of the dimension.",
        sketch="HyperLogLog of the day's tokens, to count distinct visitors.",
        sent="Visitors already sent to Postgres.",
    ),
    *_fields(
        Place.STATE,
        "outbox",
        OUTBOX,
        number="Number of the flush.",
        body="Rows for Postgres: the records HitRow, VisitRow, CountRow and Dropped.",
        applied_at="When it was applied.",
    ),
    *_fields(
        Place.STATE,
        "HitRow",
        OUTBOX,
        **_EVENT,
        visit="The visit it belongs to.",
        order="Its place within the visit.",
        minute="When, cut to the minute.",
    ),
    *_fields(
        Place.STATE,
        "VisitRow",
        OUTBOX,
        site="The site.",
        day="Local day of the site.",
        visit="Random number that ties the rows of one visit together.",
        minute="When it began, cut to the minute.",
        attributes=_ATTRIBUTES,
        entry_page="First page of the visit.",
        exit_page="Last page of the visit so far.",
        pageviews="Page views.",
        events="Page views and custom events.",
        bounce="One page view and no interactive event.",
        duration="Seconds from first to last event.",
    ),
    *_fields(
        Place.STATE,
        "CountRow",
        OUTBOX,
        site="The site.",
        day="Local day of the site.",
        dimension="What is counted by.",
        value="The value of the dimension.",
        visitors="Visitors to add.",
        counts="What to add: visits, page views, events, bounces, seconds, scroll.",
    ),
    *_fields(Place.STATE, "redacted", NODE, request="Redactions carried out here, by their random number."),
    *_fields(
        Place.LOCAL,
        "Site",
        SITE,
        id="As in Postgres.",
        domain="As in Postgres.",
        timezone="As in Postgres.",
        next_timezone="As in Postgres.",
        timezone_from="As in Postgres.",
        hostnames="As in Postgres.",
        query_params="As in Postgres.",
        props="As in Postgres.",
        retention_days="As in Postgres.",
        gpc="As in Postgres.",
        fold_digits="As in Postgres.",
        created_at="As in Postgres.",
    ),
    *_fields(
        Place.LOCAL,
        "Token",
        SITE,
        id="As in Postgres.",
        digest="As in Postgres.",
        site_id="As in Postgres.",
        scopes="As in Postgres.",
    ),
    *_fields(
        Place.LOCAL,
        "files",
        NODE,
        **{
            "id": "Random name of the data directory.",
            "geoip.mmdb": "A country file put there by the operator; it names no person.",
            "postgres.password": "Password of the own PostgreSQL, for Headcount alone.",
        },
    ),
    *_fields(
        Place.RAM, "day key", DAY, key="32 random bytes a time zone and local day, the salt of the tokens."
    ),
)
"""All of it. What is not here is not stored."""
