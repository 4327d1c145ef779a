"""`imagegate demo` as people see it: in a pipe, and on terminals of two widths."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from imagegate.cli.app import run

COMMAND = [sys.executable, "-m", "imagegate", "demo"]
TOKENS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


@pytest.fixture(scope="module")
def piped() -> str:
    ended = subprocess.run(
        COMMAND,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout


def scenes(text: str) -> list[str]:
    """Take the output apart, scene by scene."""
    return re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]


def rows(scene: str) -> dict[str, list[str]]:
    """Read a table: its cells by the name of the setting."""
    lines = [re.split(r" {2,}", line.strip()) for line in scene.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if len(cells) > 1}


def test_a_request_within_the_policy_is_shown_as_it_goes_on(piped: str) -> None:
    forwarded = scenes(piped)[0]

    assert rows(forwarded)["decided"] == ["forwarded"]
    assert rows(forwarded)["size"] == ["1024x1024", "1024x1024"]
    assert "an image of " in rows(forwarded)["came back"][0]
    assert rows(forwarded)["recorded"] == [
        "request_forwarded, image_finished, exchange_finished (completed, images 1)"
    ]


def test_a_request_is_shown_beside_what_became_of_it_and_why(piped: str) -> None:
    rewritten = rows(scenes(piped)[1])

    assert rewritten["decided"] == ["rewritten"]
    assert rewritten["setting"] == ["asked", "sent", "by the rule", "because"]
    assert rewritten["model"] == ["gpt-image-2", "gpt-image-2"]
    assert rewritten["quality"][:3] == ["high", "low", "models.gpt-image-2.quality.max"]
    assert rewritten["size"][:3] == ["2000x1120", "1536x848", "settings.size.max"]
    assert rewritten["moderation"][:2] == ["–", "auto"]
    assert "1536x848 at low" in rewritten["came back"][0]


def test_a_refusal_is_shown_as_the_sdk_raises_it(piped: str) -> None:
    blocked = rows(scenes(piped)[2])

    assert blocked["decided"] == ["blocked"]
    assert blocked["quality"] == ["ultra", "–", "fields.unknown_values"]
    assert blocked["came back"][0].startswith("PermissionDeniedError 403 on tools[0]")
    assert "set `quality` to low" in blocked["came back"][0]
    assert blocked["recorded"] == ["request_blocked, exchange_finished (refused)"]


def test_a_stream_is_shown_event_by_event_each_on_record_before(piped: str) -> None:
    streamed = [line for line in scenes(piped)[3].splitlines() if "streamed" in line]

    types = [re.search(r"image_generation_call\.(\w+)", line) for line in streamed]
    assert [found[1] for found in types if found] == [
        "in_progress",
        "generating",
        "partial_image",
        "completed",
    ]
    assert streamed[1].endswith("generating  on record")
    assert streamed[2].endswith(" MB")


def test_a_pipe_gets_no_colour_and_no_end(piped: str) -> None:
    assert "\x1b" not in piped
    assert "Try it" not in piped
    assert not any(line.endswith(" ") for line in piped.splitlines())


class Screen:
    """A demo on a terminal."""

    def __init__(self, columns: int) -> None:
        ours, theirs = pty.openpty()
        size = struct.pack("HHHH", 50, columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        kept = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
        environ = {k: v for k, v in os.environ.items() if k not in kept}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *COMMAND],  # noqa: S607 - the one on PATH
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environ, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self._ours = ours
        self.raw = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                return
            self.raw += piece.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """Return what stands there in the end, as a terminal would have it."""
        lines, row, column = [""], 0, 0
        for piece in TOKENS.findall(self.raw):
            if piece == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif piece == "\r":
                column = 0
            elif up := re.fullmatch(r"\x1b\[(\d+)A", piece):
                row -= int(up[1])
            elif piece == "\x1b[2K":
                lines[row] = ""
            elif piece[0] != "\x1b":
                there = lines[row].ljust(column)
                lines[row] = there[:column] + piece + there[column + len(piece) :]
                column += len(piece)
        return lines

    def until(self, condition: Callable[[str], object]) -> None:
        end = time.monotonic() + 60
        while not condition(self.raw):
            assert time.monotonic() < end, self.raw
            threading.Event().wait(0.02)

    def end(self) -> int:
        """Press Ctrl-C."""
        os.write(self._ours, b"\x03")
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        os.close(self._ours)


@pytest.fixture(scope="module", params=[80, 120])
def terminal(request: pytest.FixtureRequest) -> Iterator[tuple[Screen, int]]:
    screen = Screen(request.param)
    screen.until(lambda said: "api_key=" in said)
    yield screen, request.param
    screen.close()


def test_a_terminal_gets_colour_within_its_width(terminal: tuple[Screen, int]) -> None:
    screen, columns = terminal

    assert "\x1b[" in screen.raw
    assert max(map(len, screen.lines)) <= columns
    assert sum("…" in line for line in screen.lines) == 0
    by_rule = next(line for line in screen.lines if "by the rule" in line)
    assert ("because" in by_rule) is (columns >= 120)


def test_a_terminal_shows_that_something_is_under_way(
    terminal: tuple[Screen, int],
) -> None:
    assert "waiting for the answer" in terminal[0].raw
    assert not any("waiting" in line for line in terminal[0].lines)


def test_it_stays_for_ones_own_code_until_ctrl_c() -> None:
    screen = Screen(100)
    try:
        screen.until(lambda said: "api_key=" in said)
        two = [line.strip() for line in screen.lines if "openai" in line.lower()][-2:]
        names: dict[str, Any] = {}
        exec("\n".join(two), names)  # noqa: S102 - the two lines that it invites to type

        with names["client"] as client:
            assert isinstance(client, openai.OpenAI)
            client.responses.create(
                model="gpt-5", input="x", tools=[{"type": "image_generation"}]
            )
        screen.until(lambda said: said.count("exchange_finished") == 5)

        assert screen.end() == 0
        assert "Traceback" not in screen.raw
    finally:
        screen.close()


def test_a_policy_of_ones_own_can_be_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "no-images"]) == 0

    said = scenes(capsys.readouterr().out)
    assert rows(said[0])["decided"] == ["rewritten"]
    assert rows(said[0])["size"][:2] == ["1024x1024", "–"]
    assert rows(said[0])["came back"][0].startswith("a text without an image")


def test_without_the_sdk_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)

    assert run(["demo"]) == 2
    assert "pip install openai" in capsys.readouterr().err


def test_where_nothing_can_be_recorded_nothing_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["demo", "--audit", "/proc/trail"]) == 2  # not even root may

    said = capsys.readouterr()
    assert said.err.startswith("imagegate: nothing can be recorded in /proc/trail: ")
    assert (said.out, said.err.count("\n")) == ("", 1)
