"""The example of an environment file is what the settings are."""

from __future__ import annotations

from pathlib import Path

import pytest

from acceptance.reverse import DEPLOY
from headcount import config

WRITE = """.venv/bin/python -c 'from headcount import config; print(config.example(), end="")' > deploy/env.example"""


def test_the_example_is_current() -> None:
    assert (DEPLOY / "env.example").read_text() == config.example(), f"write it anew: {WRITE}"


def test_the_example_is_what_holds_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line[1:] for line in config.example().splitlines() if line.startswith("#HEADCOUNT_")]
    given = dict(line.split("=", 1) for line in lines)
    assert config.load(given) == config.load({})
    assert len(given) == len(config.load({}).described())
