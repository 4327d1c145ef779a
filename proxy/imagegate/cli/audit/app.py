"""The commands under `imagegate audit`, and their options."""

from __future__ import annotations

import datetime
import enum
from pathlib import Path
from typing import Annotated

import typer

from imagegate.cli.exits import Exit
from imagegate.cli.options import AsFormat, AsJson, Format

app = typer.Typer(
    help="Check, watch and query the audit trail.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Files, or their folder.")
]


Team = Annotated[str | None, typer.Option(metavar="TEAM", help="Of this team only.")]
Since = Annotated[
    datetime.datetime | None,
    typer.Option(metavar="TIME", formats=_DAYS, help="From this day or time (UTC) on."),
]
Until = Annotated[
    datetime.datetime | None,
    typer.Option(metavar="TIME", formats=_DAYS, help="Before this day or time."),
]
_REPORTS = (
    "images, refusals, rewrites, observed, candidate, cost, ends, or sql for a "
    "statement of your own."
)


class ReportFormat(enum.StrEnum):
    """How a report is printed."""

    text = "text"
    json = "json"
    csv = "csv"


def _report_format(said: str) -> ReportFormat:
    """Read a format; `table` is what `text` was called."""
    try:
        return ReportFormat("text" if said == "table" else said)
    except ValueError as error:
        known = ", ".join(repr(each.value) for each in ReportFormat)
        raise typer.BadParameter(f"{said!r} is not one of {known}.") from error


@app.command()
def verify(
    files: Files,
    *,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LOG",
            help="A log of standard output: its checkpoints vouch for the ends.",
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Some files were left out on purpose.")
    ] = False,
    form: AsFormat = Format.text,
    as_json: AsJson = False,
) -> None:
    """Prove that no line was changed, removed, added or moved.

    Names the first bad line, and says what these files cannot show.
    """
    from imagegate.cli.audit import verify as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(
        command.run(
            files,
            elsewhere=checkpoints or (),
            partial=partial,
            as_json=as_json or form == "json",
        )
    )


@app.command()
def tail(  # noqa: PLR0913 - the options of a command
    files: Files,
    *,
    number: Annotated[
        int,
        typer.Option(
            "-n", "--lines", metavar="NUMBER", min=0, help="How many to begin with."
        ),
    ] = 20,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with those to come.")
    ] = False,
    event: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="A part of the event's name: blocked."),
    ] = None,
    team: Team = None,
    principal: Annotated[
        str | None, typer.Option(metavar="ID", help="What this principal asked.")
    ] = None,
    decision: Annotated[
        str | None,
        typer.Option(metavar="ID", help="One exchange; the id's beginning will do."),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Exchanges that ended so: client_left."),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="How to print; json: as they are kept.")
    ] = Format.text,
    as_json: AsJson = False,
) -> None:
    """Show the latest records, a line each."""
    from imagegate.cli.audit import tail as command  # noqa: PLC0415 - lazy by design

    filters = command.Filters(
        event=event, team=team, principal=principal, decision=decision, outcome=outcome
    )
    raise typer.Exit(
        command.run(
            files,
            filters,
            last=number,
            follow=follow,
            as_json=as_json or form == "json",
        )
    )


@app.command()
def replay(  # noqa: PLR0913 - the options of a command
    files: Files,
    *,
    policy: Annotated[
        str, typer.Option("-p", "--policy", metavar="POLICY", help="The other policy.")
    ],
    since: Since = None,
    until: Until = None,
    team: Team = None,
    form: AsFormat = Format.text,
    as_json: AsJson = False,
) -> None:
    """Decide again by another policy, and show what would be otherwise.

    From the records alone: what nobody read then is told as unread.
    """
    from imagegate.cli.audit import replay as command  # noqa: PLC0415 - lazy by design

    period = command.Period(since=since, until=until, team=team)
    raise typer.Exit(
        command.run(policy, files, period, as_json=as_json or form == "json")
    )


@app.command()
def query(  # noqa: PLR0913 - the options of a command
    report: Annotated[str, typer.Argument(metavar="REPORT", help=_REPORTS)],
    files: Files,
    *,
    by: Annotated[
        str, typer.Option(metavar="A,B", help="What to group by: day,team,model.")
    ] = "",
    since: Since = None,
    until: Until = None,
    team: Team = None,
    sql: Annotated[
        str,
        typer.Option(
            metavar="STATEMENT", help="With `sql`: what to ask the table `records`."
        ),
    ] = "",
    form: Annotated[
        ReportFormat,
        typer.Option(
            "--format",
            parser=_report_format,
            metavar="<text|json|csv>",
            help="How to print.",
        ),
    ] = ReportFormat.text,
) -> None:
    """Answer from the records: images, refusals, rewrites, cost.

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
        team=team,
    )
    raise typer.Exit(command.run(files, wanted, form.value))
