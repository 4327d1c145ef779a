"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the `imagegate` command."""
    from imagegate.cli.app import run  # noqa: PLC0415 - typer only when it is called

    _fill_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _fill_standard_streams() -> None:
    """Open those that were closed: else the next file that is opened becomes one.

    Of standard output it is what takes nothing, in workers too: a record that nobody
    gets must not count as written.
    """
    for number, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        held = os.open(os.devnull, way)  # it has the lowest number that is free
        if held == number:
            os.set_inheritable(held, True)  # noqa: FBT003 - positional only; for workers
        else:
            os.close(held)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115 - for good
