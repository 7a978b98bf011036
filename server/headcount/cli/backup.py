"""`headcount backup` and `headcount restore`: all that is kept for long, in one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click

from headcount import app, errors
from headcount.cli import session
from headcount.clock import Clock
from headcount.config import Config
from headcount.store import archive, files, secret
from headcount.store.archive import Manifest
from headcount.store.license_copy import LicenseCopy

RAW_DAYS = timedelta(days=30)
_FILE = click.Path(path_type=Path, allow_dash=True)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--with-raw", is_flag=True, help="Take raw visits, events and license checks too.")
@click.option("--with-secret", is_flag=True, help="Take HEADCOUNT_SECRET_KEY too.")
@session.json_option
@click.pass_obj
def backup(config: Config, file: Path, with_raw: bool, with_secret: bool, as_json: bool) -> None:
    """Write a backup to FILE, or to the standard output: FILE is "-".

    It holds sites, tokens, counts, products and licenses. It works beside a running server.
    """
    vault = secret.find(config.secret_key, config.data_dir)
    if with_secret and vault is None:
        raise errors.BadConfig(f"There is no secret to take: {config.data_dir / secret.FILE} is not there.")

    async def work(to: IO[bytes]) -> Manifest:
        async with session.open_database(config) as database:
            backups = app.backups_of(config, database, Clock())
            with archive.writing(to) as writer:
                return await backups.write(writer, vault, raw=with_raw, with_secret=with_secret)

    with _output(file) as to:
        manifest = session.run(work(to))
    facts = _facts(manifest) | {"secret": with_secret}
    _tell(as_json, [f"{_rows(manifest)} are written to {file}.", *_notes(manifest, with_secret)], facts, file)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Delete all that the database holds.")
@session.json_option
@click.pass_obj
def restore(config: Config, file: Path, replace: bool, as_json: bool) -> None:
    """Put the backup in FILE back, into an empty database.

    All of it or nothing. It works beside a running server and without one.
    """

    async def work(found: archive.Reader) -> Any:
        async with session.open_database(config) as database:
            return await app.backups_of(config, database, Clock()).restore(found, replace=replace)

    with archive.opened(file) as found:
        done = session.run(work(found))
        text, manifest = found.secret(), found.manifest
    _renew_copy(config)
    fits = _take_secret(config, text, manifest.secret)
    lines = [
        f"{_rows(manifest)} are restored as they were at {_moment(manifest)}.",
        "What was redacted, erased or deleted since then is back: do it again. Tokens that were revoked since too.",
        "A server that goes on counting sends what is missing, if it is of the last 15 minutes; "
        "`headcount privacy status` names what is not.",
    ]
    if done.products and not fits:
        lines.append(
            "HEADCOUNT_SECRET_KEY is not the one that the keys of its products are encrypted under: put that in "
            f"place, as the setting or as {config.data_dir / secret.FILE}; until then no license check is answered."
        )
    facts = _facts(manifest) | {"migrated": done.migrated, "secret_fits": fits}
    _tell(as_json, lines, facts, file)


@contextmanager
def _output(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A pipe or a device is written to; it must not be replaced.
    special = file.exists() and not file.is_file()
    try:
        with file.open("wb") if special else files.replacing(file) as output:
            yield output
    except OSError as error:
        raise errors.BadInput("file", f"cannot be written: {error.strerror}") from None


def _renew_copy(config: Config) -> None:
    """This node's copy of licenses follows at once; those of other nodes within five minutes."""
    path = config.data_dir / "licenses.db"
    if path.exists():
        copy = LicenseCopy(path)
        copy.ask_for_everything()
        copy.close()


def _take_secret(config: Config, text: str, mark: str) -> bool:
    """Put the secret of the backup in place if there is none; whether the one in place is that of the backup."""
    if text and not config.secret_key:
        secret.put(config.data_dir, text)
    vault = secret.find(config.secret_key, config.data_dir)
    return vault is not None and vault.mark == mark


def _notes(manifest: Manifest, with_secret: bool) -> list[str]:
    notes = []
    if manifest.raw:
        notes.append(
            "It holds raw rows. The server forgets them after 30 days, this file does not: delete it by "
            f"{(manifest.made_at + RAW_DAYS):%Y-%m-%d}, or what is promised of raw rows does not hold for it."
        )
    if with_secret:
        notes.append("It holds the secret that product keys are encrypted under: guard it like a password.")
    elif any(member.table == "product" and member.rows for member in manifest.members):
        notes.append(
            "It does not hold HEADCOUNT_SECRET_KEY, without which the keys of products are of no use: keep that "
            "elsewhere."
        )
    return notes


def _tell(as_json: bool, lines: list[str], facts: dict[str, Any], file: Path) -> None:
    """Say it; on the standard error, where the backup itself goes to the standard output."""
    to_error = str(file) == "-"
    if as_json:
        session.print_json(facts, err=to_error)
    else:
        click.echo("\n".join(lines), err=to_error)


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "made_at": _moment(manifest),
        "headcount": manifest.headcount,
        "schema": manifest.schema,
        "raw": manifest.raw,
        "tables": {member.table: member.rows for member in manifest.members},
    }


def _rows(manifest: Manifest) -> str:
    return f"{sum(member.rows for member in manifest.members)} rows of {len(manifest.members)} tables"


def _moment(manifest: Manifest) -> str:
    return f"{manifest.made_at:%Y-%m-%d %H:%M} UTC"
