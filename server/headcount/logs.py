"""The only log. It never prints the message of an unexpected exception: that may quote what a client sent.

What went wrong is told by the kind of error and the places in the code; our own errors speak for themselves.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(logging.Formatter):
    """One line a record, and for an exception its kind and where it passed."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(process)d %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatException(self, ei: ExcInfo) -> str:
        kind, _, trace = ei
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
        return "\n".join([f"  {kind.__name__ if kind else 'unknown'}", *(f"    {place}" for place in places)])


class _Quiet(logging.Filter):
    """aiohttp's and asyncio's own records quote addresses and raw bytes: only the kind of error is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "no exception"
        record.msg, record.args, record.exc_info, record.exc_text = f"{record.name}: {kind}", (), None, None
        return True


def configure(level: str) -> None:
    """Log to stderr, and tame the loggers of the libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("aiohttp.server", "aiohttp.web", "aiohttp.internal", "aiohttp.client", "asyncio", "asyncpg"):
        logger = logging.getLogger(name)
        logger.filters[:] = [_Quiet()]
        logger.setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").disabled = True
    logging.raiseExceptions = False  # or a line that cannot be written is printed with its exception in full


def catch_strays() -> None:
    """Log what ends a thread or fails in a finalizer; Python itself would print it with its message."""
    threading.excepthook = lambda stray: _stray(stray.exc_value, "a thread ended")
    sys.unraisablehook = lambda stray: _stray(stray.exc_value, "nobody could catch")


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody awaited: its kind and place, nothing of the transport it came from."""
    _stray(context.get("exception"), "nobody awaited")


def _stray(error: BaseException | None, what: str) -> None:
    log.error(what, exc_info=(type(error), error, error.__traceback__) if error is not None else None)
