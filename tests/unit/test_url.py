"""What is kept of a page's address, what is refused, and which hostnames belong to a site."""

from __future__ import annotations

import time
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import errors
from headcount.privacy.url import Page, cut, decode, host_allowed, is_domain, read_url


def read(
    url: str, *, hash_routing: bool = False, query_params: Collection[str] = (), fold_digits: bool = True
) -> Page:
    return read_url(url, hash_routing=hash_routing, query_params=query_params, fold_digits=fold_digits)


@pytest.mark.parametrize(
    ("url", "hostname"),
    [
        ("https://Example.COM/", "example.com"),
        ("https://www.example.com/", "www.example.com"),
        ("https://example.com.:8443/", "example.com"),
        ("https://joe:secret@example.com/", "example.com"),
        ("https://a@b@example.com/", "example.com"),
        ("app://com.example.app/start", "com.example.app"),
        ("HTTP://LOCALHOST:3000", "localhost"),
        ("http://[::1]:80/", "[::1]"),
        ("https://münchen.example/", "münchen.example"),
    ],
)
def test_a_hostname_loses_case_port_and_credentials(url: str, hostname: str) -> None:
    assert read(url).hostname == hostname


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://e.com", "/"),
        ("https://e.com?x=1", "/"),
        ("https://e.com/a/b/", "/a/b/"),
        ("https://e.com/a?token=1#top", "/a"),
        ("https://e.com/%C3%BCber%20uns", "/über uns"),
        ("https://e.com/%ff/a", "/%ff/a"),
        ("https://e.com/100%25", "/100%"),
        ("https://e.com/a%00%0Ab%E2%80%AEc", "/abc"),
        ("https://e.com/user/joe%40example.com", "/user/:email"),
        ("https://e.com/user/joe%2540example.com", "/user/:email"),
        ("https://e.com/order/1234567/", "/order/:number/"),
        ("https://e.com/\ud800a", "/a"),
    ],
)
def test_a_page_is_its_decoded_and_scrubbed_path(url: str, page: str) -> None:
    assert read(url).page == page


def test_long_numbers_stay_in_the_page_if_the_site_says_so() -> None:
    assert read("https://e.com/order/1234567", fold_digits=False).page == "/order/1234567"


def test_listed_query_parameters_stay_sorted_and_scrubbed() -> None:
    url = "https://e.com/s?q=joe%40x.de&page=2&secret=1&q=other&lang=a%26b%23c"
    assert read(url, query_params=["q", "page", "lang", "none"]).page == "/s?lang=a%26b%23c&page=2&q=:email"


@pytest.mark.parametrize(
    ("fragment", "page"),
    [
        ("", "/app"),
        ("#/inbox/joe@x.de?tab=1", "/app#/inbox/:email"),
        ("#!/inbox", "/app#!/inbox"),
        ("#about", "/app#about"),
        ("#access_token=abc&state=1", "/app"),
        ("#/%C3%BC", "/app#/ü"),
    ],
)
def test_a_fragment_is_part_of_the_page_with_hash_routing_alone(fragment: str, page: str) -> None:
    assert read("https://e.com/app" + fragment, hash_routing=True).page == page
    assert read("https://e.com/app" + fragment).page == "/app"


def test_campaign_tags_are_read_and_scrubbed() -> None:
    url = (
        "https://e.com/?utm_source=news+letter&utm_medium=email&utm_campaign=joe%40x.de&utm_content=&utm_id=1"
    )
    assert read(url).tags == {"utm_source": "news letter", "utm_medium": "email", "utm_campaign": ":email"}


@pytest.mark.parametrize(
    ("query", "source"),
    [("ref=a", "a"), ("source=b&ref=a", "b"), ("ref=a&utm_source=c", "c"), ("utm_source=&ref=a", "a")],
)
def test_ref_and_source_stand_in_for_a_missing_utm_source(query: str, source: str) -> None:
    assert read(f"https://e.com/?{query}").tags == {"utm_source": source}


def test_a_tag_has_500_characters_at_most() -> None:
    assert len(read("https://e.com/?ref=" + "ab " * 600).tags["utm_source"]) == 500


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://e.com/" + "a" * 1990, "2000 bytes"),
        ("https://e.com/" + "ü" * 1000, "2000 bytes"),
        ("", "start with"),
        ("/path", "start with"),
        ("//e.com/", "start with"),
        ("ftp://e.com/", "start with"),
        ("file:///etc/passwd", "start with"),
        ("javascript:alert(1)", "start with"),
        ("https:///a", "no hostname"),
        ("https://joe@/", "no hostname"),
        ("https://" + "a." * 150 + "com/", "253 characters"),
        ("https://e com/", "characters"),
        ("https://e..com/", "characters"),
        ("https://<b>.com/", "characters"),
        ("https://%65.com/", "characters"),
    ],
)
def test_what_is_no_address_of_a_page_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(errors.BadInput, match=reason) as refusal:
        read(url)
    assert refusal.value.field == "url"


def test_a_refusal_does_not_repeat_the_url() -> None:
    with pytest.raises(errors.BadInput) as refusal:
        read("ftp://joe@example.com/")
    assert "joe" not in refusal.value.message


@given(st.text(), st.booleans())
def test_any_text_is_read_or_refused_and_the_page_fits(text: str, hash_routing: bool) -> None:
    for url in (text, f"https://e.com/{text}"):
        try:
            page = read(url, hash_routing=hash_routing, query_params=["a"])
        except errors.BadInput:
            continue
        assert page.page.startswith(("/", "\\"))
        assert len(page.page.encode()) <= 2000


def test_a_page_is_cut_between_characters() -> None:
    assert cut("aü", 2) == "a"
    page = read("https://e.com/" + "123456x" * 283).page
    assert len(page.encode()) <= 2000


def test_text_is_decoded_once() -> None:
    assert decode("%2541") == "%41"
    assert decode("%ff%41") == "%ff%41"


@pytest.mark.parametrize(
    "piece", ["%", "%41", "&", "a=1&", "utm_source=1&", "@", "a.", "#", "?", "/", "[", ":"]
)
def test_a_hostile_url_takes_milliseconds(piece: str) -> None:
    start = time.perf_counter()
    for prefix in ("https://", "https://e.com/", "https://e.com/?", "https://e.com/#"):
        url = prefix + piece * ((2000 - len(prefix)) // len(piece))
        try:
            read(url, hash_routing=True, query_params=["a"])
        except errors.BadInput:
            continue
    assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize(
    ("hostname", "allowed"),
    [
        ("example.com", True),
        ("www.example.com", True),
        ("shop.example.com", True),
        ("EXAMPLE.com.", True),
        ("notexample.com", False),
        ("example.com.evil.net", False),
        ("com", False),
        ("localhost", False),
        ("127.0.0.1", False),
    ],
)
def test_without_a_list_the_domain_and_its_subdomains_are_allowed(hostname: str, allowed: bool) -> None:
    assert host_allowed(hostname, "example.com", ()) is allowed
    assert host_allowed(hostname, "www.example.com", ()) is allowed


@pytest.mark.parametrize(
    ("hostname", "allowed"),
    [
        ("a.example", True),
        ("A.EXAMPLE", True),
        ("www.a.example", False),
        ("example.com", False),
        ("b.example", False),
        ("x.b.example", True),
        ("x.y.b.example", True),
        ("xb.example", False),
    ],
)
def test_with_a_list_only_what_it_names_is_allowed(hostname: str, allowed: bool) -> None:
    assert host_allowed(hostname, "example.com", ("A.example", "*.b.example")) is allowed


@pytest.mark.parametrize(
    ("hostname", "domain", "allowed"),
    [
        ("localhost", "localhost", True),
        ("127.0.0.1", "localhost", True),
        ("::1", "localhost", True),
        ("[::1]", "localhost", True),
        ("127.0.0.2", "localhost", False),
        ("foo.localhost", "foo.localhost", True),
        ("foo.localhost", "localhost", False),
        ("bar.foo.localhost", "foo.localhost", False),
        ("localhost", "foo.localhost", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "example.com", False),
        ("127.0.0.1.example.com", "example.com", True),
    ],
)
@pytest.mark.parametrize("hostnames", [(), ("localhost", "127.0.0.1", "*.localhost", "::1", "*.example.com")])
def test_this_machine_belongs_to_a_site_of_that_name_alone(
    hostname: str, domain: str, allowed: bool, hostnames: tuple[str, ...]
) -> None:
    assert host_allowed(hostname, domain, hostnames) is allowed


@pytest.mark.parametrize(
    "text",
    ["example.com", "a-b.example.co.uk", "localhost", "foo.localhost", "xn--mnchen-3ya.de", "10.0.0.1"],
)
def test_a_hostname_is_a_domain(text: str) -> None:
    assert is_domain(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example",
        "Example.com",
        "example.com/",
        "example.com.",
        ".com",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "a b.com",
        "https://example.com",
        "example.com:80",
        "münchen.de",
        "example.com\n",
        "a" * 64 + ".com",
        "a." * 127 + "com",
    ],
)
def test_what_is_no_plain_hostname_is_no_domain(text: str) -> None:
    assert not is_domain(text)
