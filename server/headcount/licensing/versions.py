"""Versions and the other words an install says of itself: reduced, so that nothing else can come along.

A version is up to three numbers and a pre-release word. Of four numbers only two are kept, as they may be an address.
Systems, architectures and environments are closed lists. What does not fit becomes "other", or empty for a version.
"""

from __future__ import annotations

import re

from headcount.licensed import PRODUCTION, Install, Release

OTHER = "other"
ENVIRONMENTS = (PRODUCTION, "staging", "development", "test", "ci", "demo")
MAX_LENGTH = 100
_WORDS = "alpha|beta|rc|dev|pre|preview|nightly|next|canary|snapshot|a|b|m|p"
_VERSION = re.compile(
    rf"v?(\d{{1,8}})(?:\.(\d{{1,8}}))?(?:\.(\d{{1,8}}))?(\.\d{{1,8}})?"
    rf"(?:[-.]?({_WORDS})(?:[-.]?(\d{{1,8}}))?)?(?:[-+].*)?",
    re.ASCII | re.DOTALL,
)
_SYSTEMS = {
    "linux": "linux",
    "windows": "windows",
    "win32": "windows",
    "winnt": "windows",
    "darwin": "macos",
    "macos": "macos",
    "mac": "macos",
    "freebsd": "freebsd",
    "openbsd": "openbsd",
    "netbsd": "netbsd",
    "sunos": "solaris",
    "solaris": "solaris",
    "aix": "aix",
    "android": "android",
    "ios": "ios",
}
_ARCHITECTURES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "x64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "arm": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
    "i386": "x86",
    "i686": "x86",
    "ia32": "x86",
    "x86": "x86",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}

Order = tuple[int, int, int, bool, str, int]


def version(text: str) -> str:
    """The version in its plain form: `2.4`, `2.4.1`, `2.5.0-beta.1`; empty if it is none."""
    found = _VERSION.fullmatch(text.strip().lower())
    if found is None:
        return ""
    *numbers, fourth, word, count = found.groups()
    if fourth is not None:
        numbers[2] = None
    plain = ".".join(str(int(number)) for number in numbers if number is not None)
    if word is None:
        return plain
    return f"{plain}-{word}" + (f".{int(count)}" if count is not None else "")


def order(plain: str) -> Order:
    """By what a plain version is sorted: a pre-release comes before its release (as semver.org, rule 11)."""
    numbers, _, pre = plain.partition("-")
    parts = [int(part) for part in numbers.split(".") if part]
    word, _, count = pre.partition(".")
    major, minor, patch = [*parts, 0, 0, 0][:3]
    return major, minor, patch, not pre, word, int(count or 0)


def install(given_version: str, environment: str, os: str, arch: str, known: tuple[str, ...]) -> Install:
    """What is kept of an install. `known`: names of environments of the plan, besides the usual ones."""
    environment = environment.strip().lower() or PRODUCTION
    return Install(
        version=version(given_version),
        environment=environment if environment in ENVIRONMENTS or environment in known else OTHER,
        os=_SYSTEMS.get(os.strip().lower(), OTHER) if os else "",
        arch=_ARCHITECTURES.get(arch.strip().lower(), OTHER) if arch else "",
    )


def newest(releases: tuple[Release, ...], installed: str, plan: str, channel: str) -> Release | None:
    """The newest release that suits plan and channel and is newer than what is installed; None: there is none."""
    fitting = [
        release
        for release in releases
        if release.channel == channel and (not release.plans or plan in release.plans)
    ]
    best = max(fitting, key=lambda release: order(release.version), default=None)
    if best is None or not installed or order(best.version) <= order(installed):
        return None
    return best
