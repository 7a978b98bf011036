"""Takes what a browser or server sent through the door and into the spool; says what was not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import date

from headcount import errors, localtime
from headcount.clock import Clock
from headcount.model import NO_SITE, Dropped, Hit, Ignored, Record, Scope, Site, Token
from headcount.privacy import door, url
from headcount.store.figures import Figures
from headcount.store.settings import SettingsFile
from headcount.store.spool import Spool
from headcount.wire.event import Event

MAX_REASONS = 10_000
"""Refusals that wait to be spooled, at most: (site, day, reason) each."""

Refused = Counter[tuple[int, date, str]]


class Collector:
    """The service behind every way in."""

    def __init__(
        self,
        spool: Spool,
        settings: SettingsFile,
        lookups: door.Lookups,
        clock: Clock,
        figures: Figures,
    ) -> None:
        self._spool = spool
        self._settings = settings
        self._lookups = lookups
        self._clock = clock
        self._figures = figures
        self._refused: Refused = Counter()

    async def collect(
        self, events: Sequence[Event], client: door.Client, token: Token | None = None
    ) -> Counter[str]:
        """Keep the events, all or none; how many are not counted, by reason. Returns after the fsync.

        Raises BadInput (with the index of the event if there are several) and SpoolFull.
        """
        self._figures.received += len(events)
        try:
            records = await self._keep_all(events, client, token)
        except errors.HeadcountError as error:
            self._figures.refused[reason_of(error)] += len(events)
            raise
        ignored: Counter[str] = Counter()
        for record in records:
            if isinstance(record, Dropped):
                self._figures.ignored[record.reason] += 1
                ignored[Ignored(record.reason).public] += 1
        self._figures.stored += len(records) - ignored.total()
        return ignored

    async def _keep_all(
        self, events: Sequence[Event], client: door.Client, token: Token | None
    ) -> list[Hit | Dropped]:
        if not self._settings.loaded and not self._settings.refresh():
            self._note(Ignored.BUSY, count=len(events))
            raise errors.ServiceBusy("Headcount is starting and does not know its sites yet")
        at = self._clock.milliseconds()
        records: list[Hit | Dropped] = []
        for index, event in enumerate(events):
            try:
                records += self._reduce(event, client, token, at)
            except errors.BadInput as error:
                raise (error.at(index) if len(events) > 1 else error) from None
        try:
            await self.keep(records)
        except errors.SpoolFull:
            self._put_back([Dropped(record.site, record.day, Ignored.BUSY) for record in records])
            raise
        return records

    async def keep(self, records: Sequence[Record]) -> None:
        """Returns when the records are on the disk, with the refusals that wait. Raises SpoolFull."""
        refused = self._take_refused()
        try:
            await self._spool.append([*records, *refused])
        except errors.SpoolFull:
            self._put_back(refused)
            raise

    def refuse(self, reason: Ignored, count: int = 1) -> None:
        """Count something that was answered with an error before any event was read."""
        self._figures.turned_away(reason, count)
        self._note(reason, count=count)

    def _note(self, reason: Ignored, site: Site | None = None, count: int = 1) -> None:
        """Count it for the site; it is spooled with what comes next."""
        zone = site.zone_at(self._clock.now()) if site is not None else "UTC"
        day = localtime.today(zone, self._clock.now())
        self._put_back([Dropped(site.id if site is not None else NO_SITE, day, reason, count)])

    async def keep_refused(self) -> None:
        """Spool the refusals that nothing else has taken along; once a second."""
        if self._refused:
            with suppress(errors.SpoolFull):
                await self.keep([])

    def _take_refused(self) -> list[Dropped]:
        taken = [Dropped(*key, count) for key, count in self._refused.items()]
        self._refused.clear()
        return taken

    def _put_back(self, dropped: Sequence[Dropped]) -> None:
        for record in dropped:
            key = record.site, record.day, str(record.reason)
            if len(self._refused) < MAX_REASONS or key in self._refused:
                self._refused[key] += record.count

    def _reduce(self, event: Event, client: door.Client, token: Token | None, at: int) -> list[Hit | Dropped]:
        site: Site | None = None
        records: list[Hit | Dropped] = []
        try:
            if token is not None and Scope.EVENTS_WRITE in token.scopes:
                client = client.speaking_for(event)
            for site in self._sites(event, token):
                records.append(door.reduce(event, client, site, at, self._lookups))
        except errors.BadInput as error:
            self._note(reason_of(error), site)
            raise
        return records

    def _sites(self, event: Event, token: Token | None) -> list[Site]:
        sites = []
        for domain in event.domains or (_host_of(event),):
            site = self._settings.site(domain) or self._settings.site(url.without_www(domain))
            if site is None:
                raise errors.UnknownSite("domain")
            if token is not None and token.site_id not in (None, site.id):
                raise errors.NotAllowed("domain", "the token is for another site")
            sites.append(site)
        return sites


def reason_of(error: errors.HeadcountError) -> Ignored:
    """Under which reason a refusal is counted."""
    return next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))


_REASONS = {
    errors.TooLarge: Ignored.TOO_LARGE,
    errors.UnknownSite: Ignored.UNKNOWN_SITE,
    errors.WrongHostname: Ignored.HOSTNAME,
    errors.NotAllowed: Ignored.NOT_ALLOWED,
    errors.TooManyRequests: Ignored.RATE_LIMIT,
    errors.ServiceBusy: Ignored.BUSY,
    errors.HeadcountError: Ignored.INVALID,
}


def _host_of(event: Event) -> str:
    """The hostname that decides when no domain is given."""
    return url.read_url(event.url, hash_routing=False, query_params=(), fold_digits=False).hostname
