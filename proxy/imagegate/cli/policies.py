"""Reading policies for the commands, and printing their problems."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import typer
from rich.text import Text

from imagegate import shipped
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, print_text
from imagegate.engine.errors import Problem
from imagegate.engine.policy import Policy
from imagegate.engine.prices import Prices, read_prices
from imagegate.named_file import read_named
from imagegate.policyfile import MAX_BYTES, Checked, check_policy


class Read(msgspec.Struct, frozen=True):
    """A policy file and what was found in it."""

    file: str
    data: bytes
    checked: Checked


def read_policy(name: str, prices: Prices | None = None) -> Read | None:
    """Read a policy by path or name; None, with a complaint, where there is none."""
    try:
        path = shipped.find_policy(name)
        data = read_named(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why, sought = str(error), name
        if isinstance(error, OSError):  # in a folder it is the file that is missing
            why, sought = error.strerror or why, error.filename or name
        known = ", ".join(shipped.policies())
        complain(
            f"cannot read {sought!r}: {why}; give a file, or the "
            f"name of a policy that ships: {known}"
        )
        return None
    checked = check_policy(
        data,
        catalogue=shipped.catalogue(),
        today=datetime.datetime.now(tz=datetime.UTC).date(),
        prices=prices or shipped.prices(),
    )
    return Read(str(path), data, checked)


def read_table(file: Path) -> Prices:
    """Read a price table.

    Raises:
        OSError: When there is no such file.
        PricesError: When it is no price table.
    """
    return read_prices(read_named(file, MAX_BYTES), catalogue=shipped.catalogue())


def usable_policy(name: str) -> Policy:
    """Read a policy that a command cannot do without."""
    read = read_policy(name)
    if read is None:
        raise typer.Exit(Exit.USAGE)
    if read.checked.policy is None:
        print_problems(read.file, read.checked.errors)
        raise typer.Exit(Exit.INVALID)
    return read.checked.policy


def print_problems(file: str, problems: tuple[Problem, ...]) -> None:
    """Print one paragraph a problem, as editors and people read them."""
    for problem in problems:
        print_text(*describe(file, problem))


def describe(file: str, problem: Problem) -> tuple[Text, str]:
    """Return the two lines about a problem."""
    style = "red" if problem.severity == "error" else "yellow"
    place = f":{problem.line}:{problem.column}" if problem.line else ""
    quoted = f"found {problem.text!r}: " if problem.text else ""
    return (
        Text.assemble(
            (f"{file}{place}: ", "bold"),
            (f"{problem.severity} [{problem.id}] ", style),
            problem.path,
        ),
        f"  {quoted}{problem.message}",
    )
