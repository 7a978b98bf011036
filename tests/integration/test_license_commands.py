"""`headcount product`, `plan` and `license`, as a vendor at a terminal and a script see them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headcount import config
from headcount.licensed import DAY
from headcount.licensing import keys
from selling import Air
from terminal import refused, run, said, told

UNTIL = "2030-12-31T12:00:00Z"


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, a wide terminal, a database; the log as it was before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HEADCOUNT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HEADCOUNT_DATABASE_URL", dsn)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.fixture
def shop() -> Any:
    """The product shop with the plan team of two seats."""
    return told("product", "add", "shop", "--plan", "team", "--seats", "2")


def issue(*options: str) -> Any:
    return told("license", "issue", "--product", "shop", "--plan", "team", *options)


def table(text: str) -> dict[str, str]:
    """The names and values that were printed."""
    lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in text.splitlines() if "  " in line.strip()]
    return {name: value for name, value in lines}


def request(license: Any, shop: Any, more: Mapping[str, Any] = {}) -> Air:
    """The request file of an install, written to request.json."""
    air = Air.of_text(license["key"], shop["root_key"])
    Path("request.json").write_text(json.dumps({**air.request, **more}))
    return air


# Products


def test_a_product_is_added_and_its_root_key_printed() -> None:
    text = said("product", "add", "shop", "--plan", "team", "--seats", "5", "--entitlements", "sso")
    (root,) = re.findall(r"^    ([A-Za-z0-9_-]{43})$", text, re.MULTILINE)
    assert told("product", "list")[0]["root_key"] == root
    assert (
        table(text).items() >= {"plan": "team", "seats": "5", "entitlements": "sso", "lease": "14d"}.items()
    )
    assert text.endswith("Now: headcount license issue --product shop --plan team\n")


def test_a_product_without_a_plan_tells_what_is_next() -> None:
    assert said("product", "add", "shop").endswith("Now: headcount plan add PLAN --product shop --seats 5\n")


def test_a_product_is_told_as_json_like_by_the_api(shop: Any) -> None:
    assert (shop["name"], len(shop["root_key"]), shop["plans"][0]["seats"]) == ("shop", 43, 2)
    assert told("product", "list") == [shop]
    assert told("product", "show", "shop") == shop


def test_products_are_listed() -> None:
    assert said("product", "list").startswith("There is no product yet: headcount product add NAME")
    said("product", "add", "shop", "--customer-fields", "--plan", "team")
    root = told("product", "list")[0]["root_key"]
    assert said("product", "list").splitlines()[1].split() == ["shop", "team", "0", "kept", root]


def test_a_product_is_shown_with_keys_plans_and_releases(shop: Any) -> None:
    said("product", "release", "shop", "v2.4.1", "--url", "https://a.example/2.4.1", "--security")
    text = said("product", "show", "shop")
    for part in (shop["root_key"], *(key["kid"] for key in shop["keys"]), "team", "https://a.example/2.4.1"):
        assert part in text


def test_customer_fields_are_switched_on_and_asked_about_before_they_go(shop: Any) -> None:
    assert "keeps a name" in said("product", "set", "shop", "--customer-fields")
    issue("--customer-name", "Erika", "--customer-email", "e@a.example")
    result = run("product", "set", "shop", "--no-customer-fields", answer="n\n")
    assert (result.exit_code, "Delete the names" in result.stdout) == (1, True)
    assert told("product", "set", "shop", "--no-customer-fields", "--yes")["emptied"] == 1
    assert "those of 0 licenses" in said("product", "set", "shop", "--no-customer-fields", "--yes")


def test_keys_are_rotated_with_an_overlap_or_at_once(shop: Any) -> None:
    assert "is believed for 30 more days" in said("product", "rotate-key", "shop")
    assert len(told("product", "rotate-key", "shop", "--overlap-days", "7")["keys"]) == 6
    assert "is believed no longer" in said("product", "rotate-key", "shop", "--now")
    after = told("product", "show", "shop")
    assert (len(after["keys"]), after["root_key"]) == (2, shop["root_key"])


def test_a_release_is_told_and_withdrawn(shop: Any) -> None:
    text = said(
        "product", "release", "shop", "2.4", "--notes", "Mends it", "--plans", "team", "--minimum", "2.0"
    )
    assert table(text).items() >= {"version": "2.4", "notes": "Mends it", "plans": "team"}.items()
    assert told("product", "release", "shop", "2.5", "--channel", "beta")["channel"] == "beta"
    assert said("product", "release", "shop", "2.4", "--withdraw") == "shop 2.4 is withdrawn from stable.\n"
    assert [one["version"] for one in told("product", "show", "shop")["releases"]] == ["2.5"]


# Plans


def test_a_plan_is_added_listed_and_changed(shop: Any) -> None:
    options = ("--check-interval", "12h", "--lease", "3d", "--grace", "90", "--environments", "staging")
    text = said("plan", "add", "solo", "--product", "shop", "--seats", "1", *options)
    assert table(text).items() >= {
        "seats": "1", "check interval": "12h", "lease": "3d", "grace": "90s", "environments without seats": "staging",
    }.items()  # fmt: skip
    assert said("plan", "list").splitlines()[1].split() == ["shop", "solo", "1", "12h", "3d", "90s", "–"]
    changed = told("plan", "set", "solo", "--product", "shop", "--seats", "none", "--environments", "")
    assert (changed["seats"], changed["environments"], changed["grace"]) == (None, [], 90)
    assert [plan["name"] for plan in told("plan", "list", "--product", "shop")] == ["solo", "team"]


def test_without_plans_the_list_says_how_to_add_one() -> None:
    assert said("plan", "list") == "There is no plan yet: headcount plan add NAME --product PRODUCT\n"


def test_entitlements_are_true_numbers_and_texts(shop: Any) -> None:
    given = ("sso", "projects=50", "audit=false", "region=eu", "level=-3", "note=a=b")
    options = [part for one in given for part in ("--entitlements", one)]
    changed = told("plan", "set", "team", "--product", "shop", *options)
    assert changed["entitlements"] == {
        "sso": True, "projects": 50, "audit": False, "region": "eu", "level": -3, "note": "a=b",
    }  # fmt: skip
    text = table(said("plan", "set", "team", "--product", "shop"))
    assert text["entitlements"].startswith("sso, ")
    assert "audit=false" in text["entitlements"]
    assert told("plan", "set", "team", "--product", "shop", "--entitlements", "")["entitlements"] == {}


@pytest.mark.parametrize(
    ("written", "seconds"), [("3600", 3600), ("90s", 90), ("5m", 300), ("12h", 43_200), ("1d", DAY)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(shop: Any, written: str, seconds: int) -> None:
    assert told("plan", "set", "team", "--product", "shop", "--grace", written)["grace"] == seconds


# Licenses


def test_a_license_is_issued_and_only_its_key_printed(shop: Any) -> None:
    result = run("license", "issue", "--product", "shop", "--plan", "team")
    key = result.stdout.strip()
    assert (result.exit_code, keys.shown(keys.parse(key))) == (0, key)
    assert "this is the only time it is shown" in result.stderr
    shown = told("license", "show", key)
    assert f"The id of the license is {shown['id']}." in result.stderr
    assert key not in said("license", "show", key) + said("license", "list")


def test_a_license_is_told_as_json_like_by_the_api(shop: Any) -> None:
    issued = issue("--customer-ref", "C-17", "--seats", "9", "--expires-at", UNTIL)
    key = issued.pop("key")
    assert (issued["seats"], issued["expires_at"], issued["customer_ref"]) == (9, UNTIL, "C-17")
    assert told("license", "list") == [issued]
    for name in (key, key.lower(), issued["id"]):
        assert told("license", "show", name) == {**issued, "instances": []}


def test_a_license_is_shown(shop: Any) -> None:
    issued = issue("--customer-ref", "C-17", "--expires-at", UNTIL)
    assert table(said("license", "show", issued["id"])).items() >= {
        "id": issued["id"], "product": "shop", "plan": "team", "status": "active", "seats taken": "0 of 2",
        "ends": "2030-12-31 12:00 UTC", "customer ref": "C-17",
    }.items()  # fmt: skip


def test_licenses_are_listed(shop: Any) -> None:
    assert said("license", "list").startswith("There is no such license")
    ours, other = issue("--customer-ref", "C-1"), issue()
    said("license", "suspend", other["id"])
    for option, value, expected in (
        ("--customer-ref", "C-1", ours), ("--status", "suspended", other), ("--status", "active", ours),
    ):  # fmt: skip
        assert [one["id"] for one in told("license", "list", option, value)] == [expected["id"]]
    assert len(told("license", "list", "--product", "shop", "--plan", "team")) == 2
    lines = [line.split() for line in said("license", "list").splitlines()]
    assert [ours["id"], "shop", "team", "active", "0", "of", "2", "never", "C-1"] in lines


def test_a_license_is_suspended_reinstated_and_revoked(shop: Any) -> None:
    id = issue()["id"]
    assert told("license", "suspend", id)["status"] == "suspended"
    assert refused("license", "suspend", id) == "status: the license is suspended already"
    assert table(said("license", "reinstate", id))["status"] == "active"
    result = run("license", "revoke", id, answer="n\n")
    assert (result.exit_code, "for good" in result.stdout) == (1, True)
    assert told("license", "revoke", id, "--yes")["status"] == "revoked"
    assert refused("license", "reinstate", id) == "status: a license that is revoked cannot be reinstated"


def test_a_license_is_renewed_and_changed(shop: Any) -> None:
    id = issue("--expires-at", UNTIL)["id"]
    assert told("license", "renew", id, "--for", "1d")["expires_at"] == "2031-01-01T12:00:00Z"
    assert told("license", "renew", id, "--until", "2031-06-30")["expires_at"] == "2031-07-01T00:00:00Z"
    assert told("license", "renew", id, "--never")["expires_at"] is None
    changed = told("license", "set", id, "--seats", "7", "--customer-ref", "C-2")
    assert (changed["seats"], changed["customer_ref"]) == (7, "C-2")
    assert told("license", "set", id, "--seats", "none")["seats"] is None


@pytest.mark.parametrize("options", [[], ["--never", "--for", "1d"], ["--until", UNTIL, "--never"]])
def test_a_renewal_needs_one_end(options: list[str]) -> None:
    result = run("license", "renew", "1", *options)
    assert (result.exit_code, "Give one of --for, --until and --never" in result.stderr) == (2, True)


def test_a_license_lasts_from_now_on(shop: Any) -> None:
    issued = issue("--for", "365d")
    assert issued["expires_at"][:4] > issued["created_at"][:4]


def test_a_license_is_transferred(shop: Any) -> None:
    id = issue("--customer-ref", "C-1")["id"]
    assert run("license", "transfer", id, "--customer-ref", "D-1", answer="n\n").exit_code == 1
    assert told("license", "transfer", id, "--customer-ref", "D-1", "--yes")["customer_ref"] == "D-1"
    assert refused("license", "transfer", id, "--yes").startswith("customer_ref: is required")


def test_a_license_file_is_made_and_holds_a_seat_until_it_is_released(shop: Any) -> None:
    license = issue()
    air = request(license, shop)
    payload = air.read(json.loads(said("license", "file", "request.json", "--days", "30")))
    assert payload["valid_until"] == payload["server_time"] + 30 * DAY
    assert air.read(told("license", "file", "request.json"))["status"] == "active"
    assert said("license", "file", "request.json", "-o", "license.json") == "license.json is written.\n"
    assert air.read(json.loads(Path("license.json").read_text()))["seats"] == {"used": 1, "limit": 2}
    digits = air.digest.hex()[:12]
    assert digits in said("license", "show", license["id"])
    assert said("license", "release", license["key"], digits) == "1 seat freed.\n"
    assert told("license", "release", license["id"], "--all") == {"released": 0}
    assert told("license", "show", license["id"])["instances"][0]["seat"] is False


def test_a_request_may_come_from_standard_input(shop: Any) -> None:
    air = request(issue(), shop)
    assert air.read(json.loads(said("license", "file", "-", answer=Path("request.json").read_text())))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key_digest": "0" * 64}, "key_digest: there is no license of this key"),
        ({"product": "desk"}, "product: is not the one that the license is for"),
        ({"key": "HC-1"}, "key: there is only product, key_digest, instance_digest, version"),
    ],
)
def test_a_request_file_with_a_fault_is_refused(shop: Any, more: Any, says: str) -> None:
    request(issue(), shop, more)
    assert refused("license", "file", "request.json").startswith(says)


@pytest.mark.parametrize("text", ["", "[]", "{", "x" * 9000])
def test_what_is_no_request_file_is_refused(text: str) -> None:
    Path("request.json").write_text(text)
    assert refused("license", "file", "request.json").startswith("request: ")


def test_a_file_that_cannot_be_written_is_told(shop: Any) -> None:
    assert refused("license", "export", issue()["id"], "-o", "no/such/folder").startswith(
        "output: cannot be written"
    )


def test_a_license_is_exported_and_erased(shop: Any) -> None:
    license = issue("--customer-ref", "C-17")
    request(license, shop)
    said("license", "file", "request.json")
    assert told("license", "export", license["id"])["license"]["customer_ref"] == "C-17"
    said("license", "export", license["id"], "-o", "export.json")
    assert len(json.loads(Path("export.json").read_text())["instances"]) == 1
    assert run("license", "erase", license["id"], answer="n\n").exit_code == 1
    text = said("license", "erase", license["id"], "--yes")
    assert text.startswith("Deleted: the license, 1 install, 0 heartbeats")
    assert "- daily counts of the product: " in text
    assert refused("license", "show", license["id"]) == "license: there is no such license"
    assert told("license", "erase", issue()["id"], "--yes")["erased"]["licenses"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("product add Shop", "name: has 1 to 63 of the characters a-z 0-9 . _ -"),
        ("product add shop", "name: the product shop exists already"),
        ("product add desk --seats 5", "plan: is required for --seats"),
        ("product add desk --plan team --lease 5", "lease: must be at least 3 times check_interval"),
        ("product show desk", "product: there is no product desk"),
        ("product set shop", "customer_fields: is required"),
        ("product rotate-key shop --overlap-days 0", "overlap_days: must be from 1 to 365"),
        ("product rotate-key shop --overlap-days 5 --now", "overlap_days: and --now cannot be given together"),
        ("product release shop newest", "version: must be a version such as 2.4.1"),
        ("product release shop 2.4 --plans gold", "plans: the product has no plan gold"),
        ("product release shop 2.4 --withdraw", "version: the channel stable has no release 2.4"),
        ("plan add team --product shop", "name: the plan team exists already"),
        ("plan add solo --product desk", "product: there is no product desk"),
        ("plan add solo --product shop --check-interval 5s", "check_interval: must be from 10 to 2592000 seconds"),
        ("plan set team --product shop --environments production", "environments: never has production"),
        ("plan set gold --product shop --seats 1", "plan: the product has no plan gold"),
        ("license issue --product desk --plan team", "product: there is no product desk"),
        ("license issue --product shop --plan gold", "plan: the product has no plan gold"),
        ("license issue --product shop --plan team --customer-name E", "customer_name: is not kept: switch it on"),
        ("license issue --product shop --plan team --expires-at x", "expires_at: must be a date such as 2030-12-31"),
        ("license show 12", "license: there is no such license"),
        ("license show shop", "license: must be the id or the key of a license"),
        ("license show HC-12", "key: must be HC- and six groups"),
        ("license release ID 00", "install: the license has no such install"),
        ("license set ID --plan gold", "plan: the product has no plan gold"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence_that_names_the_field(shop: Any, arguments: str, says: str) -> None:
    id = issue()["id"]
    assert refused(*arguments.replace("ID", id).split()).startswith(says)
    assert (told("product", "show", "shop"), len(told("license", "list"))) == (shop, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("plan add solo --product shop --lease 3w", "'3w' is no duration such as 30s, 5m, 12h or 1d"),
        ("plan add solo --product shop --seats -1", "'-1' is neither a number nor none"),
        ("plan add solo", "Missing option '--product'"),
        ("license release 12", "Give an INSTALL, or --all."),
        ("license release 12 00 --all", "Give an INSTALL, or --all."),
        ("license file nowhere.json", "nowhere.json"),
    ],
)
def test_a_command_that_is_mistyped_is_explained(arguments: str, says: str) -> None:
    result = run(*arguments.split())
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_the_secret_is_in_the_data_directory_and_nowhere_told(shop: Any, tmp_path: Path) -> None:
    secret = (tmp_path / "data" / "secret.key").read_text().strip()
    assert secret not in said("product", "show", "shop") + run("doctor").output
    assert config.load().secret_key == ""


# Tokens


def test_a_token_is_made_for_a_product(shop: Any) -> None:
    made = told("token", "create", "--product", "shop", "--scopes", "licenses:write,stats:read")
    assert (made["site"], made["product"], made["scopes"]) == (None, "shop", ["licenses:write", "stats:read"])
    assert said("token", "list").splitlines()[1].split()[1:3] == ["–", "shop"]
    assert refused("token", "create", "--product", "desk") == "product: there is no product desk"
    told("site", "add", "a.example")
    assert refused("token", "create", "--site", "a.example", "--scopes", "licenses:write").startswith(
        "scopes: "
    )
