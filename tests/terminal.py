"""Commands as a person at a terminal and as a script gives them."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from headcount.cli.main import main


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=answer)


def said(*arguments: str, answer: str | None = None) -> str:
    """What a command prints that works."""
    result = run(*arguments, answer=answer)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def told(*arguments: str) -> Any:
    """The JSON of a command that works."""
    return json.loads(said(*arguments, "--json"))


def refused(*arguments: str) -> str:
    """The one line that a command prints that does not."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").strip()
