"""The script as it is shipped: small enough, and made from its source."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TRACKER = Path(__file__).parents[2] / "tracker"
BUILT = TRACKER / "dist" / "h.js"
LIMIT = 1000
"""Bytes, of the script as it is sent. README.md promises it."""


def test_it_has_at_most_a_thousand_bytes() -> None:
    size = len(gzip.compress(BUILT.read_bytes(), 9, mtime=0))
    assert size <= LIMIT, f"{size} bytes after gzip -9"


def test_its_readme_names_its_size() -> None:
    packed = len(gzip.compress(BUILT.read_bytes(), 9, mtime=0))
    assert f"{packed} bytes" in (TRACKER / "README.md").read_text()


def test_it_is_what_the_build_makes_of_the_source(tmp_path: Path) -> None:
    node = shutil.which("node")
    terser = TRACKER / "node_modules" / "terser" / "bin" / "terser"
    if node is None or not terser.is_file():
        pytest.skip("terser is not installed: npm ci --prefix tracker")
    build = json.loads((TRACKER / "package.json").read_text())["scripts"]["build"]
    words = build.replace("dist/h.js", str(tmp_path / "h.js")).split()
    assert words.pop(0) == "terser"
    subprocess.run([node, str(terser), *words], cwd=TRACKER, check=True, timeout=60)
    assert (tmp_path / "h.js").read_text() == BUILT.read_text(), "npm run build --prefix tracker"


def test_its_source_names_its_licence() -> None:
    assert (TRACKER / "headcount.js").read_text().startswith("// SPDX-License-Identifier: MIT\n")


@pytest.mark.parametrize(
    "name", ["cookie", "sessionStorage", "indexedDB", "canvas", "userAgent", "sendBeacon"]
)
def test_it_does_not_touch(name: str) -> None:
    assert name not in BUILT.read_text()


def test_it_stores_one_value() -> None:
    assert set(re.findall(r"localStorage(.{17})", BUILT.read_text())) == {'["headcount-off"]'}
