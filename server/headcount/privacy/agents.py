"""Says which browser, system and kind of device a user agent names, in words that people use.

Keeps nothing: ua-parser's own cache, keyed by agents, is not used. Only names listed here come out, so that
no client can write text of its own into a dimension.
What agents no longer tell: Windows 11 says Windows 10, every macOS since 11 says 10.15, Chrome on Android
says Android 10, Safari 26 says iOS 18, and an iPad says it is a Mac.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import ua_parser

LONGEST_READ = 1000
"""Characters; real agents have 80 to 400."""


class Agent(NamedTuple):
    """What a user agent names; empty where it is not known."""

    browser: str
    browser_version: str
    """The browser and its major version, as in `Chrome 131`."""
    os: str
    os_version: str
    device: str
    """desktop, mobile, tablet, tv or other."""


UNKNOWN = Agent("", "", "", "", "")

# By ua-parser's family. What is not listed is no browser that people would name.
_BROWSERS = {
    "115 Browser": "115 Browser",
    "360 Secure Browser": "360 Browser",
    "AOL": "AOL",
    "AVG": "AVG Browser",
    "Aloha Browser": "Aloha",
    "Amazon Silk": "Silk",
    "Android": "Android Browser",
    "Arora": "Arora",
    "Atom Browser": "Atom",
    "Avast Secure Browser": "Avast Browser",
    "Avira": "Avira Browser",
    "Baidu Browser": "Baidu Browser",
    "Baidu Explorer": "Baidu Browser",
    "Basilisk": "Basilisk",
    "BlackBerry": "BlackBerry Browser",
    "BlackBerry WebKit": "BlackBerry Browser",
    "Brave": "Brave",
    "CCleaner": "CCleaner Browser",
    "Camino": "Camino",
    "Chrome": "Chrome",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile WebView": "Android WebView",
    "Chrome Mobile iOS": "Chrome",
    "Chromium": "Chromium",
    "Coc Coc": "Cốc Cốc",
    "Comodo Dragon": "Comodo Dragon",
    "Dillo": "Dillo",
    "Dolphin": "Dolphin",
    "DuckDuckGo": "DuckDuckGo",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "ELinks": "ELinks",
    "Ecosia Android": "Ecosia",
    "Ecosia iOS": "Ecosia",
    "Edge": "Edge",
    "Edge Mobile": "Edge",
    "Electron": "Electron",
    "Epiphany": "GNOME Web",
    "Espial": "Espial",
    "Facebook": "Facebook",
    "Facebook Messenger": "Messenger",
    "Fennec": "Firefox",
    "Firefox": "Firefox",
    "Firefox Alpha": "Firefox",
    "Firefox Beta": "Firefox",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Flipboard": "Flipboard",
    "Google": "Google app",
    "HbbTV": "HbbTV",
    "HeyTap Browser": "HeyTap Browser",
    "HiBrowser": "Hi Browser",
    "Honor Browser": "Honor Browser",
    "Huawei Browser": "Huawei Browser",
    "IE": "Internet Explorer",
    "IE Large Screen": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "IceCat": "IceCat",
    "Iceweasel": "Iceweasel",
    "Instagram": "Instagram",
    "Iron": "Iron",
    "KakaoTalk": "KakaoTalk",
    "Konqueror": "Konqueror",
    "LINE": "LINE",
    "Ladybird": "Ladybird",
    "Links": "Links",
    "Lunascape": "Lunascape",
    "Lynx": "Lynx",
    "Maxthon": "Maxthon",
    "Microsoft Teams": "Microsoft Teams",
    "Midori": "Midori",
    "Mint Browser": "Mint Browser",
    "MiuiBrowser": "Mi Browser",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari (in-app)",
    "MullvadBrowser": "Mullvad Browser",
    "NetCast Smart TV": "NetCast",
    "NetFront": "NetFront",
    "NetFront NX": "NetFront",
    "Netscape": "Netscape",
    "Nokia Browser": "Nokia Browser",
    "Nokia OSS Browser": "Nokia Browser",
    "Nokia Services (WAP) Browser": "Nokia Browser",
    "Norton": "Norton Browser",
    "Oculus Browser": "Quest Browser",
    "OmniWeb": "OmniWeb",
    "Opera": "Opera",
    "Opera Coast": "Opera",
    "Opera GX": "Opera GX",
    "Opera Mini": "Opera Mini",
    "Opera Mobile": "Opera",
    "Opera Tablet": "Opera",
    "Opera Touch": "Opera",
    "Ovi Browser": "Nokia Browser",
    "Pale Moon": "Pale Moon",
    "PaleMoon": "Pale Moon",
    "Phoenix Browser": "Phoenix Browser",
    "Pinterest": "Pinterest",
    "Puffin": "Puffin",
    "QQ Browser": "QQ Browser",
    "QQ Browser Mini": "QQ Browser",
    "QQ Browser Mobile": "QQ Browser",
    "QtCarBrowser": "Tesla Browser",
    "Quark": "Quark",
    "Quark PC": "Quark",
    "Safari": "Safari",
    "Sailfish Browser": "Sailfish Browser",
    "Samsung Internet": "Samsung Browser",
    "Sber Browser": "Sber Browser",
    "SeaMonkey": "SeaMonkey",
    "Seznam prohlížeč": "Seznam Browser",
    "Slack Desktop Client": "Slack",
    "Sleipnir": "Sleipnir",
    "SmartTV WebBrowser": "Smart TV",
    "Snapchat": "Snapchat",
    "Sogou Explorer": "Sogou Browser",
    "Steam Client": "Steam",
    "Steam Deck": "Steam",
    "Steam GameOverlay": "Steam",
    "Telegram": "Telegram",
    "TikTok": "TikTok",
    "Tizen Browser": "Tizen Browser",
    "Twitter": "X (Twitter)",
    "UC Browser": "UC Browser",
    "Vewd Browser": "Vewd",
    "Vivaldi": "Vivaldi",
    "VivoBrowser": "vivo Browser",
    "Waterfox": "Waterfox",
    "WeChat Browser": "WeChat",
    "Weibo": "Weibo",
    "Whale": "Whale",
    "Wolvic Browser": "Wolvic",
    "Yandex Browser": "Yandex Browser",
    "YandexSearch": "Yandex app",
    "webOS Browser": "webOS Browser",
}

_SYSTEMS = {
    "ATV OS X": "tvOS",
    "Android": "Android",
    "Arch Linux": "Linux",
    "Bada": "Bada",
    "BlackBerry OS": "BlackBerry OS",
    "BlackBerry Tablet OS": "BlackBerry OS",
    "CentOS": "Linux",
    "Chrome OS": "Chrome OS",
    "Chromecast Android": "Chromecast",
    "Chromecast Fuchsia": "Chromecast",
    "Chromecast Linux": "Chromecast",
    "Debian": "Linux",
    "Fedora": "Linux",
    "Firefox OS": "Firefox OS",
    "FreeBSD": "FreeBSD",
    "Gentoo": "Linux",
    "GoogleTV": "Google TV",
    "HarmonyOS": "HarmonyOS",
    "KaiOS": "KaiOS",
    "Kubuntu": "Linux",
    "Linux": "Linux",
    "Linux Mint": "Linux",
    "Mac OS": "Mac OS",
    "Mac OS X": "macOS",
    "Mageia": "Linux",
    "Maemo": "Maemo",
    "Mandriva": "Linux",
    "MeeGo": "MeeGo",
    "NetBSD": "NetBSD",
    "OpenBSD": "OpenBSD",
    "Red Hat": "Linux",
    "Roku": "Roku",
    "SUSE": "Linux",
    "Sailfish": "Sailfish OS",
    "Slackware": "Linux",
    "Solaris": "Solaris",
    "Symbian OS": "Symbian",
    "Symbian^3": "Symbian",
    "Symbian^3 Anna": "Symbian",
    "Symbian^3 Belle": "Symbian",
    "Tizen": "Tizen",
    "Ubuntu": "Linux",
    "WatchOS": "watchOS",
    "Web0S": "webOS",
    "Windows": "Windows",
    "Windows Mobile": "Windows Mobile",
    "Windows Phone": "Windows Phone",
    "iOS": "iOS",
    "openSUSE": "Linux",
    "tvOS": "tvOS",
    "webOS": "webOS",
}

# Their numbers are those of a distribution, an engine or a build, which mean nothing beside the name.
_WITHOUT_VERSION = frozenset(
    (
        "Chrome OS",
        "Chromecast",
        "Linux",
        "Roku",
        "DuckDuckGo",
        "Electron",
        "GNOME Web",
        "Sogou Browser",
        "Yandex app",
    )
)
_NUMBER = re.compile(r"[0-9]{1,4}")
_WORD = re.compile(r"[0-9]{1,4}|XP|Vista|ME|NT|CE")

# The first that fits: an iPad says Mobile too, Android on phones only, and an old Windows says Tablet PC.
_DEVICES = (
    (
        "other",
        re.compile(
            r"(?i:playstation|xbox|nintendo)|\(PS3\)|(?<!Air)Watch|OculusBrowser|Wolvic|PicoBrowser|QtCarBrowser"
            r"|Tesla(?:Browser)?/"
        ),
    ),
    (
        "tv",
        re.compile(
            r"TV\b|SmartHub|Web0S|NetCast|BRAVIA|CrKey|Roku|VIDAA|Viera|MiBOX|MiTV|Chromecast|Vewd|Espial"
            r"|\bAFT[A-Z0-9]{1,6}\b|TPM1[0-9]1E"
        ),
    ),
    ("tablet", re.compile(r"iPad|Tablet(?! PC)|PlayBook|Kindle|Silk-Accelerated|\bKF[A-Z]{2,5}\b")),
    (
        "mobile",
        re.compile(
            r"Mobi|iPhone|iPod|Windows (?:Phone|CE)|BlackBerry|BB10|Opera Mini|KAIOS|Symb|MIDP|Nokia|\bwebOS/"
        ),
    ),
    ("tablet", re.compile(r"Android")),
    ("desktop", re.compile(r"Windows|Macintosh|X11|Linux|CrOS|Win(?:98|95| 9x)|BSD")),
)


def describe(user_agent: str) -> Agent:
    """What the agent names. Nothing of it is kept."""
    # aiohttp gives bytes that are no UTF-8 as lone surrogates, which ua-parser refuses.
    agent = user_agent[:LONGEST_READ].encode(errors="replace").decode()
    if not agent:
        return UNKNOWN
    parsed = _resolve()(agent, ua_parser.Domain.USER_AGENT | ua_parser.Domain.OS)
    browser, version = _browser(parsed.user_agent)
    system, system_version = _system(parsed.os, agent)
    return Agent(browser, version, system, system_version, _device(agent))


def _browser(found: ua_parser.UserAgent | None) -> tuple[str, str]:
    name = _BROWSERS.get(found.family, "") if found else ""
    if not found or not name:
        return "", ""
    return name, _with_version(name, found.major)


def _system(found: ua_parser.OS | None, agent: str) -> tuple[str, str]:
    if "OpenHarmony" in agent:  # ua-parser does not know it
        return "HarmonyOS", "HarmonyOS"
    name = _SYSTEMS.get(found.family, "") if found else ""
    if not found or not name:
        return "", ""
    major = found.major or ""
    if name == "iOS" and "iPad" in agent and len(major) == 2 and major >= "13":
        name = "iPadOS"
    # 10 says nothing among fifteen macOS 10, and Windows 8.1 was sold as such.
    if (name, major) in (("macOS", "10"), ("Windows", "8")) and _NUMBER.fullmatch(found.minor or ""):
        return name, f"{name} {major}.{found.minor}"
    return name, _with_version(name, major)


def _with_version(name: str, major: str | None) -> str:
    known = name not in _WITHOUT_VERSION and major and _WORD.fullmatch(major)
    return f"{name} {major}" if known else name


def _device(agent: str) -> str:
    return next((device for device, pattern in _DEVICES if pattern.search(agent)), "other")


@cache
def _resolve() -> ua_parser.Resolver:
    resolver = ua_parser.RegexResolver
    if resolver is None:
        raise ImportError("ua-parser-rs is missing")
    return resolver(ua_parser.load_lazy_builtins())
