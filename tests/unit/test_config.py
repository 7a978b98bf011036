"""Settings: read once, from the environment and a file; all faults are told together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from headcount import config, errors
from headcount.config import Config

SECRET = "postgresql://headcount:hunter2@db.example/headcount"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(**given: str) -> Config:
    return config.load({f"HEADCOUNT_{name}": value for name, value in given.items()})


def faults(**given: str) -> list[str]:
    with pytest.raises(errors.BadConfig) as caught:
        load(**given)
    return caught.value.message.splitlines()


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    found = load()
    assert (found.database_url, found.data_dir, found.listen) == ("", tmp_path / "data", ("127.0.0.1", 8080))
    assert (found.retention_days, found.rate_limit, found.rate_burst, found.workers) == (30, 50.0, 200, 2)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LISTEN", "192.0.2.1:80", ("192.0.2.1", 80)),
        ("LISTEN", "[::1]:8080", ("::1", 8080)),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        ("TRUSTED_PROXIES", "192.0.2.7/24", (ip_network("192.0.2.0/24"),)),
        ("TRUSTED_PROXIES", "", ()),
        ("ADDRESS_HEADER", "X-Forwarded-For", "X-Forwarded-For"),
        ("RATE_LIMIT", "0", 0.0),
        ("RATE_LIMIT", "0.5", 0.5),
        ("RETENTION_DAYS", "1", 1),
        ("PUBLIC_URL", "https://count.example.com", "https://count.example.com"),
        ("DATABASE_URL", SECRET, SECRET),
        ("DATABASE_URL", "postgres:///headcount?host=/run/postgresql", "postgres:///headcount?host=/run/postgresql"),
        ("DATA_DIR", "/srv/a folder", Path("/srv/a folder")),
        ("LOG_LEVEL", "debug", "debug"),
        ("LOG_FORMAT", "json", "json"),
        ("METRICS_TOKEN", "0123456789abcdef", "0123456789abcdef"),
    ],
)  # fmt: skip
def test_a_setting_is_read_from_the_environment(name: str, text: str, expected: Any) -> None:
    assert getattr(load(**{name: text}), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("LISTEN", "8080", "must be host:port"),
        ("LISTEN", ":8080", "must be host:port"),
        ("LISTEN", "localhost:http", "must be host:port"),
        ("LISTEN", "localhost:65536", "must be host:port"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy.example", "'proxy.example' does not appear to be"),
        ("ADDRESS_HEADER", "X-Real-IP, X-Forwarded-For", "must be one header name"),
        ("ADDRESS_HEADER", "Forwarded", "is not read"),
        ("ADDRESS_HEADER", "X-Real-IP", "from HEADCOUNT_TRUSTED_PROXIES alone, and there are none"),
        ("RETENTION_DAYS", "31", "must be from 1 to 30"),
        ("RETENTION_DAYS", "0", "must be from 1 to 30"),
        ("RETENTION_DAYS", "many", "must be a number from 1 to 30"),
        ("RATE_LIMIT", "-1", "must be from 0"),
        ("RATE_LIMIT", "nan", "must be from 0"),
        ("RATE_LIMIT", "inf", "must be from 0"),
        ("WORKERS", "", "must be a number from 1 to 64"),
        ("PUBLIC_URL", "count.example.com", "must be an origin"),
        ("PUBLIC_URL", "https://example.com/count", "must be an origin"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost", "must be a URL such as postgresql://"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "must be one of text, json"),
        ("METRICS_TOKEN", "too short", "must be 16 to 200 printable"),
        ("WORKER", "3", "there is no such setting"),
        ("DATABASE_URL_FILE", "/nowhere", "No such file"),
        ("CONFIG", "/nowhere.toml", "No such file"),
    ],
)
def test_a_fault_names_the_variable_and_what_is_wanted(name: str, text: str, says: str) -> None:
    (line,) = faults(**{name: text})
    assert says in line
    assert name.removesuffix("_FILE") in line or text in line
    assert "hunter2" not in line


def test_another_header_needs_proxies_that_are_believed() -> None:
    assert load(ADDRESS_HEADER="X-Real-IP", TRUSTED_PROXIES="::1").address_header == "X-Real-IP"


def test_all_faults_are_told_together() -> None:
    Path("headcount.toml").write_text("colour = 'red'\nworkers = 0\n")
    found = faults(LISTEN="here", RETENTION_DAYS="99", NONSENSE="1")
    assert [line.partition(":")[0] for line in found] == [
        "colour",
        "HEADCOUNT_LISTEN",
        "HEADCOUNT_WORKERS",
        "HEADCOUNT_RETENTION_DAYS",
        "HEADCOUNT_NONSENSE",
    ]


def test_the_environment_wins_over_the_file() -> None:
    Path("headcount.toml").write_text(
        'workers = 3\nretention_days = 7\nlisten = "127.0.0.1:9000"\ntrusted_proxies = ["10.0.0.0/8", "::1"]\n'
    )
    found = load(WORKERS="4")
    assert (found.workers, found.retention_days, found.listen) == (4, 7, ("127.0.0.1", 9000))
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


def test_the_file_can_be_another_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("workers = 5")
    assert load(CONFIG=str(tmp_path / "mine.toml")).workers == 5


@pytest.mark.parametrize("text", [b"workers =", b"\xff"])
def test_a_file_that_cannot_be_read_is_a_fault(text: bytes) -> None:
    Path("headcount.toml").write_bytes(text)
    assert faults()[0].startswith("headcount.toml: ")


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    assert load(DATABASE_URL_FILE=str(tmp_path / "secret")).database_url == SECRET


def test_a_secret_given_twice_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (line,) = faults(DATABASE_URL=SECRET, DATABASE_URL_FILE=str(tmp_path / "secret"))
    assert "given twice" in line
    assert "hunter2" not in line


def test_what_was_understood_is_described_with_secrets_starred() -> None:
    described = {name: value for name, value, _ in load(DATABASE_URL=SECRET, LISTEN="[::1]:80").described()}
    assert (described["HEADCOUNT_DATABASE_URL"], described["HEADCOUNT_LISTEN"]) == ("***", "[::1]:80")
    assert len(described) == len(fields(Config))


def test_a_setting_described_can_be_given_again() -> None:
    found = load(TRUSTED_PROXIES="10.0.0.0/8,::1", RATE_LIMIT="2.5", LISTEN="[::]:80")
    assert config.load({name: value for name, value, _ in found.described()}) == found


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"LISTEN": "0.0.0.0:80"}, "http://localhost:80"),
        ({"LISTEN": "[::]:80"}, "http://localhost:80"),
        ({"LISTEN": "[::1]:80"}, "http://[::1]:80"),
        ({"PUBLIC_URL": "https://count.example.com"}, "https://count.example.com"),
    ],
)
def test_the_origin_is_what_browsers_reach(given: dict[str, str], origin: str) -> None:
    assert load(**given).origin == origin


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        load().workers = 3  # type: ignore[misc] # what is forbidden
