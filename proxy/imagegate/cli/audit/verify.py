"""`imagegate audit verify`: prove the chains, or name the first line that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from imagegate.audit.events import CheckpointRecord
from imagegate.audit.report import Problem, Report
from imagegate.audit.verify import read_checkpoints, verify
from imagegate.cli.audit.files import trail_files
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, console, print_json, print_table, print_text


def run(
    named: Sequence[Path],
    *,
    elsewhere: Sequence[Path],
    partial: bool,
    as_json: bool,
) -> Exit:
    """Verify files and return the exit code."""
    files = trail_files(named)
    try:
        checkpoints = [each for log in elsewhere for each in _checkpoints(log)]
        report = _verified(files, checkpoints, partial=partial)
    except OSError as error:
        complain(f"cannot read {error.filename}: {error.strerror}")
        return Exit.USAGE
    if as_json:
        print_json({"ok": report.ok, "report": report})
    else:
        _print(report)
    return Exit.FINE if report.ok else Exit.FAILED


def _checkpoints(log: Path) -> list[CheckpointRecord]:
    with log.open("rb") as lines:
        found = list(read_checkpoints(lines))
    if not found:
        complain(f"no line of {log} is a checkpoint: it vouches for nothing")
    return found


def _verified(
    files: Sequence[Path], checkpoints: Sequence[CheckpointRecord], *, partial: bool
) -> Report:
    """Verify, and on a terminal show how far it is."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        return verify(files, checkpoints=checkpoints, partial=partial)
    shown = SpinnerColumn(), TextColumn("{task.completed:,} lines")
    with Progress(*shown, console=screen, transient=True) as progress:
        task = progress.add_task("", total=None)
        return verify(
            files,
            checkpoints=checkpoints,
            partial=partial,
            progress=lambda more: progress.advance(task, more),
        )


def _print(report: Report) -> None:
    print_table(
        ("FILE", "LINES", "STATE", "PROCESS", "LAST HASH"),
        (
            (
                file.file.name,
                f"{file.lines:,}",
                file.state,
                file.instance,
                file.last_hash[:16],
            )
            for file in report.files
        ),
    )
    told: list[Text | str] = [""]
    told += [Text(_problem(problem), style="red") for problem in report.problems]
    if report.ok:
        word = "chains hold" if report.instances != 1 else "chain holds"
        said = (
            f"{report.instances} {word}: {report.lines:,} lines, each as it was written"
        )
        told.append(Text(said, style="green"))
    if report.unfinished:
        told.append(f"{report.unfinished} decisions have no completion")
    told += [f"note: {note}" for note in report.notes]
    told += [f"cannot be seen: {what}" for what in report.unseen]
    print_text(*told)


def _problem(problem: Problem) -> str:
    place = str(problem.file) if problem.file else f"process {problem.instance}"
    if problem.line is not None:
        place += f":{problem.line}"
    return f"{place}: {problem.kind}: {problem.says}"
