"""Printing: colour and boxes on a terminal, plain aligned text in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from imagegate import log

PIPE_WIDTH = 200
"""Where no terminal says how wide it is, a row stays on one line."""
WIDE = 120
"""From here on, remarks have a column of their own."""


class Screen(Console):
    """A console whose reader may leave: `head` has seen enough, and nothing failed."""

    def on_broken_pipe(self) -> None:
        """Go on without the reader, where rich would end the program."""
        hang_up()


def hang_up() -> None:
    """Send the rest of the output nowhere, and what Python flushes at the end too.

    The exit code stays that of the command.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def console(*, stderr: bool = False) -> Console:
    """Return a console that is plain when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Screen(file=stream, width=width, highlight=False, markup=False, emoji=False)


def print_text(*texts: Text | str) -> None:
    """Print lines as they are, however long."""
    screen = console()
    with screen.capture() as capture:
        for text in texts:
            screen.print(text, soft_wrap=True)
    write(capture.get())


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    remarks: bool = False,
) -> None:
    """Print rows under heads; the first column is the one to look things up by.

    Args:
        heads: The names of the columns; one in which nothing stands is left out,
            unless there are no rows at all.
        rows: As many cells each.
        title: Stands above.
        remarks: The last column is prose: on a narrow screen it stands under the
            cell of the second column.
    """
    screen = console()
    cells = [tuple(row) for row in rows]
    longest = max((len(row[0]) for row in cells), default=0)
    filled = {n for row in cells for n, cell in enumerate(row) if cell or not n}
    kept = [n for n in range(len(heads)) if n in filled or not cells]
    last = len(heads) - 1
    below = remarks and screen.width < WIDE and last in kept
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for number in kept[: -1 if below else None]:
        table.add_column(
            heads[number],
            style="" if number else "cyan",
            overflow="fold",
            no_wrap=not number and longest * 2 <= screen.width,
        )
    for row in cells:
        shown: list[Text | Group] = [Text(row[number]) for number in kept]
        if below:
            shown.pop()
            if row[last]:
                shown[1] = Group(Text(row[1]), Text(row[last], style="dim"))
        table.add_row(*shown)
    with screen.capture() as capture:
        if title:
            screen.print(Text(title, style="bold"), soft_wrap=True)
        screen.print(table)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def print_json(value: object) -> None:
    """Print one JSON document."""
    encoded = msgspec.json.encode(value, enc_hook=os.fspath)  # of paths, text
    encoded = msgspec.json.format(encoded, indent=2)
    write(encoded.decode() + "\n")


def counted(number: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def complain(message: str) -> None:
    """Say on standard error what went wrong with the call."""
    print_error(Text(f"imagegate: {message}", style="red"))


def print_error(*lines: Text | str) -> None:
    """Print lines on standard error, as they are, however long."""
    first = log.mark("error", sys.stderr)
    for line in lines:
        console(stderr=True).print(Text.assemble(first, line), soft_wrap=True)


def write(text: str) -> None:
    """Write to standard output, for as long as somebody reads it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        hang_up()
