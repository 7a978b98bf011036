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


def _as_it_is(names: str) -> dict[str, str]:
    return {name: name for name in names.split("|")}


# By ua-parser's family. What is not listed is no browser that people would name.
_BROWSERS = {
    **_as_it_is(
        "115 Browser|AOL|Arora|Baidu Browser|Basilisk|Brave|Camino|Chrome|Chromium|Comodo Dragon"
        "|Dillo|Dolphin|DuckDuckGo|ELinks|Edge|Electron|Espial|Facebook|Firefox|Flipboard|HbbTV"
        "|HeyTap Browser|Honor Browser|Huawei Browser|IceCat|Iceweasel|Instagram|Iron|KakaoTalk"
        "|Konqueror|LINE|Ladybird|Links|Lunascape|Lynx|Maxthon|Microsoft Teams|Midori|Mint Browser"
        "|NetFront|Netscape|Nokia Browser|OmniWeb|Opera|Opera GX|Opera Mini|Pale Moon|Phoenix Browser"
        "|Pinterest|Puffin|QQ Browser|Quark|Safari|Sailfish Browser|Sber Browser|SeaMonkey|Sleipnir"
        "|Snapchat|Telegram|TikTok|Tizen Browser|UC Browser|Vivaldi|Waterfox|Weibo|Whale"
        "|Yandex Browser|webOS Browser"
    ),
    "360 Secure Browser": "360 Browser",
    "AVG": "AVG Browser",
    "Aloha Browser": "Aloha",
    "Amazon Silk": "Silk",
    "Android": "Android Browser",
    "Atom Browser": "Atom",
    "Avast Secure Browser": "Avast Browser",
    "Avira": "Avira Browser",
    "Baidu Explorer": "Baidu Browser",
    "BlackBerry": "BlackBerry Browser",
    "BlackBerry WebKit": "BlackBerry Browser",
    "CCleaner": "CCleaner Browser",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile WebView": "Android WebView",
    "Chrome Mobile iOS": "Chrome",
    "Coc Coc": "Cốc Cốc",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "Ecosia Android": "Ecosia",
    "Ecosia iOS": "Ecosia",
    "Edge Mobile": "Edge",
    "Epiphany": "GNOME Web",
    "Facebook Messenger": "Messenger",
    "Fennec": "Firefox",
    "Firefox Alpha": "Firefox",
    "Firefox Beta": "Firefox",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Google": "Google app",
    "HiBrowser": "Hi Browser",
    "IE": "Internet Explorer",
    "IE Large Screen": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "MiuiBrowser": "Mi Browser",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari (in-app)",
    "MullvadBrowser": "Mullvad Browser",
    "NetCast Smart TV": "NetCast",
    "NetFront NX": "NetFront",
    "Nokia OSS Browser": "Nokia Browser",
    "Nokia Services (WAP) Browser": "Nokia Browser",
    "Norton": "Norton Browser",
    "Oculus Browser": "Quest Browser",
    "Opera Coast": "Opera",
    "Opera Mobile": "Opera",
    "Opera Tablet": "Opera",
    "Opera Touch": "Opera",
    "Ovi Browser": "Nokia Browser",
    "PaleMoon": "Pale Moon",
    "QQ Browser Mini": "QQ Browser",
    "QQ Browser Mobile": "QQ Browser",
    "QtCarBrowser": "Tesla Browser",
    "Quark PC": "Quark",
    "Samsung Internet": "Samsung Browser",
    "Seznam prohlížeč": "Seznam Browser",
    "Slack Desktop Client": "Slack",
    "SmartTV WebBrowser": "Smart TV",
    "Sogou Explorer": "Sogou Browser",
    "Steam Client": "Steam",
    "Steam Deck": "Steam",
    "Steam GameOverlay": "Steam",
    "Twitter": "X (Twitter)",
    "Vewd Browser": "Vewd",
    "VivoBrowser": "vivo Browser",
    "WeChat Browser": "WeChat",
    "Wolvic Browser": "Wolvic",
    "YandexSearch": "Yandex app",
}

_SYSTEMS = {
    **_as_it_is(
        "Android|Bada|BlackBerry OS|Chrome OS|Firefox OS|FreeBSD|HarmonyOS|KaiOS|Linux|Mac OS|Maemo"
        "|MeeGo|NetBSD|OpenBSD|Roku|Solaris|Tizen|Windows|Windows Mobile|Windows Phone|iOS|tvOS|webOS"
    ),
    "ATV OS X": "tvOS",
    "Arch Linux": "Linux",
    "BlackBerry Tablet OS": "BlackBerry OS",
    "CentOS": "Linux",
    "Chromecast Android": "Chromecast",
    "Chromecast Fuchsia": "Chromecast",
    "Chromecast Linux": "Chromecast",
    "Debian": "Linux",
    "Fedora": "Linux",
    "Gentoo": "Linux",
    "GoogleTV": "Google TV",
    "Kubuntu": "Linux",
    "Linux Mint": "Linux",
    "Mac OS X": "macOS",
    "Mageia": "Linux",
    "Mandriva": "Linux",
    "Red Hat": "Linux",
    "SUSE": "Linux",
    "Sailfish": "Sailfish OS",
    "Slackware": "Linux",
    "Symbian OS": "Symbian",
    "Symbian^3": "Symbian",
    "Symbian^3 Anna": "Symbian",
    "Symbian^3 Belle": "Symbian",
    "Ubuntu": "Linux",
    "WatchOS": "watchOS",
    "Web0S": "webOS",
    "openSUSE": "Linux",
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
