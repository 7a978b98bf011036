"""The units of systemd: they are verified by systemd's own tools, and fit what the server expects."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.reverse import DEPLOY
from headcount.store import daykeys

HERE = Path(sys.executable).parent / "headcount"
UNITS = ("headcount.service", "headcount.socket")

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with a program that is there."""
    for name in UNITS:
        text = (DEPLOY / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/headcount/.venv/bin/headcount", str(HERE)))
    return [tmp_path / name for name in UNITS]


def test_systemd_finds_nothing_wrong_with_the_units(units: list[Path]) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_a_setting_that_it_does_not_know(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("ProtectHome=", "ProtectHouse="))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert "Unknown key 'ProtectHouse'" in done.stderr


@pytest.mark.parametrize(("threshold", "is_met"), [(20, True), (10, False)])
def test_the_service_is_hardened(units: list[Path], threshold: int, is_met: bool) -> None:
    """systemd's own measure of exposure, from 0 to 100. Below 10 would take a network of its own."""
    options = ("--offline=yes", "--no-pager", f"--threshold={threshold}")
    words = ["systemd-analyze", "security", *options, str(units[0])]
    assert (subprocess.run(words, capture_output=True).returncode == 0) is is_met


def test_day_keys_lie_where_the_service_may_write_and_stay_over_a_restart() -> None:
    service = settings("headcount.service")
    assert Path("/run", service["RuntimeDirectory"]) == daykeys.RAM_DISKS[0]
    assert (service["RuntimeDirectoryPreserve"], service["RuntimeDirectoryMode"]) == ("yes", "0700")
    assert (service["MemorySwapMax"], service["LimitCORE"]) == ("0", "0")


def settings(name: str) -> dict[str, str]:
    """The last value of each setting of the unit's own section."""
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign] # names are case-sensitive
    found.read(DEPLOY / name)
    return dict(found[name.partition(".")[2].capitalize()])
