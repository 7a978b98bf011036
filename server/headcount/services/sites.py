"""Sites and tokens: what owners and operators change. Everything a site has goes when the site goes."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from headcount import errors, localtime
from headcount.clock import Clock
from headcount.model import Scope, Settings, Site, Token
from headcount.store.postgres import LONG, Database
from headcount.wire import check, fields
from headcount.wire import site as site_fields

if TYPE_CHECKING:
    from headcount.store.postgres import Connection

TOKEN_PREFIX = "hct_"  # noqa: S105 - marks our tokens, for those who search for leaked ones


def new_id() -> int:
    """A random identity: 63 bits, so that it is a positive bigint."""
    return secrets.randbits(63) or 1


def digest(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


class Sites:
    """Adds, changes and removes sites and tokens. Every method raises DatabaseDown without Postgres."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def settings(self) -> Settings:
        """All sites and tokens, as the local copy holds them."""
        tokens = await self._database.rows("list_tokens")
        return Settings(await self.all(), [_token(row) for row in tokens])

    async def all(self) -> list[Site]:
        """The sites by name, with the time zone that holds now."""
        now = self._clock.now()
        return [_settled(_site(row), now) for row in await self._database.rows("list_sites")]

    async def find(self, domain: str) -> Site:
        """The site of this domain, with or without `www.`. Raises NotFound."""
        wanted = site_fields.plain_domain(domain)
        for site in await self.all():
            if site.domain == wanted:
                return site
        raise _no_site(domain)

    async def add(self, fields: site_fields.Fields) -> Site:
        """A new site. Raises BadInput and Conflict."""
        if fields.domain is msgspec.UNSET:
            raise errors.BadInput("domain", "is required")
        site = site_fields.merge(
            Site(id=new_id(), domain=fields.domain, timezone="Etc/UTC", created_at=self._clock.now()), fields
        )
        async with self._database.transaction() as connection:
            added = await self._database.change(
                connection,
                "add_site",
                site.id,
                site.domain,
                site.timezone,
                site.hostnames,
                site.query_params,
                site.props,
                site.retention_days,
                site.gpc,
                site.fold_digits,
                site.created_at,
            )
            if not added:
                raise errors.Conflict("domain", f"the site {site.domain} exists already")
        return site

    async def set(self, domain: str, fields: site_fields.Fields) -> Site:
        """Change the fields that are given. A new time zone takes effect at the old one's next midnight."""
        old = await self.find(domain)
        new = msgspec.structs.replace(site_fields.merge(old, fields), timezone=old.timezone)
        if fields.timezone is not msgspec.UNSET:
            new = _with_zone(new, fields.timezone, self._clock.now())
        try:
            async with self._database.transaction() as connection:
                changed = await self._database.change(
                    connection,
                    "set_site",
                    new.id,
                    new.domain,
                    new.timezone,
                    new.next_timezone,
                    new.timezone_from,
                    new.hostnames,
                    new.query_params,
                    new.props,
                    new.retention_days,
                    new.gpc,
                    new.fold_digits,
                )
                if not changed:
                    raise _no_site(domain)
        except errors.Conflict:
            raise errors.Conflict("domain", f"the site {new.domain} exists already") from None
        return new

    async def reset(self, domain: str) -> Site:
        """Forget everything that was counted; the settings and tokens stay."""
        old = await self.find(domain)
        new = msgspec.structs.replace(old, id=new_id())
        async with self._database.transaction() as connection:
            if not await self._database.change(connection, "renumber_site", old.id, new.id):
                raise _no_site(domain)
            await self._delete_rows(connection, old.id)
        return new

    async def delete(self, domain: str) -> None:
        """Remove the site, its tokens, and every row of it."""
        site = await self.find(domain)
        async with self._database.transaction() as connection:
            if not await self._database.change(connection, "delete_site", site.id):
                raise _no_site(domain)
            await self._delete_rows(connection, site.id)

    async def add_token(
        self, domain: str | None, scopes: tuple[Scope, ...], product: str | None = None
    ) -> tuple[str, Token]:
        """A new token, for one site, one product or all: its text, which is never shown again, and what is kept."""
        _check_scopes(domain, product, scopes)
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = Token(
            id=new_id(),
            digest=digest(text),
            site_id=await self._site_of(domain),
            product_id=await self._product_of(product),
            scopes=scopes,
        )
        async with self._database.transaction() as connection:
            await self._database.change(
                connection,
                "add_token",
                token.id,
                token.digest,
                token.site_id,
                token.product_id,
                token.scopes,
                self._clock.now(),
            )
        return text, token

    async def names(self) -> dict[int, str]:
        """What the sites and products are called that tokens are for, by their ids."""
        return {row["id"]: row["name"] for row in await self._database.rows("token_names")}

    async def tokens(self) -> list[Token]:
        return (await self.settings()).tokens

    async def delete_token(self, id: int) -> None:
        """Revoke a token. Raises NotFound."""
        if not 0 < id < 1 << 63 or not await self._database.execute("delete_token", id):
            raise errors.NotFound("token", "there is no such token")

    async def _site_of(self, domain: str | None) -> int | None:
        try:
            return None if domain is None else (await self.find(domain)).id
        except errors.NotFound as error:
            raise errors.NotFound("site", error.message) from None

    async def _product_of(self, name: str | None) -> int | None:
        if name is None:
            return None
        row = await self._database.row("find_product", name) if check.PRODUCT.fullmatch(name) else None
        if row is None:
            raise errors.NotFound("product", f"there is no product {fields.quoted(name)}")
        return int(row["id"])

    async def _delete_rows(self, connection: Connection, site: int) -> None:
        for what in ("counters", "months", "hours", "dropped", "hits", "visits", "purges", "audits"):
            await self._database.change(connection, f"delete_site_{what}", site, seconds=LONG)


def _check_scopes(site: str | None, product: str | None, scopes: tuple[Scope, ...]) -> None:
    """Refuse scopes that do not fit to what the token is for. Raises BadInput."""
    if not scopes:
        raise errors.BadInput("scopes", f"must name at least one of {', '.join(Scope)}")
    if site is not None and product is not None:
        raise errors.BadInput(
            "product", "and site cannot be given together: a token is for one of them, or for all"
        )
    if Scope.SITES_WRITE in scopes and (site is not None or product is not None):
        raise errors.BadInput("scopes", "sites:write is for all sites: leave site and product out")
    if Scope.EVENTS_WRITE in scopes and product is not None:
        raise errors.BadInput("scopes", "events:write is for sites: leave the product out")
    if Scope.LICENSES_WRITE in scopes and site is not None:
        raise errors.BadInput("scopes", "licenses:write is for products: leave the site out")


def _with_zone(site: Site, wanted: str, now: datetime) -> Site:
    """A change of time zone is put off to the end of the current local day; the current one cancels it."""
    current = site.zone_at(now)
    if wanted == current:
        return msgspec.structs.replace(site, timezone=current, next_timezone=None, timezone_from=None)
    midnight = localtime.day_end(current, localtime.today(current, now))
    return msgspec.structs.replace(site, timezone=current, next_timezone=wanted, timezone_from=midnight)


def _settled(site: Site, now: datetime) -> Site:
    """The site without a change of time zone that has taken effect."""
    if site.timezone_from is None or now < site.timezone_from:
        return site
    return msgspec.structs.replace(site, timezone=site.zone_at(now), next_timezone=None, timezone_from=None)


def _no_site(domain: str) -> errors.NotFound:
    return errors.NotFound("domain", f"there is no site {domain[:253]}")


def _site(row: asyncpg.Record) -> Site:
    return msgspec.convert(dict(row), Site)


def _token(row: asyncpg.Record) -> Token:
    return Token(
        id=row["id"],
        digest=row["digest"],
        site_id=row["site_id"],
        product_id=row["product_id"],
        scopes=tuple(map(Scope, row["scopes"])),
    )
