"""The commands under `imagegate keys`, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagegate.cli.options import AsFormat, Format

app = typer.Typer(
    help="Give out, list, rotate and revoke clients' keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        envvar="IMAGEGATE_IDENTITY_KEYS_FILE",
        help="The file of keys; `identity.keys.file` of the gateway's settings.",
    ),
]
Which = Annotated[
    str, typer.Argument(metavar="NAME|ID", help="All keys of a name, or one by its id.")
]
Expires = Annotated[
    str | None,
    typer.Option(metavar="SPAN|DATE", help="When it ends: 90d, or 2027-01-31."),
]


@app.command()
def add(
    *,
    file: File,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Who gets it; it names the principal.")
    ],
    team: Annotated[
        list[str] | None, typer.Option(metavar="TEAM", help="For policies to match on.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Whatever else policies match on."),
    ] = None,
    expires: Expires = None,
) -> None:
    """Give out a key. It is printed now, and never again: only its hash is kept."""
    from imagegate.cli.keys import changing as command  # noqa: PLC0415 - lazy by design

    ended = command.add(
        file, name=name, team=team or (), attributes=attribute or (), expires=expires
    )
    raise typer.Exit(ended)


@app.command("list")
def list_keys(
    *,
    file: File,
    form: AsFormat = Format.text,
) -> None:
    """List the keys, without their secrets."""
    from imagegate.cli.keys import listing as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(file, as_json=form == "json"))


@app.command()
def revoke(which: Which, *, file: File) -> None:
    """Let a key, or all keys of a name, be refused from now on."""
    from imagegate.cli.keys import changing as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.revoke(file, which))


@app.command()
def rotate(
    which: Which,
    *,
    file: File,
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the old one still holds.")
    ] = "24h",
    expires: Expires = None,
) -> None:
    """Give out the next key of a name; the old one holds for a while.

    Without --expires the new key lives as long as the old one was meant to.
    """
    from imagegate.cli.keys import changing as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.rotate(file, which, overlap=overlap, expires=expires))
