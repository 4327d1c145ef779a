"""The program's own log: what an operator has to know about the program itself.

It goes to standard error, so that it never mixes with records: one line an event,
JSON for machines, plain words on a terminal. The journal of systemd learns besides how
grave a line is. It names what happened and where, and never a value that came from a
request or from an exception: those may hold a prompt or a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final, Literal, TextIO

import msgspec
import structlog

Level = Literal["info", "warning", "error"]
_PRIORITIES: Final[Mapping[str, int]] = {"info": 6, "warning": 4, "error": 3}
"""As `sd-daemon(3)` has them; the journal takes every line for 6 that says nothing."""


class Told(Exception):  # noqa: N818 - a fact, not an error
    """Ends what cannot go on; the log has said what there is to say."""


def info(event: str, **fields: object) -> None:
    """Say what happened."""
    _say("info", event, fields)


def warning(event: str, **fields: object) -> None:
    """Say what happened, and should not happen often."""
    _say("warning", event, fields)


def error(event: str, **fields: object) -> None:
    """Say what happened, and should not happen."""
    _say("error", event, fields)


def place_of(error: BaseException) -> dict[str, str]:
    """Name the type of an exception and where it was raised; nothing that it says."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return {"exception": type(error).__name__, **_places(frames)}


def place_now(thread: int) -> dict[str, str]:
    """Name where a thread is, as `place_of` does."""
    innermost = sys._current_frames()[thread]  # noqa: SLF001 - documented, if private
    return _places([*traceback.walk_stack(innermost)][::-1])


def _places(frames: Sequence[tuple[FrameType, int]]) -> dict[str, str]:
    """Name the innermost frame, and the innermost of our own if that is another."""
    ours = [each for each in frames if __package__ in _module(each[0].f_globals)]
    found: dict[str, str] = {}
    for name, some in (("at", frames[-1:]), ("ours", ours[-1:])):
        for frame, line in some:
            found[name] = f"{_module(frame.f_globals)}:{line}"
    if found.get("ours") == found.get("at"):
        found.pop("ours", None)
    return found


class Bridge(logging.Handler):
    """Takes what libraries log, uvicorn above all: its tracebacks show values."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say that a library complained; what it was told stays untold."""
        raised = record.exc_info[1] if record.exc_info else None
        if isinstance(raised, Told | asyncio.CancelledError):
            return
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        if raised is not None:
            _say(level, "imagegate.unexpected", place_of(raised))
            return
        # The template, without its arguments.
        said = str(record.msg).partition("\n")[0]
        _say(level, "imagegate.dependency", {"logger": record.name, "message": said})


def mark(level: Level, stream: TextIO) -> str:
    """Return what a line begins with, so that the journal knows how grave it is.

    Anywhere else it is nothing. `JOURNAL_STREAM` names what systemd has connected, and
    children inherit the name, whatever theirs is connected to.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return ""
    named = os.environ.get("JOURNAL_STREAM")
    is_journal = named == f"{found.st_dev}:{found.st_ino}"
    return f"<{_PRIORITIES[level]}>" if is_journal else ""


def take_over() -> None:
    """Let everything that this process logs come out here."""
    logging.basicConfig(handlers=[Bridge()], level=logging.WARNING, force=True)


def _say(level: Level, event: str, fields: Mapping[str, object]) -> None:
    logger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=_processors(sys.stderr, level),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    # A log that nobody can take any more is no reason to stop, nor to stand still.
    with contextlib.suppress(OSError, ValueError):
        if _takes_more(sys.stderr):
            getattr(logger, level)(event, **fields)


def _takes_more(stream: TextIO) -> bool:
    """Tell whether a line can be written without waiting for who reads it."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return True  # it is no file of the system's
    look = select.poll()
    look.register(number, select.POLLOUT)
    return bool(look.poll(0))


def _processors(stream: TextIO, level: Level) -> list[structlog.typing.Processor]:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    if not stream.isatty():
        json = structlog.processors.JSONRenderer(serializer=_encode)
        first = mark(level, stream)
        marked = [lambda _logger, _name, line: first + line] if first else []
        return [structlog.processors.add_log_level, stamp, _in_order, json, *marked]
    coloured = "NO_COLOR" not in os.environ
    clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    console = structlog.dev.ConsoleRenderer(colors=coloured, pad_event_to=0)
    return [structlog.processors.add_log_level, clock, console]


def _in_order(
    _logger: object, _name: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put first what every line has."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **fields}


def _encode(value: object, **_: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _module(names: dict[str, object]) -> str:
    return str(names.get("__name__", ""))
