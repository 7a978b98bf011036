"""The file of a backup: a zip with one CSV file a table, and last a manifest that says what they hold.

Written and read as a stream, so that memory does not grow with it. What is damaged, cut or no backup is told as
BadInput before anybody has used a row of it.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import IO

import msgspec

from headcount import errors

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST = 4 << 20
"""Bytes of a manifest at the most."""
SECRET = "secret.key"  # noqa: S105 - the name of a member
MAX_SECRET = 100
"""Bytes of a secret at the most."""
_CHUNK = 1 << 18
_LEVEL = 1
"""Three times as fast as the usual one, for a file that is a tenth larger."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,  # a kind of zip that we never write
    RuntimeError,
    ValueError,
)


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of one table."""

    table: str
    columns: list[str]
    rows: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds."""

    headcount: str
    """The version that made it."""
    made_at: datetime
    """The moment that all of it is of, cut to the minute."""
    schema: list[str]
    """The migrations that made its tables, in order."""
    raw: bool
    """Whether it holds raw rows."""
    raw_days: list[date]
    """The days whose raw rows it may hold."""
    secret: str
    """What tells the HEADCOUNT_SECRET_KEY that its product keys are encrypted under; empty: not known."""
    members: list[Member]
    format: int = FORMAT


class _Format(msgspec.Struct):
    """What every manifest says, of whatever format."""

    format: int


class Writer:
    """A backup that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    @contextmanager
    def member(self, table: str) -> Iterator[Sink]:
        """Where the rows of a table are to be written."""
        with _writing(), self._zip.open(f"{table}.csv", "w", force_zip64=True) as member:
            yield Sink(member)

    def secret(self, text: str) -> None:
        """Add the secret itself."""
        with _writing():
            self._zip.writestr(SECRET, text)

    def finish(self, manifest: Manifest) -> None:
        with _writing():
            self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            self._zip.close()

    def abandon(self) -> None:
        """Leave it unfinished: without a manifest, so that nobody takes it for a backup."""
        with suppress(Exception):  # what stopped it is told already
            self._zip.close()


class Sink:
    """Takes the bytes of a member, and knows their number and digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Reader:
    """A backup that was found to be whole."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._zip = file
        self.manifest = _manifest(file)
        self.has_secret = SECRET in file.namelist()
        self._check_members()

    @contextmanager
    def member(self, table: str) -> Iterator[IO[bytes]]:
        """The rows of a table, to be read as a stream."""
        with _as_bad_input(), self._zip.open(f"{table}.csv") as member:
            yield member

    def secret(self) -> str:
        """The secret, if it is in the backup; else nothing."""
        return _text(self._zip, SECRET, MAX_SECRET) if self.has_secret else ""

    def _check_members(self) -> None:
        """Every member is there once and is what the manifest says, and there is no other."""
        names = [f"{member.table}.csv" for member in self.manifest.members]
        wanted = sorted([*names, MANIFEST, *([SECRET] if self.has_secret else [])])
        if sorted(self._zip.namelist()) != wanted:
            raise _damaged("its files are not those of its manifest")
        self.secret()
        for member in self.manifest.members:
            size, digest = self._measured(member.table)
            if (size, digest) != (member.bytes, member.sha256):
                raise _damaged(f"{member.table}.csv is not what was written")

    def _measured(self, table: str) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with self.member(table) as rows:
            while data := rows.read(_CHUNK):
                digest.update(data)
                size += len(data)
        return size, digest.hexdigest()


@contextmanager
def writing(file: IO[bytes]) -> Iterator[Writer]:
    """Write a backup to this file. Raises BadInput if it cannot be written."""
    with _writing():
        writer = Writer(file)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """The backup in this file, read once through and found whole. Raises BadInput if it is not."""
    with _as_bad_input():
        file = zipfile.ZipFile(path)
    with file:
        if any(info.compress_type != zipfile.ZIP_DEFLATED for info in file.infolist()):
            raise _damaged("it is a zip file of another kind")
        yield Reader(file)


def _manifest(file: zipfile.ZipFile) -> Manifest:
    text = _text(file, MANIFEST, MAX_MANIFEST)
    try:
        format = msgspec.json.decode(text, type=_Format).format
        if format != FORMAT:
            raise errors.BadInput("file", f"is a backup of format {format}; this Headcount reads {FORMAT}")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise _damaged(f"its manifest cannot be understood: {error}") from None


def _text(file: zipfile.ZipFile, name: str, limit: int) -> str:
    if name not in file.namelist():
        raise errors.BadInput("file", f"is no backup of Headcount: it has no {name}")
    with _as_bad_input(), file.open(name) as member:
        data = member.read(limit + 1)
        if len(data) > limit:
            raise _damaged(f"{name} is longer than {limit} bytes")
        return data.decode()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.BadInput("file", f"cannot be written: {error.strerror}") from None


@contextmanager
def _as_bad_input() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise errors.BadInput("file", "is not there") from None
    except (PermissionError, IsADirectoryError) as error:
        raise errors.BadInput("file", f"cannot be read: {error.strerror}") from None
    except _DAMAGE as error:
        raise _damaged(str(error)) from None


def _damaged(why: str) -> errors.BadInput:
    return errors.BadInput("file", f"is no whole backup: {why}")
