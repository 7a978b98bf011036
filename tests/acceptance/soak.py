"""How long a test of faults goes on: short among all tests, long in `make soak`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Soak:
    """The form in which a test runs, and where it gets its random moments from."""

    long: bool
    random: random.Random

    def pick(self, short: T, long: T) -> T:
        """The figure for this form."""
        return long if self.long else short

    def report(self, text: str) -> None:
        """Shown in the end by `make soak`, and where a test fails."""
        print(text, flush=True)
