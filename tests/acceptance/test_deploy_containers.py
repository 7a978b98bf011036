"""What can be known of the container files without an engine: their form, and that what they copy is enough."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from acceptance.reverse import DEPLOY
from headcount import config
from headcount.store import daykeys

ROOT = DEPLOY.parent


def instructions() -> list[tuple[str, list[str]]]:
    """(instruction, words) of the Dockerfile, lines that go on joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [(words[0], words[1:]) for words in lines]


def copied() -> list[str]:
    """What is copied from the checkout."""
    found = [words[:-1] for name, words in instructions() if name == "COPY" and "--from=build" not in words]
    return [source for sources in found for source in sources]


def compose() -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_compose_fits_its_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(DEPLOY / "compose.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_compose_names_only_settings_secrets_and_networks_that_there_are() -> None:
    described = {name for name, _, _ in config.load({}).described()}
    for service in compose()["services"].values():
        given = service["environment"]
        assert isinstance(given, dict)
        settings = {name.removesuffix("_FILE") for name in given if name.startswith("HEADCOUNT_")}
        assert settings - {"HEADCOUNT_UPSTREAM"} <= described
        files = [value for name, value in given.items() if name.endswith("_FILE")]
        assert files == [f"/run/secrets/{name}" for name in service.get("secrets", [])]  # type: ignore[attr-defined] # YAML
        assert set(service.get("secrets", [])) <= compose()["secrets"].keys()  # type: ignore[call-overload] # YAML
        assert set(service["networks"]) <= compose()["networks"].keys()  # type: ignore[call-overload] # YAML


def test_compose_keeps_day_keys_in_memory_and_memory_off_the_disk() -> None:
    service = compose()["services"]["headcount"]
    assert isinstance(service["tmpfs"], list)
    assert service["tmpfs"][0].partition(":")[0] == str(daykeys.RAM_DISKS[0])
    assert service["mem_limit"] == service["memswap_limit"]
    assert (service["read_only"], service["ulimits"]) == (True, {"core": 0, "nofile": 65536})


def test_the_dockerfile_is_well_formed() -> None:
    names = [name for name, _ in instructions()]
    assert set(names) <= set(
        [
            "FROM",
            "WORKDIR",
            "RUN",
            "COPY",
            "ENV",
            "USER",
            "VOLUME",
            "EXPOSE",
            "HEALTHCHECK",
            "ENTRYPOINT",
            "CMD",
        ]
    )
    stages = [words[2] for name, words in instructions() if name == "FROM" and len(words) == 3]
    used = re.findall(r"--from=(\w+)", (DEPLOY / "Dockerfile").read_text())
    assert stages == used == ["build"]
    for name, words in instructions():
        if name in ("ENTRYPOINT", "CMD") or "CMD" in words:
            json.loads(" ".join(words[words.index("CMD") + 1 :] if "CMD" in words else words))
    assert ("USER", ["headcount"]) in instructions()[
        instructions().index(("FROM", ["python:3.11-slim-bookworm"])) :
    ]


def test_the_context_is_what_is_copied() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line[1:] for line in lines if line.startswith("!")] == copied()


@pytest.mark.timeout(120)
def test_what_the_dockerfile_copies_is_enough_to_install(tmp_path: Path) -> None:
    """The steps of the Dockerfile, but for the dependencies: what is installed starts, with all that it serves."""
    source, target = tmp_path / "src", tmp_path / "installed"
    for name in copied():
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place)
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True)
    script = "from headcount import assets; from headcount.store import queries; from headcount.web import script; "
    script += "from headcount.cli import main; print(len(script.load().plain) > 500, main.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True", str(target / "headcount" / "cli" / "main.py")], done.stderr
