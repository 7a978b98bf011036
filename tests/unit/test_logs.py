"""The log tells what went wrong and never what a client sent."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from headcount import logs

SECRET = "203.0.113.77"


Printed = Callable[[], str]


@pytest.fixture
def printed() -> Iterator[Printed]:
    """The server's log is on; gives what it has printed."""
    file = io.StringIO()
    root, hooks = logging.getLogger(), (threading.excepthook, sys.unraisablehook, warnings.showwarning)
    before = root.handlers[:], root.level
    with contextlib.redirect_stderr(file):
        logs.configure("info")
    logs.catch_strays()
    yield file.getvalue
    root.handlers[:], root.level = before
    threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks


def fail() -> None:
    raise ValueError(f"invalid header from {SECRET}")


class Fails:
    def __del__(self) -> None:
        fail()


def test_an_exception_is_told_by_its_kind_and_places(printed: Printed) -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("headcount").exception("failed: /api/event")
    text = printed()
    assert "ERROR" in text
    assert "failed: /api/event\n  ValueError\n" in text
    assert f"{__file__}:" in text
    assert SECRET not in text, text


def test_a_cause_is_not_told_either(printed: Printed) -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError:
        logging.getLogger("headcount").exception("failed")
    text = printed()
    assert "RuntimeError" in text
    assert SECRET not in text, text


@pytest.mark.parametrize(
    "name", ["aiohttp.server", "aiohttp.web", "aiohttp.internal", "asyncio", "asyncpg", "any"]
)
def test_of_a_library_s_record_only_the_kind_is_told(name: str, printed: Printed) -> None:
    try:
        fail()
    except ValueError as error:
        logging.getLogger(name).error("Error handling request from %s", SECRET, exc_info=error)
    logging.getLogger(name).error(f"no exception, but {SECRET}")
    text = printed()
    assert [line.split(" ", 3)[3] for line in text.splitlines()] == [
        f"{name}: ValueError",
        f"{name}: no exception",
    ]


def test_what_a_library_merely_mentions_is_dropped(printed: Printed) -> None:
    logging.getLogger("any").warning("a request from %s", SECRET)
    assert printed() == ""


def test_a_line_can_be_an_object_for_programs(printed: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "web")
    try:
        fail()
    except ValueError:
        logging.getLogger("headcount.jobs.loop").exception("failed: %s", 'two\nlines "quoted"')
    line = json.loads(capsys.readouterr().err)
    exception = line.pop("exception")
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "error",
        "role": "web",
        "pid": os.getpid(),
        "logger": "headcount.jobs.loop",
        "message": 'failed: two\nlines "quoted"',
    }
    assert (exception["kind"], exception["places"][-1].rpartition(" ")[2]) == ("ValueError", "fail")
    assert SECRET not in str(exception)


def test_a_library_s_record_and_a_stray_are_tame_as_objects_too(
    printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", "json", "rollup")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", SECRET)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["aiohttp.server: no exception", "a thread ended"]
    assert SECRET not in str(lines)


def test_a_warning_is_told_by_its_kind_and_place(printed: Printed) -> None:
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always")
        logs.catch_strays()
        warnings.warn(f"odd header from {SECRET}", RuntimeWarning, stacklevel=1)
    assert f"RuntimeWarning at {__file__}:" in printed()
    assert SECRET not in printed()


def test_there_is_no_access_log(printed: Printed) -> None:
    logging.getLogger("aiohttp.access").error(SECRET)
    assert printed() == ""


async def test_what_nobody_awaited_is_told_by_its_kind(printed: Printed) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_error)
    loop.call_soon(fail)
    loop.call_exception_handler({"message": SECRET})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    text = printed()
    assert text.count("nobody awaited") == 2
    assert "ValueError" in text
    assert SECRET not in text, text


def test_a_thread_that_ends_is_told_by_its_kind(printed: Printed) -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    text = printed()
    assert "a thread ended\n  ValueError" in text
    assert SECRET not in text, text


def test_what_fails_in_a_finalizer_is_told_by_its_kind(printed: Printed) -> None:
    Fails()
    gc.collect()
    text = printed()
    assert "ValueError" in text
    assert SECRET not in text, text


def test_a_line_that_cannot_be_written_is_not_printed_with_its_cause(
    printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    (handler,) = [one for one in logging.getLogger().handlers if isinstance(one.formatter, logs.Formatter)]
    assert isinstance(handler, logging.StreamHandler)
    handler.stream.close()
    with contextlib.suppress(ValueError):
        try:
            fail()
        finally:
            logging.getLogger("headcount").exception("failed")
    assert capsys.readouterr().err == ""


def test_the_level_is_a_setting(printed: Printed) -> None:
    logging.getLogger("headcount").debug("quiet")
    logging.getLogger("headcount").info("loud")
    assert printed().endswith(" loud\n")
    assert "quiet" not in printed()
