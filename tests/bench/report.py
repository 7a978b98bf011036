"""How a comparison of servers is started, and how its figures are told."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from bench import load

Figures = dict[str, dict[str, object]]


def run(measure: Callable[[int, float], Awaitable[Figures]], about: str | None) -> None:
    """Measure on the core that the load has, print the figures, and write them to the file that is named."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="Of load on each server in a round.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    given = parser.parse_args()
    os.sched_setaffinity(0, {load.LOAD_CORE})
    figures = uvloop.run(_measured(measure, given.rounds, given.seconds))
    for title, lines in figures.items():
        print(title)
        for name, value in lines.items():
            print(f"  {name:44} {value}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


async def _measured(
    measure: Callable[[int, float], Awaitable[Figures]], rounds: int, seconds: float
) -> Figures:
    return await measure(rounds, seconds)
