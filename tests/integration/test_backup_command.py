"""`headcount backup` and `headcount restore` at a terminal, with the PostgreSQL that Headcount brings along too."""

from __future__ import annotations

import json
import logging
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedding import copy
from headcount.store import archive, secret
from headcount.store.license_copy import LicenseCopy
from terminal import refused, run, said, told


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, a wide terminal, none of our own settings; the log as it was before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(tmp_path / "data"))
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.fixture
def database(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", dsn)


@pytest.fixture
def sold(database: None) -> None:
    """There is a site and a product, whose keys are encrypted under the secret of the data directory."""
    said("site", "add", "a.example")
    said("product", "add", "acme", "--plan", "team")


def elsewhere(folder: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From here on commands are given on another machine."""
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(folder / "another"))
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", dsn)
    return folder / "another"


def test_a_backup_is_for_its_owner_alone_and_says_what_it_lacks(sold: None, tmp_path: Path) -> None:
    text = said("backup", "a.zip")
    assert text.startswith("5 rows of 19 tables are written to a.zip.\n")
    assert "does not hold HEADCOUNT_SECRET_KEY" in text
    assert "raw rows" not in text
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_a_backup_with_raw_rows_says_until_when_it_may_be_kept(sold: None) -> None:
    assert "delete it by" in said("backup", "a.zip", "--with-raw")
    assert told("backup", "a.zip", "--with-raw")["tables"]["hit"] == 0


def test_a_backup_goes_to_the_standard_output_and_what_is_said_beside_it(sold: None, tmp_path: Path) -> None:
    result = run("backup", "-", "--json")
    assert result.exit_code == 0
    (tmp_path / "b.zip").write_bytes(result.stdout_bytes)
    with archive.opened(tmp_path / "b.zip") as found:
        assert {m.table: m.rows for m in found.manifest.members} == json.loads(result.stderr)["tables"]


def test_a_device_is_written_to_and_not_replaced(sold: None) -> None:
    assert refused("backup", "/dev/full") == "file: cannot be written: No space left on device"
    assert Path("/dev/full").is_char_device()


def test_a_backup_that_cannot_be_written_says_why(sold: None, tmp_path: Path) -> None:
    (tmp_path / "old.zip").mkdir()
    assert refused("backup", "nowhere/a.zip") == "file: cannot be written: No such file or directory"
    assert refused("backup", "old.zip") == "file: cannot be written: Is a directory"


def test_a_secret_that_is_not_there_cannot_be_taken(database: None) -> None:
    assert "There is no secret to take" in refused("backup", "a.zip", "--with-secret")


def test_a_new_machine_without_the_secret_is_told_what_it_needs(
    sold: None, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("backup", "a.zip")
    there = elsewhere(tmp_path, empty, monkeypatch)
    assert "HEADCOUNT_SECRET_KEY is not the one" in said("restore", "a.zip")
    assert not (there / secret.FILE).exists()
    monkeypatch.setenv("HEADCOUNT_SECRET_KEY", (tmp_path / "data" / secret.FILE).read_text())
    assert "HEADCOUNT_SECRET_KEY" not in said("restore", "a.zip", "--replace")


def test_a_backup_with_the_secret_is_all_that_a_new_machine_needs(
    sold: None, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "guard it like a password" in said("backup", "a.zip", "--with-secret")
    there = elsewhere(tmp_path, empty, monkeypatch)
    assert told("restore", "a.zip")["secret_fits"] is True
    assert (there / secret.FILE).read_text() == (tmp_path / "data" / secret.FILE).read_text()
    said("product", "rotate-key", "acme")  # which the root key signs


def test_a_secret_that_is_there_is_never_replaced(
    sold: None, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("backup", "a.zip", "--with-secret")
    there = elsewhere(tmp_path, empty, monkeypatch)
    own = secret.load("", there).text
    assert told("restore", "a.zip")["secret_fits"] is False
    assert secret.load("", there).text == own


def test_a_database_in_use_is_named_with_what_to_do(sold: None) -> None:
    said("backup", "a.zip")
    assert refused("restore", "a.zip").startswith("database: holds rows already, in site, product")
    assert told("restore", "a.zip", "--replace")["tables"]["site"] == 1


@pytest.mark.parametrize("name", ["nothing.zip", "text.zip", "."])
def test_what_is_no_backup_is_refused_before_a_database_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "text.zip").write_text("hello")
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert refused("restore", name).startswith("file: ")


def test_the_copy_of_licenses_is_made_whole_after_a_restore(sold: None, tmp_path: Path) -> None:
    said("backup", "a.zip")
    copied = LicenseCopy(tmp_path / "data" / "licenses.db")
    copied.replace([], [], datetime.now(UTC))
    assert copied.changed_since() is not None
    said("restore", "a.zip", "--replace")
    assert copied.changed_since() is None
    copied.close()
    with closing(sqlite3.connect(tmp_path / "data" / "licenses.db")) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.timeout(60)
def test_a_backup_moves_from_an_own_postgres_to_a_fresh_one(
    data_dir: Path, initialised: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(data_dir))
    said("site", "add", "a.example")
    said("backup", "a.zip")
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(copy(initialised, place / "fresh")))
    assert "are restored as they were at" in said("restore", "a.zip")
    assert [site["domain"] for site in told("site", "list")] == ["a.example"]
