"""The options and arguments that several commands have."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """How a command answers."""

    text = "text"
    json = "json"


AsFormat = Annotated[Format, typer.Option("--format", help="How to print.")]
AsJson = Annotated[bool, typer.Option("--json", hidden=True, help="As --format.")]
"""What `--format json` was called in some commands: scripts may still say so."""
Day = Annotated[
    datetime.datetime | None,
    typer.Option(
        metavar="DATE",
        formats=["%Y-%m-%d"],
        help="The day, as 2027-01-31; today if not said.",
    ),
]
Policy = Annotated[str, typer.Argument(metavar="POLICY")]
JudgedBy = Annotated[
    str, typer.Option("--policy", "-p", metavar="POLICY", help="What it is judged by.")
]

# What a gateway is made of: none of these has to be said here, as it may be in the
# file or the environment.
Config = Annotated[str, typer.Option(metavar="FILE", help="A file of settings, TOML.")]
Enforced = Annotated[
    str | None,
    typer.Option("--policy", "-p", metavar="POLICY", help="What is enforced."),
]
Upstreams = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[/PREFIX=]URL", help="The provider; several by their prefixes."
    ),
]
Credential = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="`pass` (the client's own goes on), `authorization=env:NAME`, "
        "`authorization=file:PATH`, the same with `api-key`, or `entra`.",
    ),
]
Keys = Annotated[
    str | None,
    typer.Option("--keys", metavar="FILE", help="Ask clients for one of these keys."),
]
Trail = Annotated[
    str | None,
    typer.Option(
        metavar="DIRECTORY",
        help="Keep records in chained files; else they go to standard output.",
    ),
]
