"""Every error that Headcount raises on purpose. A class's docstring is the message unless one is given.

    HeadcountError
    ├── BadConfig              the settings cannot be used
    ├── BadInput               the client is wrong; carries the field
    │   ├── TooLarge
    │   ├── UnknownSite
    │   ├── WrongHostname  the page is not one of the site's
    │   ├── NotAllowed         no token, or one without the scope
    │   ├── NotFound
    │   └── Conflict
    ├── TooManyRequests
    ├── FlushRefused           Postgres does not take what a flush holds
    └── ServiceBusy            we are wrong, for now: try again later
        ├── SpoolFull
        └── DatabaseDown

The HTTP status of each is mapped once, in `web/middleware.py`.
"""

from __future__ import annotations


class HeadcountError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class BadConfig(HeadcountError):
    """The configuration cannot be used."""


class BadInput(HeadcountError):
    """The request is not valid."""

    def __init__(self, field: str, message: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.index = index

    def at(self, index: int) -> BadInput:
        """The same error, for the item at this index of an array."""
        return type(self)(self.field, self.message, index)


class TooLarge(BadInput):
    """The request is larger than the limit."""


class UnknownSite(BadInput):
    """No such site here; its owner adds it with `headcount site add`."""


class WrongHostname(BadInput):
    """The page's hostname is not one of the site's."""


class NotAllowed(BadInput):
    """The token is missing or does not have the scope."""


class NotFound(BadInput):
    """There is no such thing."""


class Conflict(BadInput):
    """It exists already."""


class TooManyRequests(HeadcountError):
    """Too many requests: wait, then try again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class FlushRefused(HeadcountError):
    """Postgres does not take what was counted."""


class ServiceBusy(HeadcountError):
    """Headcount cannot answer right now; try again in a few seconds."""


class SpoolFull(ServiceBusy):
    """The spool cannot take more; the event was not accepted."""


class DatabaseDown(ServiceBusy):
    """Postgres does not answer; events are still collected, figures and settings have to wait."""
