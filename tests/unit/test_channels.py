"""The channel of a visit, by its source and its tags."""

from __future__ import annotations

import pytest

from headcount.privacy.channels import channel
from headcount.privacy.sources import NOWHERE, Source


def source(kind: str) -> Source:
    return Source("Somewhere", kind, "somewhere.example")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("search", "Organic Search"),
        ("social", "Organic Social"),
        ("chat", "Organic Social"),
        ("video", "Organic Video"),
        ("shopping", "Organic Shopping"),
        ("ai", "AI Assistants"),
        ("mail", "Email"),
        ("other", "Referral"),
        ("", "Referral"),
    ],
)
def test_an_untagged_visit_goes_by_the_kind_of_its_source(kind: str, expected: str) -> None:
    assert channel(source(kind), {}) == expected


def test_without_a_source_a_visit_is_direct() -> None:
    assert channel(NOWHERE, {}) == "Direct"
    assert channel(NOWHERE, {"utm_campaign": "spring", "utm_medium": "poster"}) == "Direct"


@pytest.mark.parametrize("medium", ["cpc", "CPC", "ppc", "retargeting", "paid", "paid_social", "cpm", "xcpx"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("search", "Paid Search"),
        ("social", "Paid Social"),
        ("video", "Paid Video"),
        ("shopping", "Paid Shopping"),
        ("", "Paid Other"),
        ("ai", "Paid Other"),
    ],
)
def test_a_paid_medium_makes_a_visit_paid(medium: str, kind: str, expected: str) -> None:
    if medium == "cpm" and expected == "Paid Other":
        expected = "Display"
    assert channel(source(kind), {"utm_medium": medium}) == expected


@pytest.mark.parametrize(
    ("medium", "expected"),
    [
        ("display", "Display"),
        ("banner", "Display"),
        ("interstitial", "Display"),
        ("social", "Organic Social"),
        ("Social Media", "Organic Social"),
        ("video", "Organic Video"),
        ("my-video-ad", "Organic Video"),
        ("organic", "Organic Search"),
        ("ai-assistant", "AI Assistants"),
        ("email", "Email"),
        ("e-mail", "Email"),
        ("affiliate", "Affiliates"),
        ("referral", "Referral"),
        ("app", "Referral"),
        ("audio", "Audio"),
        ("sms", "SMS"),
        ("push", "Mobile Push Notifications"),
        ("web-push", "Mobile Push Notifications"),
        ("mobile", "Mobile Push Notifications"),
        ("notification", "Mobile Push Notifications"),
        ("cross-network", "Cross-network"),
        ("something", "Referral"),
    ],
)
def test_of_an_unlisted_source_the_medium_decides(medium: str, expected: str) -> None:
    assert channel(NOWHERE, {"utm_source": "partner", "utm_medium": medium}) == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("google", "Organic Search"),
        ("fb", "Organic Social"),
        ("fb-ads", "Paid Social"),
        ("googleads", "Paid Search"),
        ("adwords", "Paid Search"),
        ("yt-ads", "Paid Video"),
        ("chatgpt.com", "AI Assistants"),
        ("gmail", "Email"),
        ("e-mail", "Email"),
        ("sms", "SMS"),
        ("firebase", "Mobile Push Notifications"),
        ("newsletter", "Referral"),
    ],
)
def test_a_tagged_source_stands_for_the_referrer(tag: str, expected: str) -> None:
    assert channel(source("video"), {"utm_source": tag}) == expected
    assert channel(NOWHERE, {"utm_source": tag}) == expected


@pytest.mark.parametrize(
    ("campaign", "medium", "expected"),
    [
        ("summer-shopping", "", "Organic Shopping"),
        ("shop", "cpc", "Paid Shopping"),
        ("my_shop", "", "Organic Shopping"),
        ("workshop", "", "Referral"),
        ("pmax cross-network 1", "cpc", "Cross-network"),
    ],
)
def test_a_campaign_can_decide(campaign: str, medium: str, expected: str) -> None:
    tags = {"utm_source": "partner", "utm_campaign": campaign, "utm_medium": medium}
    assert channel(NOWHERE, tags) == expected
