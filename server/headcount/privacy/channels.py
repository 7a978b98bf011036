"""Sorts a visit into a channel by its source and its campaign tags.

The rules are those of Google Analytics 4's default channel group for tagged links
(support.google.com/analytics/answer/9756891) and of Plausible's channels (plausible.io/docs/top-referrers),
both read in November 2026. Click ids (gclid, msclkid) are not kept, so they decide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headcount.privacy import sources
from headcount.privacy.sources import Source

DIRECT = "Direct"
REFERRAL = "Referral"

_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*")
_SHOP = re.compile(r".*(?:(?:[^a-df-z]|^)shop|shopping).*")
_DISPLAY = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_SOCIAL = frozenset(("social", "social-network", "social-media", "sm", "social network", "social media"))
_EMAIL = frozenset(("email", "e-mail", "e_mail", "e mail"))
_AFFILIATE = frozenset(("affiliate", "affiliates"))
_REFERRAL = frozenset(("referral", "app", "link"))

# Messengers count as social: a link in a chat is one that somebody shared.
_GROUP_OF_KIND = {
    "search": "Search",
    "social": "Social",
    "chat": "Social",
    "video": "Video",
    "shopping": "Shopping",
}


def channel(source: Source, tags: Mapping[str, str]) -> str:
    """The channel; the first rule that fits decides. A `utm_source` in `tags` stands for `source`."""
    tagged = tags.get("utm_source", "")
    kind = sources.kind_of_tag(tagged) if tagged else source.kind
    name = (tagged or source.name).lower()
    medium = tags.get("utm_medium", "").lower()
    campaign = tags.get("utm_campaign", "").lower()
    group = "Shopping" if campaign and _SHOP.fullmatch(campaign) else _GROUP_OF_KIND.get(kind, "")
    if "cross-network" in (medium, campaign) or "cross-network" in campaign:
        return "Cross-network"
    if (medium and _PAID.fullmatch(medium)) or (tagged and sources.is_ad_tag(tagged)):
        return f"Paid {group}" if group else _other_paid(medium)
    if medium in _DISPLAY:
        return "Display"
    if kind == "ai" or medium == "ai-assistant":
        return "AI Assistants"
    group = group or _group_of_medium(medium)
    if group:
        return f"Organic {group}"
    return _by_words(name, medium, kind) or (REFERRAL if name else DIRECT)


def _other_paid(medium: str) -> str:
    return "Display" if medium in _DISPLAY else "Paid Other"


def _group_of_medium(medium: str) -> str:
    if medium in _SOCIAL:
        return "Social"
    if "video" in medium:
        return "Video"
    return "Search" if medium == "organic" else ""


def _by_words(name: str, medium: str, kind: str) -> str:
    if medium in _EMAIL or name in _EMAIL or kind == "mail":
        return "Email"
    if medium in _AFFILIATE:
        return "Affiliates"
    if medium in _REFERRAL:
        return REFERRAL
    if medium == "audio":
        return "Audio"
    if "sms" in (name, medium):
        return "SMS"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium or name == "firebase":
        return "Mobile Push Notifications"
    return ""
