"""All settings: one frozen object, read once from `headcount.toml` and `HEADCOUNT_*`; faults come together.

The environment wins over the file. A variable that ends in `_FILE` names a file that holds the value.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from headcount import errors

PREFIX = "HEADCOUNT_"
Network = IPv4Network | IPv6Network


def _text(value: str) -> str:
    return value


def _database(value: str) -> str:
    if value and not re.match(r"postgres(ql)?://.", value):
        raise ValueError("must be a URL such as postgresql://user:password@host/database")
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _listen(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError("must be host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return host.strip("[]"), int(port)


def _networks(value: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise ValueError("must be one header name, such as X-Forwarded-For")
    if value.lower() == "forwarded":
        raise ValueError("the form of Forwarded (RFC 7239) is not read: have the proxy set X-Forwarded-For")
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", value):
        raise ValueError("must be an origin without a path, such as https://count.example.com")
    return value


def _secret(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=?", value):
        raise ValueError("must be 32 bytes in base64url: 43 characters")
    return value.rstrip("=")


def _token(value: str) -> str:
    if not re.fullmatch(r"[!-~]{16,200}", value):
        raise ValueError("must be 16 to 200 printable ASCII characters without a space")
    return value


def _between(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str], Any]:
    def read(value: str) -> float:
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(f"must be a number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}")
        return number

    return read


def _setting(default: str, read: Callable[[str], Any], purpose: str, secret: bool = False) -> Any:
    return field(metadata={"default": default, "read": read, "purpose": purpose, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the operator has decided. Units stand in the purpose of each setting."""

    database_url: str = _setting(
        "", _database, "PostgreSQL 15 or later; empty: an own one under the data directory", secret=True
    )
    secret_key: str = _setting(
        "",
        lambda value: _secret(value) if value else "",
        "32 random bytes in base64url, under which private keys are stored; empty: secret.key in the data directory",
        secret=True,
    )
    data_dir: Path = _setting("./data", _path, "Where the spool, the state and the own PostgreSQL live")
    listen: tuple[str, int] = _setting("127.0.0.1:8080", _listen, "Address to listen on, as host:port")
    public_url: str = _setting(
        "", lambda value: _origin(value) if value else "", "Origin that browsers reach; empty: from listen"
    )
    workers: int = _setting("2", _between(1, 64), "Web worker processes")
    trusted_proxies: tuple[Network, ...] = _setting(
        "", _networks, "Comma list of networks whose address header is believed"
    )
    address_header: str = _setting("X-Forwarded-For", _header, "The one header that carries client addresses")
    retention_days: int = _setting("30", _between(1, 30), "Days that raw rows live, today included")
    rate_limit: float = _setting("50", _between(0, 1e6, float), "Requests a second and client; 0: no limit")
    rate_burst: int = _setting("200", _between(1, 1_000_000), "Requests that a client may send at once")
    max_values: int = _setting(
        "10000", _between(10, 1_000_000), "Distinct values a site, day and dimension; the rest is (other)"
    )
    spool_limit: int = _setting(
        str(1 << 30), _between(1 << 20, 1 << 40), "Bytes of one worker's spool; past it events get 503"
    )
    outbox_limit: int = _setting(
        str(4 << 30), _between(1 << 20, 1 << 40), "Bytes that may wait for Postgres; past it the spool fills"
    )
    geoip_file: str = _setting(
        "",
        _text,
        "Country file in MaxMind's format; empty: geoip.mmdb in the data directory, or the shipped one",
    )
    edge: bool = _setting(
        "on",
        lambda value: _one_of(value, ("on", "off")) == "on",
        "on or off: whether plain events and license checks are answered before aiohttp",
    )
    metrics_token: str = _setting(
        "",
        lambda value: _token(value) if value else "",
        "Whoever brings it may read /metrics, from 16 characters on; empty: only this machine may",
        secret=True,
    )
    log_format: str = _setting(
        "text", lambda value: _one_of(value, ("text", "json")), "How a line of the log is written"
    )
    log_level: str = _setting(
        "info", lambda value: _one_of(value, ("debug", "info", "warning", "error")), "How much is logged"
    )

    @property
    def origin(self) -> str:
        """The server's origin as browsers reach it."""
        if self.public_url:
            return self.public_url
        host, port = self.listen
        everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
        name = "localhost" if host in everywhere else f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}"

    @property
    def knows_its_clients(self) -> bool:
        """Whether an address of this machine means a client on it: not if it is that of a proxy nobody told us of."""
        return not self.public_url or bool(self.trusted_proxies)

    def described(self) -> list[tuple[str, str, str]]:
        """(variable, value with secrets starred, purpose) of each setting."""
        return [
            (
                _variable(f.name),
                "***" if f.metadata["secret"] and value else _shown(value),
                f.metadata["purpose"],
            )
            for f in fields(self)
            for value in (getattr(self, f.name),)
        ]


def example() -> str:
    """An environment file with every setting, all of them commented out at their defaults."""
    lines = [
        "# Settings of Headcount, each with its default. A variable may end in _FILE: the value is in that file."
    ]
    for f in fields(Config):
        lines += ["", f"# {f.metadata['purpose']}", f"#{_variable(f.name)}={f.metadata['default']}"]
    return "\n".join(lines) + "\n"


def _one_of(value: str, words: tuple[str, ...]) -> str:
    if value not in words:
        raise ValueError(f"must be one of {', '.join(words)}")
    return value


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        return f"[{value[0]}]:{value[1]}" if ":" in value[0] else f"{value[0]}:{value[1]}"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def load(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Config:
    """Read the settings. Raises BadConfig with every fault at once, one a line."""
    faults: list[str] = []
    given = _from_file(environ, file, faults)
    known = {f.name for f in fields(Config)}
    faults += [f"{name}: there is no such setting" for name in sorted(given.keys() - known)]
    values: dict[str, Any] = {}
    for f in fields(Config):
        try:
            text = _from_environment(environ, _variable(f.name))
            values[f.name] = f.metadata["read"](
                given.get(f.name, f.metadata["default"]) if text is None else text
            )
        except (ValueError, OSError) as error:
            faults.append(f"{_variable(f.name)}: {error}")
    known_variables = {_variable(name) + suffix for name in known for suffix in ("", "_FILE")}
    ours = {name for name in environ if name.startswith(PREFIX) and not name.startswith(PREFIX + "TEST_")}
    faults += [
        f"{name}: there is no such setting" for name in sorted(ours - known_variables - {PREFIX + "CONFIG"})
    ]
    faults += [] if faults else _bad_pairs(values)
    if faults:
        raise errors.BadConfig("\n".join(faults))
    return Config(**values)


def _bad_pairs(values: Mapping[str, Any]) -> list[str]:
    if values["address_header"] != "X-Forwarded-For" and not values["trusted_proxies"]:
        return [
            "HEADCOUNT_ADDRESS_HEADER: is believed from HEADCOUNT_TRUSTED_PROXIES alone, and there are none"
        ]
    return []


def _from_environment(environ: Mapping[str, str], variable: str) -> str | None:
    file = environ.get(variable + "_FILE")
    if file is None:
        return environ.get(variable)
    if variable in environ:
        raise ValueError(f"is given twice: as {variable} and as {variable}_FILE")
    return Path(file).read_text().strip()


def _from_file(environ: Mapping[str, str], file: Path | None, faults: list[str]) -> dict[str, str]:
    named = environ.get(PREFIX + "CONFIG")
    path = file or Path(named or "headcount.toml")
    if not named and not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        faults.append(f"{path}: {error}")
        return {}
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in table.items()
    }
