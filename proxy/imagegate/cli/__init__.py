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
    """Open those that were closed: else the next file that is opened becomes one."""
    while (held := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - of three
        os.set_inheritable(held, True)  # noqa: FBT003 - positional only; for workers
    os.close(held)
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115 - for good
