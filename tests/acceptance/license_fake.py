"""A license server of the tests' own: real keys, real HTTP on loopback, and a choice of what it answers.

What it answers is a plain function from the question to a reply. `Fake.right` is the honest one; a lie takes what
that makes and changes one thing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DAY = 86_400
PRODUCT = "acme"
KEY = "HC-7K2QM-0123A-BCDEF-GHJKM-NPQRS-TVWXY"

Payload = dict[str, Any]


class Reply(NamedTuple):
    """What goes back: a body of JSON, the bytes themselves, or an iterator that takes its time."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = {}


Answering = Callable[[Payload], Reply]


@dataclass(frozen=True)
class SigningKey:
    """A private key with what a key set says of it."""

    kid: str
    use: str
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    not_before: int = 0
    not_after: int = 1 << 40

    def public(self) -> str:
        return encode(self.private.public_key().public_bytes_raw())

    def entry(self) -> Payload:
        return {
            "kid": self.kid,
            "use": self.use,
            "x": self.public(),
            "not_before": self.not_before,
            "not_after": self.not_after,
        }

    def sign(self, payload: Payload, **header: Any) -> str:
        """A compact JWS; `header` is what it says beside or in place of the right things."""
        said = {"alg": "Ed25519", "typ": f"headcount-{self.use}+jws", "kid": self.kid, **header}
        signed = f"{encode(json.dumps(said).encode())}.{encode(json.dumps(payload).encode())}"
        return f"{signed}.{encode(self.private.sign(signed.encode()))}"


class Fake:
    """One product on one license server, up until `stop`."""

    def __init__(self) -> None:
        self.root = SigningKey("root", "keys")
        self.keys = [SigningKey("check-1", "check"), SigningKey("file-1", "file")]
        self.keys_sequence = 1
        self.answering: Answering = self.right
        self.asked: list[Payload] = []
        self.headers: list[Mapping[str, str]] = []
        self.released: list[Payload] = []
        self.unanswered = 0
        """Requests that are hanging."""
        self._let_go = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """From here on nobody answers."""
        self._let_go.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def key(self, use: str) -> SigningKey:
        """The newest key for this use."""
        return [key for key in self.keys if key.use == use][-1]

    def rotate(self, *, at_once: bool = False) -> None:
        """Make a new key for answers; `at_once` takes out the others."""
        new = SigningKey(f"check-{secrets.token_hex(4)}", "check")
        self.keys = [new] if at_once else [*self.keys, new]
        self.keys_sequence += 1

    def key_set(self, signer: SigningKey | None = None, **changes: Any) -> str:
        payload = {
            "product": PRODUCT,
            "issued_at": int(time.time()),
            "sequence": self.keys_sequence,
            "keys": [key.entry() for key in self.keys],
            **changes,
        }
        return (signer or self.root).sign(payload)

    def says(self, question: Payload, **changes: Any) -> Payload:
        """The payload of a right answer, or one that is wrong by `changes`."""
        now = time.time()
        return {
            "status": "active",
            "conclusive": True,
            **about(question["key"], question["instance"]),
            "nonce": question["nonce"],
            "plan": "team",
            "entitlements": {"sso": True, "projects": 12, "support": 'e-mail, "best effort"'},
            "seats": {"used": 3, "limit": 5},
            "server_time": int(now),
            "check_after": int(now) + DAY,
            "valid_until": int(now) + 14 * DAY,
            "grace_until": int(now) + 28 * DAY,
            "expires_at": None,
            "sequence": int(now * 1_000_000),
            "token": secrets.token_urlsafe(24),
            **changes,
        }

    def reply(self, question: Payload, answer: str) -> Reply:
        """An answer, with the key set if it was asked for."""
        return Reply({"answer": answer, **({"keys": self.key_set()} if question.get("keys") else {})})

    def right(self, question: Payload, **changes: Any) -> Reply:
        return self.reply(question, self.key("check").sign(self.says(question, **changes)))

    def right_but_for(self, question: Payload, **header: Any) -> Reply:
        """A right answer with something else in its header."""
        return self.reply(question, self.key("check").sign(self.says(question), **header))

    def says_always(self, **changes: Any) -> None:
        """Answer rightly from now on, but for these names."""
        self.answering = lambda question: self.right(question, **changes)

    def hang(self, question: Payload) -> Reply:
        """Take the question and keep silent until the server is stopped."""
        self.unanswered += 1
        self._let_go.wait(60)
        self.unanswered -= 1
        return Reply({}, status=503)

    def drip(self, question: Payload) -> Reply:
        """Send a blank now and then, and never an answer."""
        return Reply(iter(lambda: b"" if self._let_go.wait(0.1) else b" ", b""))

    def license_file(self, request: Payload, **changes: Any) -> Payload:
        """What `headcount license file` prints for this request."""
        payload = self.says({"key": KEY, "instance": "", "nonce": ""}, **request, **changes)
        for name in ("nonce", "check_after", "token", "version"):
            payload.pop(name, None)
        return {"file": self.key("file").sign(payload), "keys": self.key_set()}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/license/release":
                    fake.released.append(question)
                    self._send(Reply({"released": True}))
                elif self.path == "/api/license/check":
                    fake.asked.append(question)
                    fake.headers.append(dict(self.headers.items()))
                    self._send(fake.answering(question))
                else:
                    self._send(Reply({}, status=404))

            def do_GET(self) -> None:
                fake.asked.append({"path": self.path})
                self._send(Reply({}, status=404))

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if isinstance(reply.body, Iterator):
                    self.wfile.writelines(reply.body)
                else:
                    self.wfile.write(
                        reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                    )

            def handle(self) -> None:
                with suppress(ConnectionError):  # the client has given up, as it should
                    super().handle()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def about(key: str, instance: str, product: str = PRODUCT) -> Payload:
    """What an answer repeats of its question."""
    plain = key.replace("-", "")
    return {
        "product": product,
        "key_digest": hashlib.sha256(plain.encode()).hexdigest(),
        "instance_digest": hmac.digest(plain.encode(), instance.encode(), "sha256").hex(),
    }


def encode(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
