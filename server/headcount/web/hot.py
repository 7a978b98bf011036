"""The two routes that are asked all day, whichever way a request comes: through aiohttp or through the edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from multidict import MultiMapping

from headcount import errors
from headcount.config import Config
from headcount.licensing import keys as license_keys
from headcount.model import Ignored, Scope, Token
from headcount.privacy import address, door
from headcount.privacy.address import Address
from headcount.services.checks import Checks
from headcount.services.collector import Collector, reason_of
from headcount.services.limiter import Limiter
from headcount.store.settings import SettingsFile
from headcount.web import answers
from headcount.web.answers import Answer
from headcount.web.bearer import token_of
from headcount.wire import check as question_wire
from headcount.wire import event as event_wire

Headers = MultiMapping[str]


class Hot:
    """`POST /api/event` and `POST /api/license/check`, from headers and body to the answer."""

    def __init__(
        self, config: Config, settings: SettingsFile, collector: Collector, checks: Checks, limiter: Limiter
    ) -> None:
        self._config = config
        self._settings = settings
        self._collector = collector
        self._checks = checks
        self._limiter = limiter

    async def event(self, client: door.Client, headers: Headers, body: bytes) -> Answer:
        """One event or an array of them. 202 is sent when they are on the disk."""
        try:
            token = self.admit(client, headers)
            parsed = event_wire.parse(body)
        except errors.HeadcountError as error:
            self._collector.refuse(reason_of(error))
            raise
        events = parsed if isinstance(parsed, list) else [parsed]
        try:
            ignored = await self._collector.collect(events, client, token)
        except errors.BadInput as error:
            raise (error.at(error.index or 0) if isinstance(parsed, list) else error) from None
        return Answer(b"ok", 202, answers.TEXT, tuple(ignored_headers(ignored).items()))

    async def check(self, client: door.Client, body: bytes) -> Answer:
        """The signed answer to a check, which is also the heartbeat."""
        try:
            question = self.question(client, body)
            if question.unknown:
                self._collector.refuse(Ignored.LICENSE_FIELD, count=question.unknown)
            return answers.of(await self._checks.check(question, client))
        except errors.TooManyRequests:
            self._collector.refuse(Ignored.LICENSE_RATE_LIMIT)
            raise
        except errors.BadInput:
            self._collector.refuse(Ignored.LICENSE_INVALID)
            raise
        except errors.ServiceBusy:
            # What is counted here is spooled soon: so a spool that could not be written is tried again.
            self._collector.refuse(Ignored.LICENSE_BUSY)
            raise

    def client_of(self, request: web.Request) -> door.Client:
        """Whose request it is, for what goes through aiohttp."""
        return self.client(address.parse(request.remote or ""), request.headers)

    def client(self, peer: Address | None, headers: Headers) -> door.Client:
        """Whose request it is, for the door."""
        found = address.client_address(
            peer, headers.getall(self._config.address_header, []), self._config.trusted_proxies
        )
        return door.Client(found, headers.get("User-Agent", "")[: event_wire.MAX_AGENT], headers)

    def admit(self, client: door.Client, headers: Headers) -> Token | None:
        """The token, if there is one; raises TooManyRequests. A token has a bucket of its own."""
        token = token_of(headers, self._settings)
        if token is not None and Scope.EVENTS_WRITE not in token.scopes:
            raise errors.NotAllowed("authorization", "the token has no scope events:write")
        self._limiter.check(token.digest if token is not None else client.key())
        return token

    def question(self, client: door.Client, body: bytes, *, nonce: bool = True) -> question_wire.Question:
        """The question of the body. Raises TooManyRequests: a client has a bucket, and so has a key."""
        self._limiter.check(client.key())
        question = question_wire.parse(body, nonce=nonce)
        self._limiter.check(license_keys.digest(question.key))
        return question

    def holder(self, client: door.Client, body: bytes) -> question_wire.Holder:
        """Who holds the key of the body; limited in the same way."""
        self._limiter.check(client.key())
        holder = question_wire.holder(body)
        self._limiter.check(license_keys.digest(holder.key))
        return holder

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is refused before the collector, which counts the rest, has seen it."""
        try:
            yield
        except errors.HeadcountError as error:
            self._collector.refuse(reason_of(error))
            raise


def ignored_headers(ignored: Counter[str]) -> dict[str, str]:
    """How many events were taken and not counted, by reason."""
    if not ignored:
        return {}
    return {
        "X-Headcount-Ignored": ", ".join(f"{reason}={count}" for reason, count in sorted(ignored.items())),
        "x-plausible-dropped": str(ignored.total()),
    }
