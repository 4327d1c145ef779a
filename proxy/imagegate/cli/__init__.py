"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the `imagegate` command."""
    from imagegate.cli.app import run  # noqa: PLC0415 - typer only when it is called

    try:
        _fill_standard_streams()
    except OSError as error:  # where nobody made a /dev
        if sys.stderr:
            why = f"{error.filename}: {error.strerror}, in place of a closed stream"
            sys.stderr.write(f"imagegate: {why}\n")
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))


def _fill_standard_streams() -> None:
    """Open those that were closed: else the next file that is opened becomes one.

    Of standard output it is what takes nothing, in workers too: a record that nobody
    gets must not count as written.
    """
    for number, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        if not _is_open(number):  # as the lowest that is free it is the next
            held = os.open(os.devnull, way)
            os.set_inheritable(held, True)  # noqa: FBT003 - positional only; for workers
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115 - for good


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
