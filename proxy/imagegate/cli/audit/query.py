"""`imagegate audit query`: reports over any number of files, plain or compressed."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from imagegate.cli.audit.columns import columns
from imagegate.cli.audit.files import trail_files
from imagegate.cli.audit.reports import REPORTS, Report, statement
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, console, print_json, print_table, write

if TYPE_CHECKING:
    import duckdb

_DONE: Final = 100.0
_LONG: Final = 0.2  # seconds between two looks at the progress
_BOUNDS: Final = {
    "time", "instance", "seq", "event", "principal_team",
    "decision_id", "response_id", "item_id",
}  # fmt: skip
_TOLD_ELSEWHERE: Final = (
    """(response_id IN (SELECT response_id FROM records)
        OR item_id IN (SELECT item_id FROM records))""",
    "response_id IS NULL AND decision_id IN (SELECT decision_id FROM records)",
)
"""What else is told of the answers in a table, step by step, and not all the rest."""
_TRIES: Final = 5  # while the gateway packs and retires files


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked.

    Attributes:
        report: The name of a report; empty with `sql`.
        by: Its dimensions, if not the usual ones.
        sql: A statement of one's own on the table `records`.
    """

    report: str = ""
    by: Sequence[str] = ()
    sql: str = ""
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    team: str | None = None


class _Question(NamedTuple):
    """What is read and asked.

    Attributes:
        sql: The statement, on a table of the records that are read.
        values: What stands in its places.
        columns: Those of the table.
        where: What records must be to be read.
        bound: What stands in the places there.
        told: Whether to read also what else is told of the same answers.
    """

    sql: str
    values: list[object]
    columns: Mapping[str, str]
    where: Sequence[str]
    bound: list[object]
    told: bool = False


def run(named: Sequence[Path], wanted: Wanted, form: str) -> Exit:
    """Print a report and return the exit code."""
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        complain("queries need DuckDB: pip install 'imagegate[query]'")
        return Exit.USAGE
    asked = _question(wanted)
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        try:
            left = _TRIES
            while True:
                files = trail_files(named)
                try:
                    _load(database, files, asked)
                    break
                except duckdb.IOException:
                    left -= 1
                    if not left or all(file.exists() for file in files):
                        raise
            database.execute("SET enable_external_access = false")
            answer = _execute(database, asked.sql, asked.values, "asking")
        except duckdb.Error as error:
            complain(_said(error))
            return Exit.USAGE
        heads = [column[0] for column in answer.description or ()]
        _print(heads, answer.fetchall(), form)
    return Exit.FINE


def _report(wanted: Wanted) -> tuple[Report, Sequence[str]]:
    """Find a report and its dimensions.

    Raises:
        typer.Exit: When there is no such thing.
    """
    report = REPORTS.get(wanted.report)
    if report is None:
        known = ", ".join((*REPORTS, "sql"))
        complain(f"there is no report {wanted.report!r}; known: {known}")
        raise typer.Exit(Exit.USAGE)
    for name in wanted.by:
        if name not in report.dimensions:
            known = ", ".join(report.dimensions)
            complain(f"{wanted.report} cannot be told by {name!r}; known: {known}")
            raise typer.Exit(Exit.USAGE)
    return report, wanted.by or report.by


def _question(wanted: Wanted) -> _Question:
    """Say what to read for a question, and what to ask then."""
    where, values = _bounds(wanted)
    if wanted.sql:
        return _Question(wanted.sql, [], columns(), where, values)
    report, by = _report(wanted)
    sql = statement(report, by, where if report.once else ())
    used = {
        name: kind
        for name, kind in columns().items()
        if re.search(rf"\b{name}\b", sql) or name in _BOUNDS
    }
    asked = _Question(sql, [], used, where, values)
    return asked._replace(values=values, told=True) if report.once else asked


def _bounds(wanted: Wanted) -> tuple[list[str], list[object]]:
    """Return what rows have to be, and the values in it."""
    where: list[str] = []
    values: list[object] = []
    for comparison, moment in (("time >= ?", wanted.since), ("time < ?", wanted.until)):
        if moment is not None:
            where.append(comparison)
            values.append(moment)
    if wanted.team is not None:
        where.append("list_contains(principal_team, ?)")
        values.append(wanted.team)
    return where, values


def _load(
    database: duckdb.DuckDBPyConnection, files: Sequence[Path], asked: _Question
) -> None:
    """Read the records that are needed into a table."""
    types = ", ".join(f'"{name}": {kind!r}' for name, kind in asked.columns.items())
    once = ""
    if len({file.name.removesuffix(".zst") for file in files}) < len(files):
        # Some are there twice, and one of the two may have been copied too early.
        once = (
            " QUALIFY seq IS NULL OR row_number() OVER (PARTITION BY instance, seq) = 1"
        )
    source = (
        "SELECT * FROM read_json(?, "  # noqa: S608 - names of ours, values bound
        f"format = 'newline_delimited', columns = {{{types}}}, "
        "maximum_object_size = 16777216) WHERE event IS NOT NULL"
    )
    within = " AND ".join(asked.where) or "true"
    steps = [f"CREATE OR REPLACE TEMP TABLE records AS {source} AND {within}{once}"]
    if asked.told and asked.where:
        steps += [
            f"INSERT INTO records {source} AND NOT ({within}) AND {more}{once}"
            for more in _TOLD_ELSEWHERE
        ]
    values = [[str(file) for file in files], *asked.bound]
    for sql in steps:
        _execute(database, sql, values, f"reading {len(files)} files")


def _execute(
    database: duckdb.DuckDBPyConnection, sql: str, values: list[object], title: str
) -> duckdb.DuckDBPyConnection:
    """Run a statement; on a terminal, show how far it is."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        return database.execute(sql, values)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            database.execute(sql, values)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            failed.append(error)

    thread = threading.Thread(target=work)
    parts = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*parts, console=screen, transient=True) as progress:
        task = progress.add_task(title, total=_DONE)
        thread.start()
        while thread.is_alive():
            thread.join(_LONG)
            progress.update(task, completed=max(0.0, database.query_progress()))
    if failed:
        raise failed[0]
    return database


def _said(error: Exception) -> str:
    """Return the first line of what DuckDB says; the rest shows the records."""
    return str(error).partition("\n")[0][:300]


def _print(heads: Sequence[str], rows: Sequence[Sequence[Any]], form: str) -> None:
    if form == "json":
        print_json([dict(zip(heads, map(_plain, row), strict=True)) for row in rows])
    elif form == "csv":
        sheet = io.StringIO()
        csv.writer(sheet, lineterminator="\n").writerows([heads, *rows])
        write(sheet.getvalue())
    else:
        print_table(heads, [[_cell(value) for value in row] for row in rows])


def _plain(value: object) -> object:
    """Give a value a form that JSON has."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal) else value


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
