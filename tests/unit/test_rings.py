"""The architecture is a test: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import headcount

PACKAGE = Path(headcount.__file__).parent
RINGS = {
    "cli": 6,
    "app": 5,
    "supervisor": 5,
    "web": 4,
    "jobs": 4,
    "services": 3,
    "store": 2,
    "privacy": 1,
    "wire": 1,
    "stats": 1,
    "visits": 1,
    "tally": 1,
    "licensing": 1,
    "redaction": 1,
    "model": 0,
    "licensed": 0,
    "config": 0,
    "errors": 0,
    "clock": 0,
    "assets": 0,
    "localtime": 0,
    "logs": 0,
    "systemd": 0,
    "__init__": 0,
}
IMPURE = {"asyncio", "logging", "sqlite3", "socket", "subprocess", "time", "aiohttp", "asyncpg", "threading"}


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    return module.split("/")[0]


def imports(module: str) -> set[str]:
    """The modules of ours, and the names of others, that this one imports."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def ours(module: str) -> set[str]:
    inside = {
        name.removeprefix("headcount.").split(".")[0]
        for name in imports(module)
        if name.startswith("headcount.")
    }
    return {name if name in RINGS else "__init__" for name in inside}


def test_every_part_has_a_ring() -> None:
    assert {part(module) for module in modules()} <= RINGS.keys()


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_lower_rings_or_its_own_folder(module: str) -> None:
    own = RINGS[part(module)]
    # The pure ring is one: the door reads events, and a site's settings are checked by the door's rules.
    allowed = {name for name, ring in RINGS.items() if ring < own or name == part(module) or ring == own <= 1}
    assert ours(module) <= allowed


@pytest.mark.parametrize("module", [module for module in modules() if RINGS[part(module)] == 1])
def test_the_pure_ring_does_nothing_but_compute(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & IMPURE
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]


def test_only_the_door_looks_into_a_client() -> None:
    private = ("._address", "._user_agent", "._headers")
    lookers = [m for m in modules() if any(word in (PACKAGE / f"{m}.py").read_text() for word in private)]
    assert [module for module in lookers if module != "privacy/door"] == []


def test_the_time_is_read_in_one_place() -> None:
    readers = [m for m in modules() if "datetime.now(" in (PACKAGE / f"{m}.py").read_text()]
    assert readers == ["clock"]
