"""Everything that a vendor handles, in one piece: for the API and the command line."""

from __future__ import annotations

from headcount.clock import Clock
from headcount.services.idempotency import Idempotency
from headcount.services.instances import Instances
from headcount.services.licenses import Licenses
from headcount.services.offline import Offline
from headcount.services.products import Products
from headcount.store.postgres import Database
from headcount.store.secret import Secret


class Management:
    """The services. `only`: the id of the one product that they may see and change; None: all."""

    def __init__(self, database: Database, clock: Clock, secret: Secret, only: int | None = None) -> None:
        self._database = database
        self._secret = secret
        self.clock = clock
        self.products = Products(database, clock, secret, only)
        self.licenses = Licenses(database, clock, secret, only)
        self.instances = Instances(database, self.products, self.licenses)
        self.offline = Offline(database, self.products, self.licenses, secret, clock)
        self.idempotency = Idempotency(database, clock, secret)

    def limited(self, only: int | None, database: Database | None = None) -> Management:
        """The same for one product, and on this database."""
        return Management(database or self._database, self.clock, self._secret, only)
