"""The system's Chromium, and how it is started so that it looks like a visitor's."""

from __future__ import annotations

import os
import shutil

import pytest

AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
"""An ordinary one: the headless browser's own is rightly taken for a bot's. It has to be the browser's and not
that of a context, which what is sent while a page ends does not have."""
FLAGS = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-blink-features=AutomationControlled",
    f"--user-agent={AGENT}",
    "--host-resolver-rules=MAP *.example.com 127.0.0.1",
]


def chromium() -> str:
    """Where it is; skips the test if it is nowhere."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium on the PATH; on Debian: apt install chromium")
    return found


def flags() -> list[str]:
    return [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
