"""What may be done with a license, standing by standing."""

from __future__ import annotations

import pytest

from headcount import errors
from headcount.licensed import Standing
from headcount.licensing import transitions
from headcount.licensing.transitions import NEXT, Act

ALL = [(standing, act) for standing in Standing for act in Act]


@pytest.mark.parametrize(("standing", "act"), [pair for pair in ALL if pair in NEXT])
def test_what_is_in_the_table_is_done(standing: Standing, act: Act) -> None:
    assert transitions.after(standing, act) is NEXT[standing, act]
    assert standing in transitions.before(act)


@pytest.mark.parametrize(("standing", "act"), [pair for pair in ALL if pair not in NEXT])
def test_what_is_not_in_the_table_is_refused(standing: Standing, act: Act) -> None:
    with pytest.raises(errors.Conflict, match=standing) as raised:
        transitions.after(standing, act)
    assert raised.value.field == "status"
    assert standing not in transitions.before(act)


@pytest.mark.parametrize("act", Act)
def test_nothing_follows_a_revoked_license(act: Act) -> None:
    with pytest.raises(errors.Conflict):
        transitions.after(Standing.REVOKED, act)


@pytest.mark.parametrize("act", Act)
def test_an_act_leads_to_one_standing_unless_it_keeps_the_old_one(act: Act) -> None:
    ends = {NEXT[standing, act] for standing in transitions.before(act)}
    assert len(ends) == 1 or all(NEXT[standing, act] is standing for standing in transitions.before(act))


def test_what_is_so_already_is_said() -> None:
    with pytest.raises(errors.Conflict, match="the license is suspended already"):
        transitions.after(Standing.SUSPENDED, Act.SUSPEND)
    with pytest.raises(errors.Conflict, match="a license that is revoked cannot be reinstated"):
        transitions.after(Standing.REVOKED, Act.REINSTATE)
