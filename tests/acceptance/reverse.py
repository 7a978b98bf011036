"""The reverse proxies of deploy/, run for real: Debian's nginx and Caddy with the very files that are shipped there.

Only ports, paths and the certificate are put in.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from acceptance.server import until

DEPLOY = Path(__file__).parents[2] / "deploy"
COUNT, SITE = "count.example.com", "www.example.com"


@dataclass(frozen=True)
class Answer:
    status: int
    protocol: str
    headers: Mapping[str, str]
    body: bytes


class Certificate:
    """Made by ourselves, for both names."""

    def __init__(self, folder: Path) -> None:
        self.file, self.key = folder / "certificate.pem", folder / "key.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
        )
        names = f"subjectAltName=DNS:{COUNT},DNS:{SITE}"
        words = [*command.split(), "-addext", names, "-keyout", str(self.key), "-out", str(self.file)]
        subprocess.run(words, check=True, capture_output=True)


class Reverse:
    """One reverse proxy in a folder of its own, in front of a Headcount."""

    program = ""

    def __init__(self, folder: Path, certificate: Certificate, upstream: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.certificate = certificate
        self.upstream = upstream
        self.port, self.http_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def configure(self) -> list[str]:
        """Write the files; the command that runs it in the foreground."""

    async def __aenter__(self) -> Self:
        command = self.configure()
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "PATH": os.environ["PATH"]}
        with (self.folder / "output.log").open("ab") as output:
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, stdout=output, stderr=output, env=home, cwd=self.folder
            )
        await until(self._listens)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 30)

    async def curl(
        self,
        path: str,
        *flags: str,
        at: str = COUNT,
        by: str = "127.0.0.1",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """What curl gets, which speaks HTTP/2 and checks the certificate. `by`: an address of this machine."""
        target = "[::1]" if ":" in by else "127.0.0.1"
        words = ["--http2", "--cacert", str(self.certificate.file), "--interface", by, "--max-time", "30"]
        words += ["--connect-to", f"{at}:{self.port}:{target}:{self.port}", "--silent", "--show-error"]
        words += [
            word for name, value in headers.items() for word in ("-H", f"{name.replace('_', '-')}: {value}")
        ]
        words += [] if body is None else ["--data-binary", "@-", "-H", "Expect:"]
        words += ["--dump-header", "-", *flags, f"https://{at}:{self.port}{path}"]
        process = await asyncio.create_subprocess_exec(
            "curl", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate(body or b"")
        return _answer(printed)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def _shipped(self, name: str, replaced: Mapping[str, str]) -> str:
        """A file of deploy/, with these words in it replaced, each of which has to be there."""
        text = (DEPLOY / name).read_text()
        for old, new in replaced.items():
            assert old in text, (name, old)
            text = text.replace(old, new)
        return text


class Nginx(Reverse):
    """Debian's nginx.conf in short, which includes ours, and a site that includes the first-party path."""

    program = "nginx"
    logs_nothing: ClassVar[dict[str, str]] = {}

    def configure(self) -> list[str]:
        replaced = {
            "127.0.0.1:8080": self.upstream,
            "443": str(self.port),
            "listen 80": f"listen {self.http_port}",
            "listen [::]:80": f"listen [::]:{self.http_port}",
            "/etc/letsencrypt/live/count.example.com/fullchain.pem": str(self.certificate.file),
            "/etc/letsencrypt/live/count.example.com/privkey.pem": str(self.certificate.key),
        }
        (self.folder / "headcount.conf").write_text(self._shipped("nginx.conf", replaced | self.logs_nothing))
        (self.folder / "headcount-first-party.conf").write_text(
            self._shipped("nginx-first-party.conf", self.logs_nothing)
        )
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy"))
        (self.folder / "nginx.conf").write_text(
            f"""
            worker_processes 1; daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;
            events {{ }}
            http {{
                access_log {self.folder}/access.log; {temporary}
                include {self.folder}/headcount.conf;
                server {{
                    listen {self.port} ssl http2; listen [::]:{self.port} ssl http2; server_name {SITE};
                    ssl_certificate {self.certificate.file}; ssl_certificate_key {self.certificate.key};
                    include {self.folder}/headcount-first-party.conf;
                    location / {{ return 404; }}
                }}
            }}"""
        )
        return [_found("nginx") or "", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]


class Balancer(Nginx):
    """nginx in front of two nodes, as README.md shows it."""

    def __init__(self, folder: Path, certificate: Certificate, ports: tuple[int, int]) -> None:
        super().__init__(folder, certificate, "")
        self._nodes = {"10.0.0.11:8080": f"127.0.0.1:{ports[0]}", "10.0.0.12:8080": f"127.0.0.1:{ports[1]}"}

    def _shipped(self, name: str, replaced: Mapping[str, str]) -> str:
        if name != "nginx.conf":
            return super()._shipped(name, replaced)
        one = "upstream headcount {\n    server 127.0.0.1:8080;\n    keepalive 32;\n}\n"
        example = super()._shipped("README.md", self._nodes).partition("```nginx\n")[2].partition("```")[0]
        both = {old: new for old, new in replaced.items() if new}
        return super()._shipped(name, {one: example, **both})


class Caddy(Reverse):
    """Caddy with our Caddyfile, which has a site with the first-party path in it."""

    program = "caddy"
    logs_nothing: ClassVar[dict[str, str]] = {}

    def configure(self) -> list[str]:
        own = f"tls {self.certificate.file} {self.certificate.key}"
        replaced = {
            "127.0.0.1:8080": self.upstream,
            "\n{\n": f"\n{{\n\thttp_port {self.http_port}\n\thttps_port {self.port}\n\tadmin off\n",
            f"\n{COUNT} {{": f"\n{COUNT} {{\n\t{own}",
            f"\n{SITE} {{": f"\n{SITE} {{\n\t{own}",
            "/var/www/html": str(self.folder / "html"),
        }
        (self.folder / "html").mkdir()
        (self.folder / "Caddyfile").write_text(self._shipped("Caddyfile", replaced | self.logs_nothing))
        return [_found("caddy") or "", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


class TalkativeNginx(Nginx):
    """With the lines taken away that keep addresses out of its logs: what a test of those has to notice."""

    logs_nothing: ClassVar[dict[str, str]] = {"error_log /dev/null emerg;": "", "access_log off;": ""}


class TalkativeCaddy(Caddy):
    """The same. An error that is handled is not logged either."""

    logs_nothing: ClassVar[dict[str, str]] = {
        "\t\texclude http\n": "",
        "\timport headcount_is_down\n": "",
        "\t\t\t\trequest delete\n": "",
        "\t\t\t\tremote_ip delete\n": "",
    }


def is_installed(program: str) -> bool:
    return _found(program) is not None


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("", port)):
            return port


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def _answer(printed: bytes) -> Answer:
    if not printed:
        return Answer(0, "none", {}, b"")  # the connection was closed
    head, _, body = printed.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    protocol, status = first.split(" ")[:2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status), protocol, headers, body)
