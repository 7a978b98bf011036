"""What the vendor may do with a license, by its standing: a table, and all that is not in it is refused.

Revoked is final: only what frees, shows or erases is left then, and that needs no row here.
"""

from __future__ import annotations

from enum import StrEnum

from headcount import errors
from headcount.licensed import Standing


class Act(StrEnum):
    """What is done, as its participle."""

    SUSPEND = "suspended"
    REINSTATE = "reinstated"
    REVOKE = "revoked"
    RENEW = "renewed"
    SET = "changed"
    TRANSFER = "transferred"
    WRITE_FILE = "put into a license file"


ACTIVE, SUSPENDED, REVOKED = Standing.ACTIVE, Standing.SUSPENDED, Standing.REVOKED
NEXT = {
    (ACTIVE, Act.SUSPEND): SUSPENDED,
    (ACTIVE, Act.REVOKE): REVOKED,
    (ACTIVE, Act.RENEW): ACTIVE,
    (ACTIVE, Act.SET): ACTIVE,
    (ACTIVE, Act.TRANSFER): ACTIVE,
    (ACTIVE, Act.WRITE_FILE): ACTIVE,
    (SUSPENDED, Act.REINSTATE): ACTIVE,
    (SUSPENDED, Act.REVOKE): REVOKED,
    (SUSPENDED, Act.RENEW): SUSPENDED,
    (SUSPENDED, Act.SET): SUSPENDED,
    (SUSPENDED, Act.TRANSFER): SUSPENDED,
}


def after(standing: Standing, act: Act) -> Standing:
    """The standing that follows. Raises Conflict."""
    found = NEXT.get((standing, act))
    if found is None and standing == act.value:
        raise errors.Conflict("status", f"the license is {standing} already")
    if found is None:
        raise errors.Conflict("status", f"a license that is {standing} cannot be {act}")
    return found


def before(act: Act) -> list[Standing]:
    """The standings in which it may be done."""
    return [standing for standing, possible in NEXT if possible is act]
