"""Bots are told by class, and no browser of a person is taken for one."""

from __future__ import annotations

import time
from pathlib import Path

import crawleruseragents
import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from headcount.model import Ignored
from headcount.privacy.bots import bot_class, is_prefetch

AGENTS = [
    line.split("\t")[3]
    for line in (Path(__file__).parent / "agents.txt").read_text(encoding="utf-8").splitlines()[1:]
]
CHROME = AGENTS[0]


@pytest.mark.parametrize("agent", AGENTS)
def test_no_browser_of_a_person_is_a_bot(agent: str) -> None:
    assert bot_class(agent, {}) is None


def test_there_are_enough_browsers_to_say_so() -> None:
    assert len(set(AGENTS)) > 100


@pytest.mark.parametrize(
    "device",
    [
        "HTC Butterfly",
        "ViewSonic A8+",
        "Fever_Plus",
        "CUBOT KING KONG",
        "Spider 8",
        "M bot 54",
        "x Build/AP3A.240617.008",
    ],
)
def test_the_name_of_a_phone_makes_no_bot(device: str) -> None:
    agent = (
        f"Mozilla/5.0 (Linux; Android 15; {device}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
    )
    assert bot_class(agent, {}) is None


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Ignored.BOT_SEARCH),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", Ignored.BOT_SEARCH),
        ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", Ignored.BOT_SEARCH),
        ("Mozilla/5.0 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", Ignored.BOT_AI),
        ("Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", Ignored.BOT_AI),
        ("Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)", Ignored.BOT_AI),
        ("CCBot/2.0 (https://commoncrawl.org/faq/)", Ignored.BOT_AI),
        ("Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", Ignored.BOT_MONITOR),
        (CHROME + " PTST/220216", Ignored.BOT_MONITOR),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", Ignored.BOT_PREVIEW),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Ignored.BOT_PREVIEW),
        ("WhatsApp/2.23.20.0", Ignored.BOT_PREVIEW),
        ("curl/8.5.0", Ignored.BOT_TOOL),
        ("python-requests/2.31.0", Ignored.BOT_TOOL),
        ("Go-http-client/2.0", Ignored.BOT_TOOL),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", Ignored.BOT_TOOL),
        (CHROME.replace("Chrome", "HeadlessChrome"), Ignored.BOT_TOOL),
        ("", Ignored.BOT_UNKNOWN),
        ("Mozilla/5.0", Ignored.BOT_UNKNOWN),
        ("Mozilla/4.0 (compatible;)", Ignored.BOT_UNKNOWN),
        ("Mozilla/5.0 (compatible; Inspector 3)", Ignored.BOT_UNKNOWN),
        ("MyScript 1.0", Ignored.BOT_UNKNOWN),
        (CHROME + " see https://example.com/why", Ignored.BOT_UNKNOWN),
        (CHROME + " joe@example.com", Ignored.BOT_UNKNOWN),
        (CHROME + " Cypress/13.6.0", Ignored.BOT_UNKNOWN),
        (CHROME + " foocrawler/1.0", Ignored.BOT_UNKNOWN),
    ],
)  # fmt: skip
def test_a_bot_is_told_by_its_class(agent: str, expected: Ignored) -> None:
    assert bot_class(agent, {}) is expected


def test_a_from_header_gives_a_robot_away() -> None:
    assert bot_class(CHROME, CIMultiDict({"from": "robot@example.com"})) is Ignored.BOT_UNKNOWN
    assert bot_class(CHROME, CIMultiDict({"Accept": "*/*"})) is None


def test_every_pattern_of_the_list_works_in_re2() -> None:
    for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA:
        re2.compile(entry["pattern"])


def test_the_bots_of_the_list_are_found() -> None:
    entries = crawleruseragents.CRAWLER_USER_AGENTS_DATA
    instances = [agent for entry in entries for agent in entry.get("instances", ())]
    missed = [agent for agent in instances if bot_class(agent, {}) is None]
    # Those that are missed are agents of people, which the list has by mistake.
    assert len(instances) > 1500
    assert len(missed) <= 5


def test_a_name_behind_many_kilobytes_is_not_looked_for() -> None:
    assert bot_class(CHROME + " " * 1000 + "Googlebot/2.1", {}) is None


@settings(deadline=None)  # the first call loads the list
@given(st.text())
def test_any_agent_has_an_answer(text: str) -> None:
    for agent in (text, CHROME + text, CHROME + "\udcff"):
        assert bot_class(agent, {}) in {None, *Ignored}


@pytest.mark.parametrize(
    "piece", ["a", "Mozilla/5.0 (", "(Linux; Android ", "a@", "bot", ".", "Googlebo", "aA1-/;"]
)
def test_a_hostile_agent_takes_milliseconds(piece: str) -> None:
    bot_class(CHROME, {})
    start = time.perf_counter()
    bot_class(piece * 2000, {})
    assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"sec-purpose": "Prefetch; anonymous-client-ip"},
        {"Purpose": "prefetch"},
        {"X-Purpose": "preview"},
        {"X-moz": "prefetch"},
    ],
)
def test_fetching_ahead_is_recognised(headers: dict[str, str]) -> None:
    assert is_prefetch(CIMultiDict(headers))


@pytest.mark.parametrize("headers", [{}, {"Sec-Purpose": ""}, {"Purpose": "visit"}, {"Accept": "prefetch"}])
def test_a_visit_is_no_fetching_ahead(headers: dict[str, str]) -> None:
    assert not is_prefetch(CIMultiDict(headers))
