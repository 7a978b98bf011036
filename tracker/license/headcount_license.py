# SPDX-License-Identifier: MIT
"""Asks a Headcount server whether this install has a good license; without an answer, the last one goes on.

    license = HeadcountLicense("https://count.example.com", ROOT_KEY, "acme", key, "/var/lib/acme", "2.4.1")
    license.status().allowed  # ROOT_KEY stands in your code, never in a file that is made to be edited
"""

import atexit, hashlib, hmac, json, os, platform, random, re, secrets, tempfile, threading, time, urllib.request
from base64 import urlsafe_b64decode
from contextlib import suppress
from types import SimpleNamespace as Result
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SECONDS, MAX_BODY, MINUTE, TOLERANCE, SLACK = 2.0, 65536, 60, 300, 300_000_000  # the last in microseconds
GOOD, NO = ("active", "grace"), ("expired", "suspended", "revoked", "over_seats", "unknown", "wrong_product")
NUMBERS = ("sequence", "keys_sequence", "seen", "offset", "asked", "next", "interval", "failures")
UNVERIFIED = {"status": "unverified", "conclusive": False, "plan": None, "entitlements": {}, "seats": None,
              "update": None, "expires_at": None}  # fmt: skip
OPENER = urllib.request.OpenerDirector()  # follows no redirect
for _handler in ("ProxyHandler", "HTTPHandler", "HTTPSHandler"):
    OPENER.add_handler(getattr(urllib.request, _handler)())


class HeadcountLicense:
    def __init__(self, url: str, root_key: str, product: str, key: str, folder: str, version: str,
                 environment: str = "production", channel: str = "stable", file: str = "") -> None:  # fmt: skip
        self._url, self._root, self._folder, self._file = url.rstrip("/"), root_key, str(folder), file
        plain = re.sub(r"[-\s]", "", key or "").upper().translate(str.maketrans("OIL", "011"))
        self._hmac = lambda text: hmac.new(plain.encode(), text.encode(), "sha256").hexdigest()
        self._install = {"key": plain, "product": product, "instance": self._instance()}
        self._system = {"version": version, "environment": environment, "channel": channel,
                        "os": platform.system().lower(), "arch": platform.machine()}  # fmt: skip
        self._us = {"product": product, "key_digest": hashlib.sha256(plain.encode()).hexdigest(),
                       "instance_digest": self._hmac(self._install["instance"])}  # fmt: skip
        self.request = {**self._us, "version": version}  # the request for a license file, to be written as JSON
        self._cache = f"headcount-license-{self._us['key_digest'][:8]}.json"  # another key begins anew
        self._kept: dict[str, Any] = dict.fromkeys(NUMBERS, 0)
        self._kept.update(answer=None, keys=None, says={}, problem="no answer yet" if plain else "no license key")
        self._load()
        self._worker = threading.Thread()
        with suppress(RuntimeError):  # no more threads to be had
            threading.Thread(target=self._beat, daemon=True).start()
        atexit.register(lambda: self._worker.is_alive() and self._worker.join(SECONDS))  # let short runs hear, too

    def status(self, ask: bool = False) -> Result:
        """What is known. Waits, 2 seconds at most, only if that does not allow and it is time to ask."""
        try:
            stale = ask or self._due() or self._now() > self._kept["seen"] + MINUTE
            if stale and not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, args=(ask,), daemon=True)
                self._worker.start()
            if stale and (ask or not self._judge().allowed):
                self._worker.join(SECONDS)
            return self._judge()
        except Exception as problem:
            return Result(**UNVERIFIED, allowed=False, problem=repr(problem))

    def check(self) -> Result:
        return self.status(ask=True)  # now, due or not; 2 seconds at most

    def release(self) -> bool:
        """Give the seat back when the software is uninstalled. False: the server did not confirm it."""
        with suppress(Exception):
            self._post("/api/license/release", self._install, SECONDS)
            self._install["key"] = ""  # or the next check would take it again
            self._save(answer=None, says={}, next=0, problem="the seat was given back")
            return True
        return False

    def _beat(self) -> None:
        while not threading.Event().wait(MINUTE):  # nobody sets it
            self.status()

    def _now(self) -> int:
        return int(time.time()) + self._kept["offset"]  # the server's time, as far as this clock can tell

    def _due(self) -> bool:
        now, last = self._now(), self._kept["asked" if self._kept["failures"] else "seen"]
        return bool(now >= self._kept["next"] or now < last - TOLERANCE)

    def _judge(self) -> Result:
        now, says, problem = self._now(), self._kept["says"], self._kept["problem"]
        if says.get("status") in GOOD:  # a no holds until there is another answer
            if now < max(self._kept["seen"], says["server_time"]) - TOLERANCE:
                says, problem = {}, "the clock was set back"
            elif now > says["grace_until"]:
                says, problem = {}, problem or "the last answer is too old"
            elif now > says["valid_until"]:
                says = {**says, "status": "grace", "conclusive": False}
        return Result(**{**UNVERIFIED, **says}, allowed=says.get("status") in GOOD, problem=problem)

    def _work(self, ask: bool) -> None:
        try:
            self._load()  # another process may have asked
            now, failures = self._now(), self._kept["failures"]
            if not self._install["key"] or not (ask or self._due()):
                return self._save(seen=max(now, self._kept["seen"]))
            wait = random.uniform(5, min(self._kept["interval"] or 3600, MINUTE * 2 ** min(failures, 20)))
            self._save(failures=failures + 1, asked=now, next=int(now + wait))  # it has failed until it succeeds
            self._open_file() if self._file else self._ask()
        except Exception as problem:
            self._save(problem=re.sub(r'[^ -z|~]|["[\]]', "", f"{type(problem).__name__}: {problem}"))

    def _open_file(self) -> None:
        with open(self._file, encoding="utf-8") as file:
            given = json.loads(file.read(MAX_BODY))
        says = self._read(given["file"], given["keys"])
        now = max(says["server_time"], self._now(), self._kept["seen"])
        self._accept(given["file"], given["keys"], says, now, MINUTE)

    def _ask(self) -> None:
        nonce, token = secrets.token_urlsafe(24), self._kept["says"].get("token")
        question = {**self._install, **self._system, "nonce": nonce, "token": token, "keys": True}
        question = {name: value for name, value in question.items() if value}
        given = json.loads(self._post("/api/license/check", question, 0.95 * SECONDS))
        key_set = given.get("keys") or self._kept["keys"]  # a new set each time: keys come, end, and are stolen
        says = self._read(given["answer"], key_set)
        if says["nonce"] != nonce or not (says["conclusive"] or says["status"] in GOOD):
            raise ValueError("the answer is to another question, or no more than a guess")
        now, interval = says["server_time"], max(MINUTE, says["check_after"] - says["server_time"])
        self._kept.update(offset=now - int(time.time()), interval=interval)
        self._accept(given["answer"], key_set, says, now, interval * random.uniform(0.9, 1.1))

    def _accept(self, jws: str, key_set: str, says: Any, now: int, wait: float) -> None:
        self._save(answer=jws, keys=key_set, says=says, seen=now, asked=now, next=int(now + wait), failures=0,
                   problem=None, sequence=max(says["sequence"], self._kept["sequence"]),
                   keys_sequence=says["keys_sequence"])  # fmt: skip

    def _post(self, path: str, body: object, seconds: float) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "headcount-license"}
        asked = urllib.request.Request(self._url + path, json.dumps(body).encode(), headers)
        with OPENER.open(asked, timeout=max(0.01, seconds)) as answer:
            text: bytes = answer.read(MAX_BODY)
        if answer.status != 200:
            raise ValueError(f"the server answered {answer.status}: {text[:300].decode(errors='replace')}")
        return text

    def _read(self, jws: str, key_set: str) -> Any:  # what it says: certified, of us, and no old news
        root = {"kid": "root", "use": "keys", "x": self._root, "not_before": 0, "not_after": 0}
        keys = _signed(key_set, "keys", [root])
        says = _signed(jws, "file" if self._file else "check", keys["keys"])
        others = keys["product"] != says["product"] or not self._us.items() <= says.items()
        if others or says["status"] not in GOOD + NO:
            raise ValueError("the answer is about something else")
        if says["sequence"] < self._kept["sequence"] - SLACK or keys["sequence"] < self._kept["keys_sequence"]:
            raise ValueError("the answer, or its key set, is older than what is known")
        return {**says, "keys_sequence": keys["sequence"]}

    def _load(self) -> None:
        """Take what is in the cache, unless it is garbage, forged, or behind what is known."""
        with suppress(Exception), open(f"{self._folder}/{self._cache}", encoding="utf-8") as file:
            kept = json.loads(file.read(4 * MAX_BODY))
            says = self._read(kept["answer"], kept["keys"]) if kept["answer"] else {}
            numbers = {name: int(kept[name]) for name in NUMBERS}
            if kept["asked"] >= self._kept["asked"]:
                self._kept.update(kept, **numbers, says=says)

    def _save(self, **changes: Any) -> None:
        self._kept = {**self._kept, **changes}
        try:
            text = json.dumps({name: value for name, value in self._kept.items() if name != "says"})
            self._write(self._cache, text, os.replace)
        except OSError as problem:
            self._kept["problem"] = self._kept["problem"] or str(problem)

    def _instance(self) -> str:
        with suppress(OSError):
            os.makedirs(self._folder, 0o700, exist_ok=True)
            if not os.path.exists(f"{self._folder}/headcount-instance"):  # a link: the first of two processes wins
                self._write("headcount-instance", secrets.token_hex(16), os.link)
        with suppress(Exception), open(f"{self._folder}/headcount-instance", encoding="utf-8") as file:
            return re.findall("^[0-9a-f]{32}$", file.read(100).strip())[0]
        return self._hmac(self._folder)[:32]  # it comes back after a restart, so that no seats are eaten

    def _write(self, name: str, text: str, place: Any) -> None:  # whole or not at all, for nobody else to read
        with tempfile.TemporaryDirectory(dir=self._folder) as beside:
            with open(f"{beside}/{name}", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(text)
            place(f"{beside}/{name}", f"{self._folder}/{name}")


def _signed(jws: str, use: str, keys: Any) -> Any:
    """What is signed, if one of these keys has signed just these bytes for this use."""
    head, body, signature = jws.split(".")
    header = json.loads(urlsafe_b64decode(head + "=="))
    if header["alg"] != "Ed25519" or header["typ"] != f"headcount-{use}+jws" or "crit" in header:
        raise ValueError("the header is not one of Headcount's")
    key = {key["kid"]: key for key in keys}[header["kid"]]
    public = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(key["x"] + "=="))
    public.verify(urlsafe_b64decode(signature + "=="), f"{head}.{body}".encode())
    said = json.loads(urlsafe_b64decode(body + "=="))
    if key["use"] != use or not key["not_before"] - TOLERANCE <= said.get("server_time", 0) <= key["not_after"]:
        raise ValueError("the key that signed it is for another use or time")
    return said
