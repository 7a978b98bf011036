"""Runs the sample clients of `tracker/license/` as real processes, each call in one of its own.

It asks whatever server it is given, so the same helper serves the tests with the fake and with the real one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from acceptance.server import libfaketime

CLIENTS = Path(__file__).parents[2] / "tracker" / "license"
FILES = {
    "python": "headcount_license.py",
    "php": "HeadcountLicense.php",
    "node": "headcount-license.mjs",
    "sh": "headcount-license.sh",
}
PATIENCE = 60
"""Seconds that a client may take on a busy machine. What is asserted never depends on how long it took."""

# Each takes one argument, JSON, and prints the result of the call as JSON. The shell's needs no driver.
DRIVERS = {
    "python": """
import json, sys
from headcount_license import HeadcountLicense
given = json.loads(sys.argv[1])
call = given.pop("call")
license = HeadcountLicense(**given)
if call == "request":
    print(json.dumps(license.request))
elif call == "release":
    print(json.dumps({"released": license.release()}))
else:
    print(json.dumps(vars(getattr(license, call)())))
""",
    "php": """
require $argv[1];
$given = json_decode($argv[2], true);
$call = $given['call'];
unset($given['call']);
$license = new HeadcountLicense(...array_combine(
    array_map(fn ($name) => lcfirst(str_replace('_', '', ucwords($name, '_'))), array_keys($given)), $given));
echo match ($call) {
    'request' => json_encode($license->request),
    'release' => json_encode(['released' => $license->release()]),
    default => json_encode($license->$call()),
};
""",
    "node": """
const { HeadcountLicense } = await import(process.argv[1]);
const { call, root_key: rootKey, ...given } = JSON.parse(process.argv[2]);
const license = new HeadcountLicense({ rootKey, ...given });
const found = call === 'request' ? license.request : await license[call]();
console.log(JSON.stringify(call === 'release' ? { released: found } : found));
""",
}


@cache
def missing(language: str) -> str | None:
    """What this machine lacks for the client, as a sentence; None: nothing."""
    if language == "php" and not _php_has("sodium", "curl"):
        return "needs PHP with sodium and curl: apt-get install php-cli php-curl"
    if language == "node" and shutil.which("node") is None:
        return "needs Node 18 or later: apt-get install nodejs"
    if language == "sh" and not (shutil.which("curl") and _openssl_is_new()):
        return "needs curl and OpenSSL 3: apt-get install curl openssl"
    return None


def run_client(
    language: str,
    *,
    url: str,
    root_key: str,
    product: str,
    key: str,
    state_dir: Path,
    call: str = "check",
    clock: int = 0,
    **more: str,
) -> dict[str, Any]:
    """What the call returns. `clock`: seconds by which the client's clock is wrong, which needs faketime.

    `call` is `check` (ask now), `status` (ask if it is time to), `release` or `request`; `more` are further
    settings, such as `version`. It is an error if the client prints anything beside its result.
    """
    given = {
        "url": url,
        "root_key": root_key,
        "product": product,
        "key": key,
        "folder": str(state_dir),
        "version": "2.4.1",
        **more,
    }
    command = _shell(given, call) if language == "sh" else _program(language, {**given, "call": call})
    done = subprocess.run(
        command, env=_environment(given, clock), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == "", done.stderr
    if language == "sh":
        assert done.returncode in (0, 1)
        return _of_lines(done.stdout, done.returncode)
    assert done.returncode == 0
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _program(language: str, given: dict[str, str]) -> list[str]:
    file, driver, text = CLIENTS / FILES[language], DRIVERS[language], json.dumps(given)
    if language == "python":
        return [sys.executable, "-c", driver, text]
    if language == "php":
        return [
            "php",
            "-d",
            "display_errors=stderr",
            "-d",
            "error_reporting=-1",
            "-r",
            driver,
            str(file),
            text,
        ]
    return ["node", "--input-type=module", "-e", driver, file.as_uri(), text]


def _shell(given: dict[str, str], call: str) -> list[str]:
    """The script with its first lines filled in, as a vendor does; the rest comes from the environment."""
    script = (CLIENTS / FILES["sh"]).read_text()
    for name in ("url", "root_key", "product", "version"):
        script, found = re.subn(f"(?m)^{name.upper()}=.*$", f"{name.upper()}='{given[name]}'", script)
        assert found == 1
    words = {"check": ["check", "now"], "status": ["check"], "read": ["status"]}.get(call, [call])
    return ["sh", "-c", script, "headcount-license.sh", *words]


def _environment(given: dict[str, str], clock: int) -> dict[str, str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CLIENTS),
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"HEADCOUNT_{name.upper()}": value for name, value in given.items()},
    }
    if clock:
        library = libfaketime()
        assert library is not None, "needs faketime"
        environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{clock:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
    return environment


def _of_lines(output: str, code: int) -> dict[str, Any]:
    """What the shell's client prints, as the others have it: lines of `name=value` and `group.name=value`."""
    result: dict[str, Any] = {"entitlements": {}}
    for line in output.splitlines():
        path, _, text = line.partition("=")
        *group, name = path.split(".", 1)
        (result.setdefault(group[0], {}) if group else result)[name] = _value(text)
    assert "allowed" not in result or result["allowed"] == (code == 0)
    return result


def _value(text: str) -> object:
    if text in ("", "true", "false"):
        return {"": None, "true": True, "false": False}[text]
    return int(text) if text.isdigit() else text


def _php_has(*extensions: str) -> bool:
    if shutil.which("php") is None:
        return False
    listed = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()
    return {*extensions} <= {*listed}


def _openssl_is_new() -> bool:
    if shutil.which("openssl") is None:
        return False
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout
    return int(version.split()[1].split(".")[0]) >= 3
