"""The sample clients against a server that answers rightly, or lies in one way: all four, as real processes.

The sentences follow the mistakes that were seen elsewhere: answers that are not signed, replayed, of somebody else,
or signed by whoever; software that stops because its license server does.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acceptance.license_clients import CLIENTS, FILES, missing, run_client
from acceptance.license_fake import DAY, KEY, PRODUCT, Fake, Reply, SigningKey, about, encode
from acceptance.server import libfaketime

pytestmark = pytest.mark.timeout(240)

HOUR = 3600
Question = dict[str, Any]
Lie = Callable[..., Reply]
NO = ("expired", "suspended", "revoked", "over_seats", "unknown", "wrong_product")
OF_THE_SYSTEM = {
    "version": "2.4.1",
    "environment": "production",
    "channel": "stable",
    "os": platform.system().lower(),
    "arch": platform.machine(),
}
SENT = {"key", "product", "instance", "nonce", "token", "keys", *OF_THE_SYSTEM}
HEADERS = {"host", "content-type", "content-length", "user-agent", "connection"} | {
    name
    for name in ("accept", "accept-encoding", "accept-language", "sec-fetch-mode")  # added by the libraries
}
GARBAGE: list[object] = [b"", b"\xff{", [], None, {"answer": 7}, {"answer": "a.b.c"}]


@dataclasses.dataclass
class Install:
    """One install of the vendor's software, written in this language, with a state folder of its own."""

    language: str
    fake: Fake
    folder: Path

    def check(self, **more: Any) -> dict[str, Any]:
        """Ask now."""
        return self.run("check", **more)

    def status(self, **more: Any) -> dict[str, Any]:
        """Ask if it is time to."""
        return self.run("status", **more)

    def run(self, call: str, **more: Any) -> dict[str, Any]:
        root = {"url": self.fake.url, "root_key": self.fake.root.public(), "product": PRODUCT, "key": KEY}
        return run_client(self.language, call=call, **{**root, "state_dir": self.folder, **more})

    @property
    def cache_file(self) -> Path:
        digest = about(KEY, "")["key_digest"]
        return self.folder / f"headcount-license-{digest[:8]}.json"

    @property
    def cache(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self.cache_file.read_text())
        return kept

    def forge(self, **changes: Any) -> None:
        """Write into the cache, as a customer can."""
        self.cache_file.write_text(json.dumps({**self.cache, **changes}))


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        yield fake


@pytest.fixture(params=FILES)
def language(request: pytest.FixtureRequest) -> str:
    language: str = request.param
    if why := missing(language):
        pytest.skip(why)
    return language


@pytest.fixture
def install(language: str, fake: Fake, tmp_path: Path) -> Install:
    return Install(language, fake, tmp_path / "state")


@pytest.fixture
def faketime() -> None:
    if libfaketime() is None:
        pytest.skip("needs faketime: apt-get install faketime")


# --- a right answer


def test_it_accepts_a_right_answer(install: Install) -> None:
    found = install.check()
    assert (found["status"], found["allowed"], found["conclusive"], found["problem"]) == (
        "active",
        True,
        True,
        None,
    )
    assert found["entitlements"] == {"sso": True, "projects": 12, "support": 'e-mail, "best effort"'}
    assert (found["plan"], found["seats"], found["expires_at"]) == ("team", {"used": 3, "limit": 5}, None)


def test_it_asks_at_the_first_call_by_itself(install: Install) -> None:
    assert install.status()["status"] == "active"


def test_it_tells_of_an_update(install: Install) -> None:
    update = {
        "version": "2.5.0",
        "url": "https://acme.example/2.5.0",
        "notes": "",
        "security": True,
        "minimum": "2",
    }
    install.fake.says_always(update=update)
    found = install.check()["update"]
    assert (found["version"], found["url"], found["security"]) == ("2.5.0", update["url"], True)


def test_it_takes_a_key_as_people_type_it(install: Install) -> None:
    assert install.check(key=f" {KEY.lower().replace('-', ' ').replace('0', 'o')} ")["status"] == "active"


def test_it_sends_the_token_of_the_last_answer(install: Install) -> None:
    install.fake.says_always(token="the-first_one")
    install.check()
    install.check()
    assert [question.get("token") for question in install.fake.asked] == [None, "the-first_one"]


def test_it_asks_for_the_key_set_each_time(install: Install) -> None:
    install.check()
    install.check()
    assert [question.get("keys") for question in install.fake.asked] == [True, True]


def test_its_nonces_are_new_and_long(install: Install) -> None:
    install.check()
    install.check()
    one, other = (question["nonce"] for question in install.fake.asked)
    assert one != other
    assert min(len(one), len(other)) >= 22


# --- what is sent and what is kept


def test_it_sends_nothing_but_the_documented_fields(install: Install) -> None:
    install.check()
    install.check()
    for question, headers in zip(install.fake.asked, install.fake.headers, strict=True):
        assert set(question) <= SENT
        assert {name: question[name] for name in OF_THE_SYSTEM} == OF_THE_SYSTEM
        assert re.fullmatch("[0-9a-f]{32}", question["instance"])
        assert {name.lower() for name in headers} <= HEADERS
        assert headers["User-Agent"] == "headcount-license"


def test_it_asks_nothing_without_a_key(install: Install) -> None:
    assert install.check(key="")["status"] == "unverified"
    assert install.fake.asked == []


def test_its_instance_id_survives_restarts(install: Install) -> None:
    install.check()
    install.cache_file.unlink()
    install.check()
    ids = {question["instance"] for question in install.fake.asked}
    assert len(ids) == 1
    assert len(ids.pop()) == 32


def test_nobody_else_may_read_what_it_keeps(install: Install) -> None:
    install.check()
    for file in (install.folder / "headcount-instance", install.cache_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_processes_at_once_do_not_spoil_the_cache(install: Install) -> None:
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: install.check(), range(6)))
    assert {one["status"] for one in found} <= {"active", "unverified"}
    assert len({question["instance"] for question in install.fake.asked}) == 1
    assert install.cache["keys_sequence"] == 1
    install.fake.stop()
    assert install.status()["status"] == "active"
    assert sorted(path.name for path in install.folder.iterdir() if not path.name.endswith(".lock")) == [
        "headcount-instance",
        install.cache_file.name,
    ]


# --- who answers


def is_refused(install: Install, lie: Lie) -> None:
    """A lie makes nothing active."""
    install.fake.answering = lie
    found = install.check()
    assert (found["status"], found["allowed"], found["conclusive"]) == ("unverified", False, False)
    assert found["problem"]


def ends_nothing(install: Install, lie: Lie) -> None:
    """A lie is like no answer: what was good before stays so."""
    install.fake.answering = install.fake.right
    assert install.check()["status"] == "active"
    install.fake.answering = lambda question: lie(question, status="revoked", plan="stolen")
    found = install.check()
    assert (found["status"], found["plan"]) == ("active", "team")
    assert found["problem"]


def test_it_refuses_a_server_whose_keys_the_pinned_root_did_not_certify(install: Install) -> None:
    fake, impostor, other = install.fake, SigningKey("root", "keys"), SigningKey("check-2", "check")

    def lie(question: Question, **changes: Any) -> Reply:
        key_set = fake.key_set(impostor, keys=[other.entry()])
        return Reply({"answer": other.sign(fake.says(question, **changes)), "keys": key_set})

    is_refused(install, lie)
    ends_nothing(install, lie)


def test_it_refuses_an_answer_by_a_key_that_the_root_did_not_certify(install: Install) -> None:
    fake, other = install.fake, SigningKey("check-2", "check")

    def lie(question: Question, **changes: Any) -> Reply:
        return fake.reply(question, other.sign(fake.says(question, **changes)))

    is_refused(install, lie)
    ends_nothing(install, lie)


def test_it_refuses_an_answer_by_another_key_under_a_certified_name(install: Install) -> None:
    fake, other = install.fake, SigningKey("check-1", "check")
    is_refused(install, lambda question: fake.reply(question, other.sign(fake.says(question))))


def test_it_refuses_a_replayed_answer(install: Install) -> None:
    fake = install.fake

    def lie(question: Question, **changes: Any) -> Reply:
        return fake.right({**question, "nonce": "n" * 32}, **changes)

    is_refused(install, lie)
    ends_nothing(install, lie)


def test_it_refuses_an_answer_for_another_key(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right(question, key_digest="0" * 64))


def test_it_refuses_an_answer_for_another_install(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right(question, **about(KEY, "0" * 32)))


def test_it_refuses_an_answer_for_another_product(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right(question, product="other"))


def test_it_refuses_a_key_set_of_another_product(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        return Reply(
            {"answer": fake.key("check").sign(fake.says(question)), "keys": fake.key_set(product="other")}
        )

    is_refused(install, lie)


@pytest.mark.parametrize("algorithm", ["none", "EdDSA", "HS256"])
def test_it_knows_one_algorithm(install: Install, algorithm: str) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right_but_for(question, alg=algorithm))


def test_it_refuses_alg_none_without_a_signature(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        signed = fake.key("check").sign(fake.says(question), alg="none")
        return fake.reply(question, signed.rpartition(".")[0] + ".")

    is_refused(install, lie)


@pytest.mark.parametrize("left", ["head.body.", "head.body"])
def test_it_refuses_an_answer_without_its_signature(install: Install, left: str) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        head, body, _ = fake.key("check").sign(fake.says(question)).split(".")
        return fake.reply(question, left.replace("head", head).replace("body", body))

    is_refused(install, lie)


def test_it_refuses_an_answer_with_a_fourth_part(install: Install) -> None:
    fake = install.fake
    is_refused(
        install, lambda question: fake.reply(question, fake.key("check").sign(fake.says(question)) + ".more")
    )


def test_it_refuses_an_answer_that_was_changed_after_it_was_signed(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        head, _, signature = fake.key("check").sign(fake.says(question, status="revoked")).split(".")
        return fake.reply(question, f"{head}.{encode(json.dumps(fake.says(question)).encode())}.{signature}")

    is_refused(install, lie)


def test_it_refuses_plain_json(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: Reply({"answer": fake.says(question)}))


def test_it_refuses_a_file_key_used_for_an_answer(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        return fake.reply(question, fake.key("file").sign(fake.says(question), typ="headcount-check+jws"))

    is_refused(install, lie)


@pytest.mark.parametrize("typ", ["headcount-file+jws", "JWT"])
def test_it_refuses_an_answer_of_another_type(install: Install, typ: str) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right_but_for(question, typ=typ))


def test_it_refuses_an_answer_signed_by_the_root(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        return fake.reply(question, fake.root.sign(fake.says(question), typ="headcount-check+jws"))

    is_refused(install, lie)


def test_it_does_not_take_a_key_from_the_header(install: Install) -> None:
    fake, own = install.fake, SigningKey("check-1", "check")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": own.public(), "kid": "check-1"}

    def lie(question: Question) -> Reply:
        header = {"jwk": jwk, "jku": f"{fake.url}/jwks", "x5u": f"{fake.url}/cert"}
        return fake.reply(question, own.sign(fake.says(question), **header))

    is_refused(install, lie)
    assert [question for question in fake.asked if "path" in question] == []


def test_a_key_in_the_header_of_a_right_answer_is_not_looked_at(install: Install) -> None:
    fake, own = install.fake, SigningKey("check-1", "check")
    fake.answering = lambda question: fake.right_but_for(question, jwk={"x": own.public(), "kid": "own"})
    assert install.check()["status"] == "active"


def test_it_refuses_a_header_with_extensions_that_it_would_have_to_know(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right_but_for(question, crit=["b64"], b64=True))


@pytest.mark.parametrize(("begins", "ends"), [(-DAY, -60), (HOUR, DAY)])
def test_it_refuses_an_answer_outside_the_times_of_its_key(install: Install, begins: int, ends: int) -> None:
    fake, now = install.fake, int(time.time())
    old = SigningKey("check-old", "check", not_before=now + begins, not_after=now + ends)
    fake.keys.insert(0, old)
    is_refused(install, lambda question: fake.reply(question, old.sign(fake.says(question))))


def test_it_refuses_an_unknown_status(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right(question, status="splendid"))


def test_it_refuses_a_lower_sequence(install: Install) -> None:
    fake, before = install.fake, int((time.time() - 10 * 60) * 1_000_000)
    assert install.check()["status"] == "active"
    fake.says_always(status="revoked", sequence=before)
    assert install.check()["status"] == "active"
    fake.says_always(
        status="revoked", sequence=before + 8 * 60 * 1_000_000
    )  # within the five minutes of tolerance
    assert install.check()["status"] == "revoked"


def test_it_follows_no_redirect(install: Install) -> None:
    fake = install.fake
    with Fake() as other:
        other.root, other.keys = fake.root, fake.keys
        is_refused(install, lambda question: Reply({}, 307, {"Location": f"{other.url}/api/license/check"}))
        assert other.asked == []


@pytest.mark.parametrize("body", GARBAGE, ids=str)
def test_it_refuses_garbage(install: Install, body: object) -> None:
    is_refused(install, lambda question: Reply(body))


def test_garbage_ends_nothing(install: Install) -> None:
    ends_nothing(install, lambda question, **changes: Reply(b"<html>"))


def test_it_reads_no_more_than_64_kibibytes(install: Install) -> None:
    fake = install.fake

    def lie(question: Question) -> Reply:
        right = fake.right(question).body
        assert isinstance(right, dict)
        return Reply({"padding": "x" * 200_000, **right})

    is_refused(install, lie)


# --- rotation


def test_it_takes_a_new_key_from_the_new_set(install: Install) -> None:
    install.check()
    install.fake.rotate()
    assert install.check()["problem"] is None
    assert len(install.fake.asked) == 2
    assert install.cache["keys_sequence"] == 2


def test_a_key_whose_time_has_run_out_in_the_known_set_is_good_in_the_new_one(install: Install) -> None:
    fake, now = install.fake, int(time.time())
    fake.keys[0] = dataclasses.replace(fake.keys[0], not_after=now + 60)
    install.check()
    fake.keys[0] = dataclasses.replace(fake.keys[0], not_after=now + 90 * DAY)
    fake.keys_sequence += 1
    fake.answering = lambda question: fake.right(question, server_time=now + 3600)
    assert install.check()["problem"] is None


def test_it_never_goes_back_to_a_key_set_of_a_lower_sequence(install: Install) -> None:
    fake = install.fake
    install.check()
    stolen, old_set = fake.key("check"), fake.key_set()
    fake.rotate(at_once=True)
    assert install.check()["problem"] is None
    fake.answering = lambda question: Reply(
        {"answer": stolen.sign(fake.says(question, status="revoked")), "keys": old_set}
    )
    assert install.check()["status"] == "active"
    assert install.cache["keys_sequence"] == 2


# --- no answer is not a no


@pytest.mark.parametrize("status", [400, 404, 429, 503])
def test_what_is_not_an_answer_is_never_a_no(install: Install, status: int) -> None:
    reply = Reply({"errors": {"key": ["is no license key"]}}, status, {"Retry-After": "5"})
    is_refused(install, lambda question: reply)
    ends_nothing(install, lambda question, **changes: reply)


def test_it_passes_on_what_the_server_says_of_a_mistyped_key(install: Install) -> None:
    install.fake.answering = lambda question: Reply(
        {"errors": {"key": ["is no license key: look for a typo"]}}, 400
    )
    found = install.check(key="HC-TYPO")
    assert found["status"] == "unverified"
    assert "look for a typo" in found["problem"]


def test_a_server_that_is_down_ends_nothing(install: Install) -> None:
    install.check()
    install.fake.stop()
    found = install.check()
    assert (found["status"], found["allowed"], found["conclusive"]) == ("active", True, True)
    assert found["problem"]


@pytest.mark.parametrize("url", ["http://license.invalid", "http://127.0.0.1:1", "no url at all"])
def test_a_server_that_cannot_be_found_raises_nothing(install: Install, url: str) -> None:
    assert install.check(url=url)["status"] == "unverified"


@pytest.mark.usefixtures("faketime")
def test_without_a_server_it_goes_on_then_in_grace_then_it_knows_nothing(install: Install) -> None:
    now = int(time.time())
    install.fake.says_always(valid_until=now + HOUR, grace_until=now + 2 * HOUR)
    install.check()
    install.fake.stop()
    found = [install.status(clock=minutes * 60) for minutes in (30, 90, 180)]
    assert [one["status"] for one in found] == ["active", "grace", "unverified"]
    assert [one["allowed"] for one in found] == [True, True, False]
    assert [one["conclusive"] for one in found] == [True, False, False]


def test_a_hanging_server_holds_nobody_up(install: Install) -> None:
    install.fake.answering = install.fake.hang
    assert install.check()["status"] == "unverified"
    assert install.fake.unanswered == 1
    install.fake.answering = install.fake.right
    install.check()
    install.fake.answering = install.fake.hang
    found = install.check()
    assert (found["status"], install.fake.unanswered) == ("active", 2)


def test_an_answer_that_drips_holds_nobody_up(install: Install) -> None:
    install.fake.answering = install.fake.drip
    assert install.check()["status"] == "unverified"


def test_a_guess_is_no_no(install: Install) -> None:
    fake = install.fake
    is_refused(install, lambda question: fake.right(question, status="unknown", conclusive=False))
    ends_nothing(
        install, lambda question, **changes: fake.right(question, status="unknown", conclusive=False)
    )


def test_a_yes_without_the_database_is_a_yes(install: Install) -> None:
    install.fake.says_always(conclusive=False)
    found = install.check()
    assert (found["status"], found["allowed"], found["conclusive"]) == ("active", True, False)


# --- a no


@pytest.mark.parametrize("status", NO)
def test_a_no_is_honoured(install: Install, status: str) -> None:
    install.check()
    now = int(time.time())
    install.fake.says_always(status=status, valid_until=now, grace_until=now)
    found = install.check()
    assert (found["status"], found["allowed"], found["conclusive"]) == (status, False, True)


@pytest.mark.usefixtures("faketime")
def test_a_revoked_license_stays_revoked_without_a_network(install: Install) -> None:
    now = int(time.time())
    install.fake.says_always(status="revoked", valid_until=now, grace_until=now)
    install.check()
    install.fake.stop()
    assert [install.status(clock=seconds)["status"] for seconds in (60, 90 * DAY, -DAY)] == ["revoked"] * 3


def test_a_license_that_comes_back_is_good_again(install: Install) -> None:
    install.fake.says_always(status="suspended")
    install.check()
    install.fake.answering = install.fake.right
    assert install.check()["status"] == "active"


# --- clocks


@pytest.mark.usefixtures("faketime")
def test_a_clock_that_was_set_back_is_noticed(install: Install) -> None:
    install.check()
    install.fake.stop()
    assert install.status(clock=2 * HOUR)["status"] == "active"
    found = install.status()
    assert (found["status"], found["allowed"]) == ("unverified", False)
    assert "clock" in found["problem"]


@pytest.mark.usefixtures("faketime")
def test_a_new_answer_heals_a_clock_that_was_set_back(install: Install) -> None:
    install.check()
    install.status(clock=2 * HOUR)
    assert install.status()["status"] == "active"
    assert len(install.fake.asked) == 2


@pytest.mark.usefixtures("faketime")
@pytest.mark.parametrize("days", [-400, 400])
def test_a_wrong_clock_harms_nobody_whose_server_answers(install: Install, days: int) -> None:
    assert install.check(clock=days * DAY)["status"] == "active"
    install.fake.stop()
    assert install.status(clock=days * DAY + HOUR)["status"] == "active"


# --- when it asks


@pytest.mark.usefixtures("faketime")
def test_it_asks_again_when_it_is_time_and_not_before(install: Install) -> None:
    install.check()
    install.status(clock=20 * HOUR)
    assert len(install.fake.asked) == 1
    install.status(clock=27 * HOUR)
    assert len(install.fake.asked) == 2


def test_it_spreads_its_questions(install: Install) -> None:
    waits = set()
    for _ in range(3):
        install.check()
        waits.add(install.cache["next"] - install.cache["seen"])
    assert len(waits) > 1
    assert 0.89 * DAY <= min(waits) <= max(waits) <= 1.11 * DAY


def test_it_waits_longer_after_each_failure(install: Install) -> None:
    install.fake.stop()
    for failures, most in ((1, 60), (2, 120), (3, 240)):
        install.check()
        assert install.cache["failures"] == failures
        assert 5 <= install.cache["next"] - install.cache["asked"] <= most + 1


# --- the cache and its folder


def test_an_unwritable_folder_raises_nothing(install: Install, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = tmp_path / "file" / "state"
    assert install.check(state_dir=folder)["status"] == "active"
    assert install.check(state_dir=folder)["status"] == "active"
    assert len({question["instance"] for question in install.fake.asked}) == 1
    assert install.status(state_dir=folder)["status"] in ("active", "unverified")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[]", b"5", b'{"answer": 5}', b"a:1:{i:0;O:1:x}"])
def test_garbage_in_the_cache_is_asked_over(install: Install, text: bytes) -> None:
    install.check()
    install.cache_file.write_bytes(text)
    assert install.status()["status"] == "active"
    assert len(install.fake.asked) == 2


def test_garbage_in_place_of_the_instance_id_eats_one_seat_at_most(install: Install) -> None:
    install.folder.mkdir()
    (install.folder / "headcount-instance").write_text("garbage")
    install.check()
    install.check()
    assert len({question["instance"] for question in install.fake.asked}) == 1


@pytest.mark.parametrize(
    "forged", [{"next": "never", "seen": None}, {"next": 0, "failures": -9, "interval": 4}]
)
def test_odd_numbers_in_the_cache_are_asked_over(install: Install, forged: dict[str, object]) -> None:
    install.check()
    install.forge(**forged)
    assert install.status()["status"] == "active"
    assert len(install.fake.asked) == 2


def test_an_answer_that_was_forged_into_the_cache_gains_nothing(install: Install) -> None:
    fake, own, root = install.fake, SigningKey("check-1", "check"), SigningKey("root", "keys")
    install.check()
    question = {**fake.asked[0], "nonce": "n" * 32}
    fake.stop()
    own_answer = own.sign(fake.says(question, plan="stolen", valid_until=1 << 40))
    install.forge(answer=own_answer, keys=fake.key_set(root, keys=[own.entry()]))
    assert install.status()["status"] == "unverified"


def test_a_cache_of_another_install_gains_nothing(install: Install, tmp_path: Path) -> None:
    install.check()
    other = Install(install.language, install.fake, tmp_path / "other")
    other.folder.mkdir()
    shutil.copy(install.cache_file, other.folder)
    install.fake.stop()
    assert other.status()["status"] == "unverified"


@pytest.mark.usefixtures("faketime")
def test_times_that_were_forged_into_the_cache_make_no_answer_last_longer(install: Install) -> None:
    now = int(time.time())
    install.fake.says_always(valid_until=now + HOUR, grace_until=now + 2 * HOUR)
    install.check()
    install.fake.stop()
    install.forge(offset=-DAY, seen=0, asked=0, next=1 << 40)
    assert install.status(clock=3 * HOUR)["status"] == "unverified"


def test_another_key_begins_anew(install: Install) -> None:
    install.check()
    install.fake.stop()
    assert install.status(key="HC-00000-00000-00000-00000-00000-00000")["status"] == "unverified"


def test_a_mistyped_key_costs_neither_the_right_one_nor_its_cache(install: Install) -> None:
    install.check()
    install.fake.answering = lambda question: Reply({"errors": {"key": ["is no license key"]}}, 400)
    assert install.status(key="HC-TYPO")["status"] == "unverified"
    install.fake.answering = install.fake.right
    assert install.status(key="HC-TYP0S")["status"] == "active"  # asked about at once
    install.fake.stop()
    assert install.status()["status"] == "active"


def test_every_client_reads_the_cache_of_every_other(install: Install) -> None:
    install.check()
    install.fake.stop()
    for language in (one for one in FILES if missing(one) is None):
        assert Install(language, install.fake, install.folder).status()["status"] == "active"


# --- uninstalling


def test_it_gives_the_seat_back(install: Install) -> None:
    install.check()
    assert install.run("release") == {"released": True} | (
        {"entitlements": {}} if install.language == "sh" else {}
    )
    (sent,) = install.fake.released
    assert sent == {name: install.fake.asked[0][name] for name in ("key", "product", "instance")}
    install.fake.stop()
    assert install.status()["status"] == "unverified"


def test_a_release_that_nobody_confirms_is_none(install: Install) -> None:
    install.check()
    install.fake.stop()
    assert install.run("release")["released"] is False
    assert install.status()["status"] == "active"


# --- without a network


@dataclasses.dataclass
class Offline(Install):
    """An install with a license file in place of a server."""

    def ask(self, **more: Any) -> dict[str, Any]:
        """Write the request for a license file."""
        return self.run("request", **more)

    def given(self, license: object) -> Path:
        file = self.folder.parent / "license.json"
        file.write_text(json.dumps(license))
        return file

    def says(self, license: object, **more: Any) -> dict[str, Any]:
        """What is known with this license file."""
        found = self.status(file=str(self.given(license)), **more)
        assert self.fake.asked == []
        return found


@pytest.fixture(params=["python", "node"])
def offline(request: pytest.FixtureRequest, fake: Fake, tmp_path: Path) -> Offline:
    if why := missing(request.param):
        pytest.skip(why)
    return Offline(request.param, fake, tmp_path / "state")


def test_a_request_for_a_license_file_does_not_hold_the_key(offline: Offline) -> None:
    request = offline.ask()
    instance = (offline.folder / "headcount-instance").read_text()
    assert request == {**about(KEY, instance), "version": "2.4.1"}


def test_a_license_file_makes_an_install_active(offline: Offline) -> None:
    found = offline.says(offline.fake.license_file(offline.ask()))
    assert (found["status"], found["allowed"], found["conclusive"]) == ("active", True, True)
    assert (found["plan"], found["problem"]) == ("team", None)


def test_it_refuses_a_license_file_of_another_install(offline: Offline) -> None:
    license = offline.fake.license_file({**offline.ask(), **about(KEY, "0" * 32)})
    assert offline.says(license)["status"] == "unverified"


def test_it_refuses_an_answer_packed_as_a_license_file(offline: Offline) -> None:
    fake, request = offline.fake, offline.ask()
    question = {"key": KEY, "instance": "", "nonce": ""}
    answer = fake.key("check").sign(fake.says(question, **about(KEY, "")) | request)
    assert offline.says({"file": answer, "keys": fake.key_set()})["status"] == "unverified"


def test_it_refuses_a_license_file_by_a_key_for_answers(offline: Offline) -> None:
    fake, request = offline.fake, offline.ask()
    question = {"key": KEY, "instance": "", "nonce": ""}
    file = fake.key("check").sign(fake.says(question) | request, typ="headcount-file+jws")
    assert offline.says({"file": file, "keys": fake.key_set()})["status"] == "unverified"


@pytest.mark.parametrize("license", [{}, [], {"file": "a.b.c", "keys": "a.b.c"}], ids=str)
def test_it_refuses_a_license_file_of_garbage(offline: Offline, license: object) -> None:
    assert offline.says(license)["status"] == "unverified"


@pytest.mark.usefixtures("faketime")
def test_a_license_file_ends(offline: Offline) -> None:
    now = int(time.time())
    license = offline.fake.license_file(offline.ask(), valid_until=now + DAY, grace_until=now + 2 * DAY)
    found = [offline.says(license, clock=hours * HOUR)["status"] for hours in (12, 36, 60)]
    assert found == ["active", "grace", "unverified"]


@pytest.mark.usefixtures("faketime")
def test_a_license_file_does_not_last_longer_by_a_clock_that_is_set_back(offline: Offline) -> None:
    license = offline.fake.license_file(offline.ask())
    assert offline.says(license, clock=2 * HOUR)["status"] == "active"
    found = offline.says(license)
    assert (found["status"], found["problem"]) == ("unverified", "the clock was set back")


@pytest.mark.usefixtures("faketime")
def test_a_clock_before_the_license_file_was_made_is_not_believed(offline: Offline) -> None:
    license = offline.fake.license_file(offline.ask())
    assert offline.says(license, clock=-DAY)["status"] == "unverified"


# --- the files


@pytest.mark.parametrize("file", FILES.values())
def test_a_client_is_one_file_of_less_than_200_lines(file: str) -> None:
    text = (CLIENTS / file).read_text()
    assert len(text.splitlines()) < 200
    assert "SPDX-License-Identifier: MIT" in "".join(text.splitlines(keepends=True)[:2])


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_shell_client_is_for_any_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}: apt-get install {shell}")
    command = [shell, "sh"] if shell == "busybox" else [shell]
    subprocess.run([*command, "-n", CLIENTS / FILES["sh"]], check=True)


def test_shellcheck_finds_nothing_in_the_shell_client() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    subprocess.run(["shellcheck", CLIENTS / FILES["sh"]], check=True)


def test_the_status_of_the_shell_client_only_reads(fake: Fake, tmp_path: Path) -> None:
    if why := missing("sh"):
        pytest.skip(why)
    install = Install("sh", fake, tmp_path / "state")
    assert install.run("read")["status"] == "unverified"
    assert fake.asked == []
    install.check()
    assert install.run("read")["status"] == "active"
    assert len(fake.asked) == 1
