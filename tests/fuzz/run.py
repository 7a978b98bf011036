"""Fuzzes all targets with atheris, one after the other: `python -m fuzz.run SECONDS` each, or one by its name.

A crash is printed with its input, and ends the run.
"""

from __future__ import annotations

import subprocess
import sys

import atheris  # type: ignore[import-untyped] # it has no types

with atheris.instrument_imports(include=["headcount.wire", "headcount.privacy", "headcount.licensing"]):
    from fuzz import targets


def one(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    target = targets.TARGETS[name]
    # A second for one input is a hundred times what the slowest takes: past it something is not linear.
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options], lambda data: targets.attempt(target, bytes(data)))
    atheris.Fuzz()


def main() -> None:
    seconds = int(sys.argv[1])
    if len(sys.argv) > 2:
        one(sys.argv[2], seconds)
        return
    for name in targets.TARGETS:
        subprocess.run([sys.executable, "-m", "fuzz.run", str(seconds), name], check=True)


if __name__ == "__main__":
    main()
