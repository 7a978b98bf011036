"""The only log. It never prints the message of an unexpected exception: that may quote what a client sent.

What went wrong is told by the kind of error and the places in the code; our own errors speak for themselves.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson

log = logging.getLogger(__name__)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(logging.Formatter):
    """For people: a line a record, and for an exception its kind and where it passed."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(process)d %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatException(self, ei: ExcInfo) -> str:
        kind, places = _told(ei)
        return "\n".join([f"  {kind}", *(f"    {place}" for place in places)])


class JsonFormatter(logging.Formatter):
    """For programs: one JSON object a line, always."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "role": self._role,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage()
            .encode(errors="backslashreplace")
            .decode(),  # a path may be no UTF-8
        }
        if record.exc_info:
            kind, places = _told(record.exc_info)
            line["exception"] = {"kind": kind, "places": places}
        return orjson.dumps(line).decode()


def _told(exception: ExcInfo) -> tuple[str, list[str]]:
    kind, _, trace = exception
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return kind.__name__ if kind else "unknown", places


class _Tame(logging.Filter):
    """Records of libraries quote addresses and raw bytes: of their errors the kind is kept, and nothing else."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] == "headcount":
            return True
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "no exception"
        record.msg, record.args, record.exc_info, record.exc_text = f"{record.name}: {kind}", (), None, None
        return record.levelno >= logging.ERROR


def configure(level: str, form: str = "text", role: str = "command") -> None:
    """Log to stderr, as text or json, and tame whatever libraries say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role) if form == "json" else Formatter())
    handler.addFilter(_Tame())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").disabled = True
    logging.raiseExceptions = False  # or a line that cannot be written is printed with its exception in full


def catch_strays() -> None:
    """Log what ends a thread or fails in a finalizer; Python itself would print it with its message."""
    threading.excepthook = lambda stray: _stray(stray.exc_value, "a thread ended")
    warnings.showwarning = _on_warning
    sys.unraisablehook = lambda stray: _stray(stray.exc_value, "nobody could catch")


def _on_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    log.warning("%s at %s:%d", category.__name__, filename, lineno)


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody awaited: its kind and place, nothing of the transport it came from."""
    _stray(context.get("exception"), "nobody awaited")


def _stray(error: BaseException | None, what: str) -> None:
    log.error(what, exc_info=(type(error), error, error.__traceback__) if error is not None else None)
