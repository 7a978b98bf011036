"""A real server answers whatever the description of its API allows, and all that it does not, as described.

HEADCOUNT_TEST_EXAMPLES sets how many requests are made up for each route; a run of `make test` makes up a few.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.server import Server
from headcount.model import Scope

EXAMPLES = int(os.environ.get("HEADCOUNT_TEST_EXAMPLES", "1"))
THOROUGH = 20
"""Examples from which on each limit of each schema is tried on both sides too, which takes minutes."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)

pytestmark = pytest.mark.timeout(120 + 60 * EXAMPLES)


async def test_made_up_requests_are_answered_as_described(place: Path) -> None:
    async with Server(place, rate_limit="0") as server:
        await server.start()
        token = f"Authorization: Bearer {await server.token(*Scope)}"
        for headers in ([token], []):
            done = await asyncio.to_thread(made_up, server.origin, place, headers)
            assert done.returncode == 0, done.stdout
        assert "failed: " not in server.said()


def made_up(origin: str, folder: Path, headers: list[str]) -> subprocess.CompletedProcess[str]:
    """A run of Schemathesis over the description that the server gives."""
    options = {
        "checks": ",".join(CHECKS),
        "phases": "fuzzing" if EXAMPLES < THOROUGH else "coverage,fuzzing",
        "max-examples": str(EXAMPLES),
        "generation-database": "none",
        "continue-on-failure": None,
        "no-color": None,
        "warnings": "off",
    }
    words = [f"--{name}" if value is None else f"--{name}={value}" for name, value in options.items()]
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{origin}/openapi.json", *words]
        + [f"--header={header}" for header in headers],
        cwd=folder,
        capture_output=True,
        text=True,
    )
