"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `imagegate` command."""
    from imagegate.cli.app import run  # noqa: PLC0415 - typer only when it is called

    sys.exit(run(sys.argv[1:]))
