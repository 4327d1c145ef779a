"""Two processes run every test once, and fail as one would; a few may try again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).with_name("suite.py")
# Whoever is first waits until the other process has come by.
FILE = """
import os, time, pathlib
def test_it_runs():
    with open({log!r}, "a") as log:
        print({number}, os.getpid(), file=log)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        said = pathlib.Path({log!r}).read_text().splitlines()
        if len({{line.split()[1] for line in said}}) == 2:
            break
def test_it_runs_on():
    {then}
"""
COUNT = 16


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini")]
    return subprocess.run(
        [sys.executable, SUITE, *options, *arguments, folder],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Write files of two tests each, and name the file in which they say who ran."""
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\naddopts =\n")
    log = tmp_path / "log"
    for number in range(COUNT):
        text = FILE.format(log=str(log), number=number, then="pass")
        tmp_path.joinpath(f"test_{number:02}.py").write_text(text)
    return log


def make(log: Path, number: int, then: str) -> None:
    """Have the second test of a file do something else."""
    text = FILE.format(log=str(log), number=number, then=then)
    log.with_name(f"test_{number:02}.py").write_text(text)


def make_last(log: Path, then: str) -> None:
    """Have the file do something else that the second process begins with."""
    make(log, COUNT - 1, then)


def test_each_file_is_run_once_by_one_of_two(log: Path) -> None:
    done = ran(log.parent)

    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(int(number) for number, _ in lines) == list(range(COUNT))
    assert len({pid for _, pid in lines}) == 2
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{2 * COUNT} passed in" in done.stdout.splitlines()[-1]


def test_what_fails_in_the_second_is_told_and_fails_all(log: Path) -> None:
    make_last(log, "assert 1 == 2, 'so it is'")

    done = ran(log.parent)

    assert done.returncode == 1
    assert "AssertionError: so it is" in done.stdout
    assert f"1 failed, {2 * COUNT - 1} passed in" in done.stdout


STARVED = "assert pathlib.Path({0!r}).exists() or pathlib.Path({0!r}).touch()"


@pytest.mark.parametrize("starved", [1, 3])
def test_a_few_that_fail_beside_others_may_pass_by_themselves(
    log: Path, starved: int
) -> None:
    """And are told of; nothing else is run again."""
    for number in range(starved):
        then = STARVED.format(str(log.with_name(f"flag{number}")))
        make(log, number, then)

    done = ran(log.parent)

    assert done.returncode == 0
    assert f"{starved} failed, {2 * COUNT - starved} passed in" in done.stdout
    assert f"{starved} passed, {2 * COUNT - starved} deselected" in done.stdout
    told = done.stdout.partition("Failed beside others")[2]
    assert told.count("::test_it_runs_on") == starved
    assert len(log.read_text().splitlines()) == COUNT


def test_a_few_of_which_one_fails_again_fail_all(log: Path) -> None:
    make(log, 0, STARVED.format(str(log.with_name("flag"))))
    make(log, 1, "assert 1 == 2, 'so it is'")

    done = ran(log.parent)

    assert done.returncode == 1
    assert "1 failed, 1 passed, " in done.stdout.splitlines()[-1]


def test_many_that_fail_are_not_tried_again(log: Path) -> None:
    for number in range(4):
        make(log, number, STARVED.format(str(log.with_name(f"flag{number}"))))

    done = ran(log.parent)

    assert done.returncode == 1
    assert "Once more" not in done.stdout


def test_a_second_that_dies_fails_all(log: Path) -> None:
    make_last(log, "os._exit(0)")

    done = ran(log.parent)

    assert done.returncode == 1
    assert "the second process died" in done.stdout


def test_what_cannot_be_collected_fails_all(log: Path) -> None:
    make_last(log, "pass\nimport nothing_of_that_name")

    done = ran(log.parent)

    assert done.returncode == 2
    assert done.stdout.count("No module named 'nothing_of_that_name'") == 1


def test_what_is_asked_for_goes_to_both(log: Path) -> None:
    done = ran(log.parent, "-k", "runs_on")

    assert not log.exists()
    assert f"{COUNT} passed, {COUNT} deselected" in done.stdout.splitlines()[-1]
