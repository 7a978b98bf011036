"""Where a visit came from: common names, registrable domains, and what is never kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headcount.privacy import sources
from headcount.privacy.sources import NOWHERE, Source, classify, is_ad_tag, kind_of_tag, name_of_tag

KINDS = {"search", "ai", "social", "chat", "mail", "video", "shopping", "other"}


def nobody(hostname: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("referrer", "name", "kind"),
    [
        ("https://www.google.com/", "Google", "search"),
        ("https://www.google.co.uk/url?q=x", "Google", "search"),
        ("https://google.com.br/", "Google", "search"),
        ("https://images.google.de/", "Google", "search"),
        ("https://news.google.com/", "Google News", "search"),
        ("https://www.bing.com/", "Bing", "search"),
        ("https://duckduckgo.com/", "DuckDuckGo", "search"),
        ("https://yandex.com.tr/", "Yandex", "search"),
        ("https://de.search.yahoo.com/", "Yahoo!", "search"),
        ("https://search.brave.com/", "Brave", "search"),
        ("https://m.baidu.com/", "Baidu", "search"),
        ("https://l.facebook.com/l.php?u=x", "Facebook", "social"),
        ("https://lm.facebook.com/", "Facebook", "social"),
        ("https://l.instagram.com/", "Instagram", "social"),
        ("https://t.co/abc", "X (Twitter)", "social"),
        ("https://lnkd.in/abc", "LinkedIn", "social"),
        ("https://old.reddit.com/r/python/", "Reddit", "social"),
        ("https://fosstodon.org/", "Mastodon", "social"),
        ("https://go.bsky.app/", "Bluesky", "social"),
        ("https://news.ycombinator.com/item?id=1", "Hacker News", "social"),
        ("https://chatgpt.com/", "ChatGPT", "ai"),
        ("https://gemini.google.com/app", "Gemini", "ai"),
        ("https://copilot.microsoft.com/", "Microsoft Copilot", "ai"),
        ("https://mail.google.com/", "Gmail", "mail"),
        ("https://outlook.live.com/", "Outlook", "mail"),
        ("https://app.slack.com/", "Slack", "chat"),
        ("https://teams.microsoft.com/", "Microsoft Teams", "chat"),
        ("https://web.telegram.org/", "Telegram", "chat"),
        ("https://m.youtube.com/watch?v=x", "YouTube", "video"),
        ("https://www.amazon.com.br/", "Amazon", "shopping"),
        ("https://en.wikipedia.org/wiki/X", "Wikipedia", "other"),
        ("android-app://com.google.android.gm/", "Gmail", "mail"),
        ("android-app://com.Slack/", "Slack", "chat"),
        ("android-app://org.telegram.messenger", "Telegram", "chat"),
    ],
)
def test_a_known_source_has_its_common_name(referrer: str, name: str, kind: str) -> None:
    assert classify(referrer, nobody)[:2] == (name, kind)


@pytest.mark.parametrize(
    ("referrer", "source"),
    [
        ("https://www.example.com/", Source("example.com", "", "example.com")),
        ("https://blog.example.co.uk/a/b/?x=1#y", Source("example.co.uk", "", "blog.example.co.uk/a/b")),
        ("https://joe:secret@Example.com:8443/", Source("example.com", "", "example.com")),
        ("https://alice.github.io/post", Source("alice.github.io", "", "alice.github.io/post")),
        ("https://google.github.io/", Source("google.github.io", "", "google.github.io")),
        ("https://notgoogle.com/", Source("notgoogle.com", "", "notgoogle.com")),
        (
            "https://example.com/u/joe%40x.de/1234567",
            Source("example.com", "", "example.com/u/:email/:number"),
        ),
        ("android-app://com.example.reader/x", Source("com.example.reader", "", "com.example.reader")),
    ],
)
def test_another_source_is_named_by_its_registrable_domain(referrer: str, source: Source) -> None:
    assert classify(referrer, nobody) == source


@pytest.mark.parametrize(
    "referrer",
    [
        "",
        "about:blank",
        "example.com",
        "//example.com/",
        "https://",
        "file:///home/joe",
        "chrome-extension://abc/x",
        "https://192.168.0.1/",
        "http://8.8.8.8:80/",
        "http://[2001:db8::1]/",
        "http://localhost/",
        "http://joes-laptop.local/",
        "https://co.uk/",
        "https://exa mple.com/",
        "https://a..b/",
        "https://<b>.com/",
    ],
)
def test_an_address_a_local_name_or_nonsense_is_no_source(referrer: str) -> None:
    assert classify(referrer, nobody) == NOWHERE


def test_the_site_itself_is_no_source() -> None:
    asked: list[str] = []

    def own(hostname: str) -> bool:
        asked.append(hostname)
        return True

    assert classify("https://WWW.Example.com:443/a", own) == NOWHERE
    assert asked == ["www.example.com"]


@pytest.mark.parametrize("host", ["mail.google.com", "chatgpt.com", "app.slack.com"])
def test_of_mail_chats_and_assistants_only_the_host_is_kept(host: str) -> None:
    assert classify(f"https://{host}/c/a-private-talk", nobody).referrer == host


def test_long_numbers_stay_in_the_referrer_if_the_site_says_so() -> None:
    assert (
        classify("https://example.com/1234567", nobody, fold_digits=False).referrer == "example.com/1234567"
    )


def test_a_referrer_has_500_characters_at_most() -> None:
    assert len(classify("https://example.com/" + "ab/" * 900, nobody).referrer) == 500


@pytest.mark.parametrize(
    ("tag", "name", "kind"),
    [
        ("google", "Google", "search"),
        ("Google", "Google", "search"),
        ("fb", "Facebook", "social"),
        ("ig", "Instagram", "social"),
        ("chatgpt.com", "ChatGPT", "ai"),
        ("www.reddit.com", "Reddit", "social"),
        ("hn", "Hacker News", "social"),
        ("adwords", "Google", "search"),
        ("facebook_feed_ad", "Facebook", "social"),
        ("bing-ads", "Bing", "search"),
        ("newsletter", "newsletter", ""),
        ("Spring Mailing", "Spring Mailing", ""),
        ("free", "free", ""),
        ("leads", "leads", ""),
        ("", "", ""),
    ],
)
def test_a_tag_is_called_by_the_common_name(tag: str, name: str, kind: str) -> None:
    assert (name_of_tag(tag), kind_of_tag(tag)) == (name, kind)


@pytest.mark.parametrize(
    "tag", ["adwords", "fb-ads", "facebook_feed_ad", "GoogleAds", "yt-ads", "reddit ads"]
)
def test_a_tag_of_a_known_source_with_ads_is_an_ad(tag: str) -> None:
    assert is_ad_tag(tag)


@pytest.mark.parametrize("tag", ["", "google", "ads", "leads", "download", "my-ads", "newsletter", "threads"])
def test_another_tag_is_no_ad(tag: str) -> None:
    assert not is_ad_tag(tag)


def lines() -> list[list[str]]:
    text = sources.SOURCES.read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def test_the_list_is_in_order() -> None:
    assert all(len(line) in (3, 4) and line[0] and line[1] in KINDS and line[2] for line in lines())
    for column in (2, 3):
        words = [word for line in lines() if len(line) > column for word in line[column].split()]
        assert len(words) == len(set(words))
        assert all(word == word.lower() for word in words)


def test_the_list_knows_more_than_a_thousand_domains() -> None:
    domains = {domain for line in lines() for domain in line[2].split()}
    assert len(domains) > 1000


@pytest.mark.parametrize("line", lines(), ids=lambda line: str(line[0]))
def test_each_listed_domain_leads_to_its_name(line: list[str]) -> None:
    for domain in line[2].split():
        app = domain.removeprefix("app:")
        referrer = f"https://{domain.replace('*', 'com')}/" if app == domain else f"android-app://{app}/"
        assert classify(referrer, nobody)[:2] == (line[0], line[1]), domain


@settings(deadline=None)  # the first call loads the list
@given(st.text())
def test_any_text_has_an_answer_without_query_or_fragment(text: str) -> None:
    for referrer in (text, f"https://{text}", f"https://example.com/{text}"):
        source = classify(referrer, nobody)
        assert len(source.referrer) <= 500
        assert source.referrer.isprintable() or not source.referrer.isascii()
    assert name_of_tag(text) or text == ""


@pytest.mark.parametrize("piece", ["a", "a.", "/", "%41", "@", ":", "-", "a@b.co/"])
def test_a_hostile_referrer_takes_milliseconds(piece: str) -> None:
    classify("https://example.com/", nobody)
    start = time.perf_counter()
    for prefix in ("", "https://", "https://example.com/"):
        classify(prefix + piece * 2000, nobody)
        name_of_tag(prefix + piece * 500)
    assert time.perf_counter() - start < 0.2
