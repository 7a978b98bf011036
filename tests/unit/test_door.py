"""The door: whatever comes in, neither address nor agent comes out."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make_hits as make
from headcount import errors
from headcount.model import VISIT_DIMENSIONS, Dropped, Hit, Ignored
from headcount.privacy import address, door
from headcount.wire.event import Event

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)


def lookups(key: bytes = b"k" * 32) -> door.Lookups:
    return door.Lookups(lambda _: "LV", lambda zone, day: key + f"{zone}{day}".encode()[:20], door.Agents())


def client(ip: str = "203.0.113.9", agent: str = CHROME, **headers: str) -> door.Client:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return door.Client(address.parse(ip), agent, named)


def event(**given: Any) -> Event:
    return Event(**{"name": "pageview", "url": "https://example.com/a", **given})


def passed(
    of: Event | None = None,
    whose: door.Client | None = None,
    second: float = 0,
    site: Any = None,
    key: bytes = b"k" * 32,
) -> Hit | Dropped:
    return door.reduce(of or event(), whose or client(), site or make.site(), make.ms(second), lookups(key))


def hit(*args: Any, **kwargs: Any) -> Hit:
    found = passed(*args, **kwargs)
    assert isinstance(found, Hit)
    return found


def attribute(found: Hit, name: str) -> str:
    return found.attributes[VISIT_DIMENSIONS.index(name)]


def test_a_client_cannot_be_printed() -> None:
    assert "203" not in f"{client()!r} {client()}"


def test_a_client_cannot_be_stored() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(client())


def test_a_client_has_no_dictionary_that_could_be_dumped() -> None:
    assert not hasattr(client(), "__dict__")


@given(st.ip_addresses(), st.text(min_size=12, max_size=80), st.text(max_size=30))
def test_neither_address_nor_agent_comes_out(ip: Any, agent: str, path: str) -> None:
    if isinstance(address.parse(str(ip)), type(None)):
        return
    agent = "Mozilla/5.0 unmistakable " + agent
    out = passed(event(url="https://example.com/" + path.replace("\0", "")), client(str(ip), agent))
    text = msgspec.json.encode(out).decode()
    assert "unmistakable" not in text
    assert str(ip) not in text or str(ip) in path


def test_the_same_visitor_has_one_token_on_one_day() -> None:
    assert hit(second=0).token == hit(second=3600).token


@pytest.mark.parametrize(
    "other",
    [
        {"whose": client("203.0.113.10")},
        {"whose": client(agent=CHROME.replace("131", "132"))},
        {"site": make.site(id=8)},
        {"second": 86_400},
        {"site": make.site(timezone="Asia/Kolkata")},
        {"key": b"x" * 32},
    ],
)
def test_another_address_agent_site_day_zone_or_key_gives_another_token(other: dict[str, Any]) -> None:
    assert hit(**other).token != hit().token


@pytest.mark.parametrize(
    ("one", "same"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::ffff:203.0.113.9", "203.0.113.9")],
)
def test_addresses_of_one_network_are_one_visitor(one: str, same: str) -> None:
    assert hit(whose=client(one)).token == hit(whose=client(same)).token


def test_another_network_is_another_visitor() -> None:
    assert hit(whose=client("2001:db8:1:2::1")).token != hit(whose=client("2001:db8:1:3::1")).token


@pytest.mark.parametrize("header", ["Sec_GPC", "DNT"])
def test_a_visitor_who_refuses_is_a_reason_and_nothing_else(header: str) -> None:
    assert passed(whose=client(**{header: "1"})) == Dropped(make.SITE, make.today(), Ignored.GPC)


def test_a_site_may_count_visitors_who_refuse() -> None:
    assert isinstance(passed(whose=client(Sec_GPC="1"), site=make.site(gpc=False)), Hit)


def test_a_bot_is_a_reason_and_nothing_else() -> None:
    assert passed(whose=client(agent="Googlebot/2.1")) == Dropped(make.SITE, make.today(), Ignored.BOT_SEARCH)


def test_a_prefetch_is_no_visit() -> None:
    assert passed(whose=client(Sec_Purpose="prefetch")) == Dropped(make.SITE, make.today(), Ignored.PREFETCH)


def test_a_page_of_another_host_is_refused() -> None:
    with pytest.raises(errors.WrongHostname):
        passed(event(url="https://evil.test/"))


def test_only_the_properties_that_the_site_names_are_kept() -> None:
    found = hit(
        event(name="Signup", props={"plan": "team", "email": "a@b.test"}), site=make.site(props=("plan",))
    )
    assert found.props == (("plan", "team"),)


def test_the_property_of_a_built_in_event_is_kept_without_its_query() -> None:
    found = hit(event(name="Outbound Link: Click", props={"url": "https://o.test/x?who=me#frag"}))
    assert found.props == (("url", "https://o.test/x"),)


def test_a_built_in_event_without_its_path_gets_the_page() -> None:
    assert hit(event(name="404", url="https://example.com/gone")).props == (("path", "/gone"),)


def test_what_slips_into_a_property_is_scrubbed() -> None:
    found = hit(event(name="Signup", props={"plan": "for jane@example.com"}), site=make.site(props=("plan",)))
    assert found.props == (("plan", "for :email"),)


def test_a_campaign_tag_wins_over_the_referrer() -> None:
    tagged = event(url="https://example.com/?utm_source=fb", referrer="https://www.google.com/")
    assert attribute(hit(tagged), "source") == "Facebook"


def test_the_own_hostname_is_no_referrer() -> None:
    assert attribute(hit(event(referrer="https://www.example.com/x")), "source") == ""


def test_a_changed_time_zone_holds_from_its_moment_on() -> None:
    site = make.site(next_timezone="Asia/Tokyo", timezone_from=make.NOON)
    assert [hit(second=second, site=site).zone for second in (-1, 0)] == ["Etc/UTC", "Asia/Tokyo"]


def test_a_trusted_server_speaks_for_its_visitor() -> None:
    sent = event(ip="203.0.113.9", user_agent=CHROME)
    assert hit(sent, client("192.0.2.1", "server").speaking_for(sent)).token == hit().token


def test_a_server_passes_a_refusal_on() -> None:
    sent = event(ip="203.0.113.9", user_agent=CHROME)
    whose = client("192.0.2.1", "server", Sec_GPC="1").speaking_for(sent)
    assert isinstance(passed(sent, whose), Dropped)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(errors.BadInput):
        client().speaking_for(event(ip="somewhere"))


def test_agents_are_cached_under_a_key_that_is_renewed() -> None:
    agents = door.Agents()
    agents.look_up(CHROME, 0)
    before = set(agents._known)
    agents.look_up(CHROME, door.KEY_LIFE)
    assert before.isdisjoint(agents._known)


def test_the_cache_of_agents_is_bounded() -> None:
    agents = door.Agents(size=10)
    for number in range(50):
        agents.look_up(f"Mozilla/5.0 {number}", 0)
    assert len(agents._known) == 10


def test_header_bytes_that_are_no_text_pass() -> None:
    assert isinstance(passed(whose=client(agent=CHROME + "\udcff")), Hit | Dropped)


def test_a_property_that_scrubbing_makes_longer_still_fits_an_index() -> None:
    found = hit(event(name="Outbound Link: Click", props={"url": "::1," * 500}))
    assert len(found.props[0][1].encode()) <= 2000
