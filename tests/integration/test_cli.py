"""The command line, as a person at a terminal and as a script sees it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from headcount import config
from headcount.cli.main import main
from headcount.store.geoip import SHIPPED
from terminal import refused, run, said, told

COMMANDS = [
    "serve", "stats", "doctor", "site", "site add", "site list", "site set", "site rename", "site reset",
    "site delete", "token", "token create", "token list", "token revoke", "product", "product add",
    "product list", "product show", "product set", "product rotate-key", "product release", "plan", "plan add",
    "plan list", "plan set", "license", "license issue", "license show", "license list", "license set",
    "license suspend", "license reinstate", "license revoke", "license renew", "license transfer",
    "license release", "license export", "license erase", "license file", "privacy", "privacy show",
    "privacy status", "privacy redact", "geoip", "geoip show", "geoip use", "audit", "backup", "restore",
]  # fmt: skip


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


# Help and errors


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    text = said(*command.split(), "--help")
    assert text == said(*command.split(), "-h")
    assert text.startswith(f"Usage: main {command}")
    assert "..." not in text.partition("Commands:")[2]  # no sentence is cut short


def test_help_needs_no_valid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_WORKERS", "many")
    assert "IANA name" in said("site", "add", "--help")


def test_every_command_is_known_here() -> None:
    def names(group: click.Group, prefix: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            yield prefix + name
            if isinstance(command, click.Group):
                yield from names(command, f"{prefix}{name} ")

    assert set(COMMANDS) <= set(names(main))


def test_all_faults_of_the_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_WORKERS", "many")
    monkeypatch.setenv("HEADCOUNT_NONSENSE", "1")
    assert refused("doctor").splitlines() == [
        "HEADCOUNT_WORKERS: must be a number from 1 to 64",
        "HEADCOUNT_NONSENSE: there is no such setting",
    ]


def test_why_postgres_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", "postgresql://headcount:hunter2@127.0.0.1:1/headcount")
    text = refused("site", "list")
    assert text.startswith("Postgres does not answer")
    assert "ConnectionRefusedError" in text
    assert "hunter2" not in text


# Sites


def test_a_site_is_added_and_its_tag_printed(database: None) -> None:
    options = ("--timezone", "Europe/Riga", "--props", "plan", "--props", "size", "--no-gpc")
    text = said("site", "add", "Example.com", *options)
    assert '<script defer src="http://127.0.0.1:8080/h.js" data-domain="example.com"></script>' in text
    lines = [line.split(maxsplit=1) for line in text.splitlines()[:9]]
    shown = {name: value.strip() for name, value in lines}
    assert (shown["timezone"], shown["props"], shown["gpc"]) == ("Europe/Riga", "plan, size", "no")


def test_a_site_is_told_as_json_like_by_the_api(database: None) -> None:
    site = told("site", "add", "example.com", "--retention-days", "7", "--query-params", "q")
    assert (site["retention_days"], site["query_params"], site["gpc"]) == (7, ["q"], True)
    assert told("site", "list") == [site]
    assert "id" not in site


def test_the_tag_has_the_origin_that_browsers_reach(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_PUBLIC_URL", "https://count.example.com")
    assert 'src="https://count.example.com/h.js"' in said("site", "add", "example.com")


def test_sites_are_listed(database: None) -> None:
    assert said("site", "list") == "There is no site yet: headcount site add DOMAIN\n"
    said("site", "add", "b.example", "--hostnames", "*.b.example")
    said("site", "add", "a.example", "--retention-days", "3")
    lines = [line.split() for line in said("site", "list").splitlines()]
    assert lines[1:] == [
        ["a.example", "Etc/UTC", "its", "own", "3", "honoured"],
        ["b.example", "Etc/UTC", "*.b.example", "30", "honoured"],
    ]


def test_what_is_not_given_stays_and_an_empty_list_is_empty(database: None) -> None:
    before = told(
        "site", "add", "a.example", "--props", "plan", "--hostnames", "x.example", "--retention-days", "3"
    )
    assert told("site", "set", "a.example") == before
    assert told("site", "set", "a.example", "--props", "") == {**before, "props": []}
    assert told("site", "set", "a.example", "--retention-days", "0")["retention_days"] is None


def test_a_new_time_zone_waits_and_can_be_taken_back(database: None) -> None:
    said("site", "add", "a.example")
    site = told("site", "set", "a.example", "--timezone", "Asia/Kolkata")
    assert (site["timezone"], site["next_timezone"]) == ("Etc/UTC", "Asia/Kolkata")
    assert "Etc/UTC → Asia/Kolkata" in said("site", "list")
    assert told("site", "set", "a.example", "--timezone", "Etc/UTC")["next_timezone"] is None


def test_a_site_is_renamed(database: None) -> None:
    before = told("site", "add", "a.example", "--props", "plan")
    after = told("site", "rename", "a.example", "b.example")
    assert (after["domain"], after["created_at"], after["props"]) == (
        "b.example",
        before["created_at"],
        ["plan"],
    )


@pytest.mark.parametrize(
    ("command", "done"),
    [("reset", "a.example starts again from zero.\n"), ("delete", "a.example is gone.\n")],
)
def test_what_cannot_be_undone_is_asked_first(database: None, command: str, done: str) -> None:
    said("site", "add", "a.example")
    result = run("site", command, "a.example", answer="n\n")
    assert (result.exit_code, "Delete" in result.stdout, len(told("site", "list"))) == (1, True, 1)
    assert said("site", command, "a.example", answer="y\n").endswith(done)
    assert len(told("site", "list")) == (1 if command == "reset" else 0)


def test_a_script_says_yes_beforehand(database: None) -> None:
    said("site", "add", "a.example")
    assert said("site", "reset", "a.example", "--yes") == "a.example starts again from zero.\n"
    assert said("site", "delete", "a.example", "--yes") == "a.example is gone.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "https://a.example"], "domain: must be a host name such as example.com"),
        (["add", "b.example"], "domain: the site b.example exists already"),
        (["add", "a.example", "--timezone", "Riga"], "timezone: must be an IANA name such as Europe/Riga"),
        (["add", "a.example", "--retention-days", "31"], "retention_days: must be from 1 to 30"),
        (["add", "a.example", "--hostnames", "a b"], "hostnames: holds hostnames such as shop.example.com"),
        (["set", "a.example", "--gpc"], "domain: there is no site a.example"),
        (["rename", "a.example", "c.example"], "domain: there is no site a.example"),
        (["reset", "a.example", "--yes"], "domain: there is no site a.example"),
        (["delete", "a.example", "--yes"], "domain: there is no site a.example"),
    ],
)
def test_a_fault_is_one_sentence(database: None, arguments: list[str], says: str) -> None:
    said("site", "add", "b.example")
    assert refused("site", *arguments).startswith(says)


# Tokens


def test_a_token_goes_to_stdout_alone(database: None) -> None:
    result = run("token", "create")
    assert (result.exit_code, result.stdout.startswith("hct_"), result.stdout.count("\n")) == (0, True, 1)
    assert "only time" in result.stderr


def test_tokens_are_listed_without_themselves_and_revoked(database: None) -> None:
    said("site", "add", "a.example")
    assert said("token", "list") == "There is no token yet: headcount token create --site DOMAIN\n"
    made = told("token", "create", "--site", "a.example", "--scopes", "stats:read,events:write")
    text = made.pop("token")
    assert told("token", "list") == [made]
    assert said("token", "list").splitlines()[1].split() == [
        made["id"],
        "a.example",
        "–",
        "stats:read,",
        "events:write",
    ]
    assert text not in said("token", "list")
    assert said("token", "revoke", made["id"]) == "It is revoked.\n"
    assert told("token", "list") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "--site", "a.example"], "site: there is no site a.example"),
        (
            ["create", "--scopes", "everything"],
            "scopes: must be a list of events:write, stats:read, sites:write",
        ),
        (["create", "--scopes", ""], "scopes: must name at least one of"),
        (["revoke", "7"], "token: there is no such token"),
        (["revoke", "9" * 30], "token: there is no such token"),
    ],
)
def test_a_fault_of_a_token_is_one_sentence(database: None, arguments: list[str], says: str) -> None:
    assert refused("token", *arguments).startswith(says)


# Privacy


def test_the_inventory_is_printed() -> None:
    assert "Postgres" in said("privacy", "show")
    entries = told("privacy", "show")
    assert len(entries) > 100
    assert all(entry["purpose"] for entry in entries)


def test_what_was_purged_and_what_is_there_is_printed(database: None) -> None:
    said("site", "add", "a.example")
    assert "day keys alive: none" in said("privacy", "status")
    assert told("privacy", "status") == {
        "oldest_raw_day": {"a.example": None},
        "purges": [],
        "gaps": [],
        "day_keys": [],
    }


def test_a_redaction_is_carried_out(database: None) -> None:
    said("site", "add", "a.example")
    text = said("privacy", "redact", "--site", "a.example", "--path", "/users/*")
    assert text.startswith("No stored count matches.")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--path", "/a", "--dimension", "page", "--value", "/a"],
        ["--dimension", "page"],
        ["--path", "/a", "--value", "b"],
    ],
)
def test_a_redaction_says_what_it_needs(arguments: list[str]) -> None:
    result = run("privacy", "redact", "--site", "a.example", *arguments)
    assert (result.exit_code, "give --path PATTERN" in result.stderr) == (2, True)


# Country file, settings


def test_the_country_file_in_use_is_shown() -> None:
    shown = told("geoip", "show")
    assert (shown["file"], shown["bytes"]) == (str(SHIPPED), SHIPPED.stat().st_size)
    assert "DB-IP" in shown["licence"]
    assert "DB-IP" in said("geoip", "show")


def test_another_country_file_is_put_to_use(tmp_path: Path) -> None:
    (tmp_path / "mine.mmdb").write_bytes(SHIPPED.read_bytes())
    used = told("geoip", "use", "mine.mmdb")
    assert used["file"] == str(tmp_path / "data" / "geoip.mmdb")
    assert told("geoip", "show") == used
    assert used["licence"] is None


def test_a_broken_country_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.mmdb").write_bytes(b"nothing")
    assert refused("geoip", "use", "mine.mmdb").startswith(
        "geoip_file: mine.mmdb is no country file that can be read"
    )
    assert told("geoip", "show")["file"] == str(SHIPPED)


def test_a_country_file_that_is_configured_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADCOUNT_GEOIP_FILE", str(SHIPPED))
    (tmp_path / "mine.mmdb").write_bytes(SHIPPED.read_bytes())
    assert "HEADCOUNT_GEOIP_FILE" in refused("geoip", "use", "mine.mmdb")


def test_the_doctor_tells_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", "postgresql://headcount:hunter2@localhost/headcount")
    shown = told("doctor")["settings"]
    assert (shown["HEADCOUNT_DATABASE_URL"], shown["HEADCOUNT_RATE_LIMIT"]) == ("***", "50")
    assert list(shown) == [name for name, _, _ in config.load().described()]
    assert "hunter2" not in run("doctor").output
