"""What `headcount doctor` says of one thing: how bad it is, and what to do."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    level: Level
    subject: str
    says: str
    advice: str = ""


def ok(subject: str, says: str) -> Finding:
    return Finding(Level.OK, subject, says)


def warn(subject: str, says: str, advice: str) -> Finding:
    return Finding(Level.WARN, subject, says, advice)


def fail(subject: str, says: str, advice: str) -> Finding:
    return Finding(Level.FAIL, subject, says, advice)
