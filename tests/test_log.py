from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from imagegate import log
from imagegate.cli.screen import complain

CANARY = "sk-canary"


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def raised(function: Any, *arguments: object) -> BaseException:
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - that is what is wanted
        return error
    raise AssertionError("nothing was raised")


def test_a_line_is_an_object_with_what_every_line_has_first(lines: Any) -> None:
    log.info("imagegate.listening", url="http://127.0.0.1:1")
    log.warning("imagegate.slow")
    log.error("imagegate.gone", path=object)

    found = lines()
    assert [list(line)[:3] for line in found] == [["timestamp", "level", "event"]] * 3
    assert [line["level"] for line in found] == ["info", "warning", "error"]
    assert found[0]["url"] == "http://127.0.0.1:1"


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_words(
    monkeypatch: pytest.MonkeyPatch, *, colour: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")

    log.info("imagegate.listening", workers=2)

    said = terminal.getvalue()
    assert "imagegate.listening" in said
    assert ("\x1b[" in said) is colour
    assert not said.startswith("{")


def test_the_journal_learns_how_grave_a_line_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, elsewhere = tmp_path / "journal", tmp_path / "elsewhere"
    with journal.open("w") as stream, elsewhere.open("w") as other:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        monkeypatch.setattr(sys, "stderr", stream)
        log.info("imagegate.listening")
        log.warning("imagegate.slow")
        log.error("imagegate.gone")
        complain("the address is taken")
        monkeypatch.setattr(sys, "stderr", other)
        log.error("imagegate.gone")

    said = journal.read_text().splitlines()
    assert [line[:4] for line in said] == ["<6>{", "<4>{", "<3>{", "<3>i"]
    assert json.loads(said[2][3:])["event"] == "imagegate.gone"
    assert elsewhere.read_text().startswith("{")


def test_a_log_that_nobody_takes_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", closed)
        raised(closed.isatty)

        log.place_of(ValueError())


def test_the_place_of_an_exception_is_named_and_not_what_it_says() -> None:
    error = raised(json.loads, CANARY)

    assert set(log.place_of(error)) == {"exception", "at"}
    assert log.place_of(error)["exception"] == "JSONDecodeError"
    assert log.place_of(error)["at"].startswith("json.decoder:")
    assert CANARY not in str(log.place_of(error))


def test_our_own_frame_is_named_beside_that_of_a_library() -> None:
    from imagegate.settings.sources import lines_of  # noqa: PLC0415 - here only

    error = raised(lines_of, None)
    assert log.place_of(error)["at"].startswith("imagegate.settings.sources:")
    assert "ours" not in log.place_of(error)

    from imagegate.metrics.lumps import Children  # noqa: PLC0415 - here only

    children: Any = Children
    error = raised(children(CANARY, json.loads))
    assert log.place_of(error)["at"].startswith("json.decoder:")
    assert log.place_of(error)["ours"].startswith("imagegate.metrics.lumps:")


def test_what_was_never_raised_has_no_place() -> None:
    assert log.place_of(ValueError(CANARY)) == {"exception": "ValueError"}


def test_the_place_where_a_thread_is_now_is_named() -> None:
    told: list[dict[str, str]] = []
    main = threading.get_ident()

    other = threading.Thread(target=lambda: told.append(log.place_now(main)))
    other.start()
    other.join()

    [place] = told
    assert place["at"].startswith("threading:")


def record(message: object, *arguments: object, error: Any = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(
        "library", logging.ERROR, "f.py", 1, message, arguments, info
    )


def test_what_a_library_logs_comes_without_values(lines: Any) -> None:
    bridge = log.Bridge()

    bridge.emit(record("failed for %s\nand more", CANARY))
    bridge.emit(record("trouble", error=raised(json.loads, CANARY)))
    bridge.emit(record("over", error=log.Told()))
    bridge.emit(record("over", error=asyncio.CancelledError()))

    found = [
        {k: v for k, v in line.items() if k not in ("timestamp", "at")}
        for line in lines()
    ]
    assert found == [
        {
            "level": "error",
            "event": "imagegate.dependency",
            "logger": "library",
            "message": "failed for %s",
        },
        {
            "level": "error",
            "event": "imagegate.unexpected",
            "exception": "JSONDecodeError",
        },
    ]


def test_everything_that_is_logged_can_be_taken_over(lines: Any) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers.clear()
    try:
        log.take_over()
        logging.getLogger("somebody.else").warning("a %s", CANARY)
        logging.getLogger("somebody.else").info("nothing")
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level

    assert [line["message"] for line in lines()] == ["a %s"]


def test_a_log_that_nobody_reads_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line would wait for a reader, and with it the loop, and every stream."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stderr", stream)

        def say() -> None:
            for number in range(1_000):
                log.error("imagegate.audit_unavailable", number=number, said="x" * 200)

        saying = threading.Thread(target=say, daemon=True)
        saying.start()
        saying.join(10)
        stood_still = saying.is_alive()
        os.set_blocking(reading, False)
        taken = [json.loads(line)["number"] for line in reader]
        log.info("imagegate.ready_again")
        after = [json.loads(line)["event"] for line in reader]

    assert not stood_still
    assert taken == [*range(len(taken))]
    assert 100 < len(taken) < 1_000
    assert after == ["imagegate.ready_again"]
