"""The command as it is started from a shell."""

from __future__ import annotations

import importlib.metadata
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from imagegate import shipped
from imagegate.cli.app import app
from imagegate.cli.audit.reports import REPORTS

COMMAND = [sys.executable, "-m", "imagegate"]
SERVERS = {"starlette", "uvicorn", "httpx", "httpx2", "websockets"}


def start(
    *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def on_a_terminal(columns: int, *arguments: str | Path) -> str:
    """Run a command on a pseudo terminal and return what it shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        env=environment,
    ):
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what a terminal says when the last writer has gone
        return b""


def plain(shown: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


@pytest.mark.parametrize(
    ("added", "code"),
    [("tool: block\n", 0), ("tool: blok\n", 3)],
    ids=["fine", "invalid"],
)
def test_the_exit_code_says_what_became_of_a_policy(
    added: str, code: int, policy_file: Callable[[str], Path]
) -> None:
    done = start("check", policy_file(added))

    assert (done.returncode, done.stderr) == (code, "")
    assert "\x1b" not in done.stdout


def test_a_wrong_call_is_told_on_standard_error() -> None:
    done = start("chek")

    assert (done.returncode, done.stdout) == (2, "")
    assert "chek" in done.stderr


def test_the_version_is_that_of_the_distribution() -> None:
    done = start("--version")

    assert done.returncode == 0
    assert done.stdout == f"imagegate {importlib.metadata.version('imagegate')}\n"


def test_help_names_the_commands_and_the_exit_codes() -> None:
    done = start("--help")

    assert done.returncode == 0
    for word in ("check", "show", "catalogue", "Exit codes: 0 fine"):
        assert word in done.stdout


def commands() -> Iterator[tuple[str, Any]]:
    """Return all there are, with the words that they are called by."""
    waiting: list[tuple[str, Any]] = [("imagegate", get_command(app))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        if isinstance(command, TyperGroup):
            waiting += [(f"{words} {n}", each) for n, each in command.commands.items()]


def test_each_command_is_said_whole_in_the_list_and_explains_its_options() -> None:
    for words, command in commands():
        if " " in words:
            assert not command.get_short_help_str(limit=66).endswith("..."), words
        for option in command.params:
            if option.name != "help" and option.param_type_name == "option":
                assert getattr(option, "help", None), (words, option.name)


def test_what_programs_read_is_asked_for_in_one_way() -> None:
    """Where nothing is said, it is for people."""
    for words, command in commands():
        for option in command.params:
            shown = not getattr(option, "hidden", False)
            assert not (shown and "--json" in option.opts), words
            if "--format" in option.opts:
                assert option.default == "text", words


def test_the_reports_there_are_are_named() -> None:
    told = start("audit", "query", "--help").stdout.replace("\n", " ")

    for name in REPORTS:
        assert f" {name}," in told


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["check", "standard"], ["show", "standard"], ["catalogue"]],
    ids=lambda x: x[0],
)
def test_no_server_is_loaded(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from imagegate.cli.app import run\n"
        f"run({arguments})\n"
        "print(*{each.partition('.')[0] for each in sys.modules}, file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "imagegate" in done.stderr.split()
    assert not SERVERS & set(done.stderr.split())


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[" in on_a_terminal(80, "check", "standard")


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("what", ["show", "catalogue"])
def test_a_table_fits_the_terminal(what: str, columns: int) -> None:
    name = {"show": "standard", "catalogue": "gpt-image-2"}[what]

    lines = plain(on_a_terminal(columns, what, name))

    assert max(map(len, lines)) <= columns
    beside = {"show": "REASON", "catalogue": "NOTE"}[what]
    assert any(line.split()[-1:] == [beside] for line in lines) == (columns >= 120)


@pytest.mark.parametrize(
    "command",
    [
        ["show", "standard"],
        ["check", "standard"],
        ["test", str(shipped.policies()["no-images"])],
    ],
    ids=lambda x: x[0],
)
def test_a_reader_who_leaves_early_is_no_failure(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [*COMMAND, *command],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_who_leaves_early_does_not_hide_that_a_policy_is_invalid(
    policy_file: Callable[[str], Path],
) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [*COMMAND, "check", str(policy_file("tool: blok\n"))],
        stdout=writing,
        check=False,
    )
    os.close(writing)

    assert done.returncode == 3


def test_an_output_that_knows_only_ascii_is_written_to() -> None:
    done = start("show", "standard", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert done.stdout.startswith("standard ? enforce")


def test_a_closed_standard_error_changes_nothing(tmp_path: Path) -> None:
    command = " ".join([*COMMAND, "serve", "--policy", str(tmp_path / "none.yaml")])

    said = subprocess.run(f"{command} 2>&-", shell=True, check=False, timeout=60)  # noqa: S602 - a shell closes it

    assert said.returncode == start("check", tmp_path / "none.yaml").returncode == 2


@pytest.mark.parametrize(
    "command", ["--help", "check standard", "catalogue --format json"]
)
def test_a_full_disk_behind_standard_output_is_told_in_one_line(command: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMAND, *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    said = "imagegate: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_closed_standard_output_is_told_in_one_line() -> None:
    command = " ".join([*COMMAND, "check", "standard"])

    done = subprocess.run(  # noqa: S602 - a shell closes it
        f"{command} >&-", shell=True, check=False, capture_output=True, timeout=60
    )

    said = b"imagegate: Bad file descriptor\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [("", 0, ""), ("<&-", 2, "imagegate: /nowhere: No such file or directory")],
)
def test_no_dev_is_needed_where_no_stream_is_closed(
    closed: str, code: int, said: str
) -> None:
    """As in a folder that somebody made the root, and mounted nothing in."""
    bare = "import os; os.devnull = '/nowhere'; from imagegate.cli import main; main()"
    script = f'exec "$@" {closed}'
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            script,
            "sh",
            sys.executable,
            "-c",
            bare,
            "check",
            "standard",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == code
    assert done.stderr.partition(",")[0] == said


def test_a_closed_standard_output_takes_nothing_from_workers_either() -> None:
    """What is written to it counts as written by nobody."""
    writes = f"{sys.executable} -c \"import os; os.write(1, b'a record')\""
    begins = (
        "import os, sys\n"
        "from imagegate.cli import _fill_standard_streams\n"
        "_fill_standard_streams()\n"
        "sys.exit(bool(os.system(sys.argv[1])))"
    )
    script = 'exec "$@" "$WRITES" >&-'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", sys.executable, "-c", begins],
        env={**os.environ, "WRITES": writes},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert b"Bad file descriptor" in done.stderr
