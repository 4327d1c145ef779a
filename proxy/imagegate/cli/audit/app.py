"""The commands under `imagegate audit`, and their options."""

from __future__ import annotations

import datetime
import enum
from pathlib import Path
from typing import Annotated

import typer

from imagegate.cli.exits import Exit

app = typer.Typer(
    help="Check, watch and query the audit trail.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Files, or their folder.")
]


class Format(enum.StrEnum):
    """How a report is printed."""

    table = "table"
    json = "json"
    csv = "csv"


@app.command()
def verify(
    files: Files,
    *,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="LOG", help="Where checkpoints were taken, as on stdout."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Some files were left out knowingly.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that no line was changed, removed, added or moved.

    Names the first bad line, and says what these files cannot show.
    """
    from imagegate.cli.audit import verify as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(
        command.run(
            files, elsewhere=checkpoints or (), partial=partial, as_json=as_json
        )
    )


@app.command()
def tail(  # noqa: PLR0913 - the options of a command
    files: Files,
    *,
    number: Annotated[
        int, typer.Option("-n", "--lines", min=0, help="How many to begin with.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with those to come.")
    ] = False,
    event: Annotated[
        str | None, typer.Option(help="A part of the event's name: blocked.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Of whose team.")] = None,
    principal: Annotated[str | None, typer.Option(help="Whose.")] = None,
    decision: Annotated[
        str | None, typer.Option(metavar="ID", help="One exchange; the id may be cut.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Exchanges that ended so: client_left.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the records as they are.")
    ] = False,
) -> None:
    """Show the latest records, a line each."""
    from imagegate.cli.audit import tail as command  # noqa: PLC0415 - lazy by design

    filters = command.Filters(
        event=event, team=team, principal=principal, decision=decision, outcome=outcome
    )
    raise typer.Exit(
        command.run(files, filters, last=number, follow=follow, as_json=as_json)
    )


@app.command()
def query(  # noqa: PLR0913 - the options of a command
    report: Annotated[
        str, typer.Argument(metavar="REPORT", help="images, refusals, …, or sql.")
    ],
    files: Files,
    *,
    by: Annotated[
        str, typer.Option(metavar="A,B", help="By what to group: day,team,model.")
    ] = "",
    since: Annotated[
        datetime.datetime | None, typer.Option(formats=_DAYS, help="From here on, UTC.")
    ] = None,
    until: Annotated[
        datetime.datetime | None, typer.Option(formats=_DAYS, help="Before this, UTC.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Of whose team.")] = None,
    sql: Annotated[
        str, typer.Option(help="With `sql`: a statement on the table `records`.")
    ] = "",
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = (
        Format.table
    ),
) -> None:
    """Tell from the trail: images, refusals, rewrites, ends, cost and others.

    Needs DuckDB (the extra `query`). Any number of files, plain and compressed.
    """
    from imagegate.cli.audit import query as command  # noqa: PLC0415 - lazy by design

    if (report == "sql") != bool(sql):
        from imagegate.cli.screen import complain  # noqa: PLC0415 - lazy by design

        complain("a statement of your own is: imagegate audit query sql --sql '…' FILE")
        raise typer.Exit(Exit.USAGE)
    wanted = command.Wanted(
        report=report,
        by=[name.strip() for name in by.split(",") if name.strip()],
        sql=sql,
        since=since,
        until=until,
        where={"team": team} if team else {},
    )
    raise typer.Exit(command.run(files, wanted, form.value))
