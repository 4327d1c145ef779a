"""`imagegate audit replay`: what another policy would have made of what was asked."""

from __future__ import annotations

import collections
import contextlib
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.progress import track

from imagegate import shipped
from imagegate.audit.events import DECISIONS
from imagegate.audit.logfile import PACKED
from imagegate.audit.reading import UnreadableError, lines_in, open_log
from imagegate.cli.audit.files import trail_files
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import (
    complain,
    console,
    counted,
    print_json,
    print_table,
    print_text,
)
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Rewrite
from imagegate.engine.records import DecisionRecord
from imagegate.engine.replay import decide_again, word_of

_UNREAD: Final = "unread"
_NEWEST: Final = "%Y-%m-%dT%H:%M:%S"


class Period(NamedTuple):
    """Whose decisions are looked at, from when on, and before when."""

    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    team: str | None = None


class Difference(NamedTuple):
    """What was decided, and what would be.

    Attributes:
        rules: Those of the other policy that refuse, or put what was not put.
    """

    was: str
    would_be: str
    rules: tuple[str, ...]


class _Said(msgspec.Struct):
    """What is read of a line before the rest of it."""

    event: str = ""
    time: str = ""
    principal_team: tuple[str, ...] = ()


def run(policy: str, named: Sequence[Path], period: Period, *, as_json: bool) -> Exit:
    """Decide again, and print what would be decided otherwise."""
    decider = Decider(usable_policy(policy), shipped.catalogue())
    found: collections.Counter[Difference | None] = collections.Counter()
    examples: dict[Difference | None, str] = {}
    screen = console(stderr=True)
    files = track(
        _once(trail_files(named)),
        "deciding again",
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    for file in files:
        try:
            for record, day in _decisions(file, period):
                difference = _again(decider, record, day)
                found[difference] += 1
                examples.setdefault(difference, record.decision_id)
        except (OSError, UnreadableError, msgspec.ValidationError) as error:
            complain(f"cannot read {file}: {error}")
            return Exit.USAGE
    alike = found.pop(None, 0)
    rows = [(x, many, examples[x]) for x, many in found.most_common() if x is not None]
    if as_json:
        print_json({"alike": alike, "otherwise": [_told(*row) for row in rows]})
    else:
        _print(alike, rows)
    return Exit.FINE


def _once(files: Sequence[Path]) -> Sequence[Path]:
    """Leave out what is there packed as well: a copy of it may have been made early."""
    packed = {file.name for file in files if file.name.endswith(PACKED)}
    return [file for file in files if file.name + PACKED not in packed]


def _decisions(
    file: Path, period: Period
) -> Iterator[tuple[DecisionRecord, datetime.date]]:
    """Yield the decisions of a file, each with its day."""
    since, until = (_spelled(time) for time in (period.since, period.until))
    with open_log(file) as lines:
        for line in lines_in(lines):
            said = _Said()
            with contextlib.suppress(msgspec.MsgspecError):  # `verify` names such lines
                said = msgspec.json.decode(line, type=_Said)
            within = (since or "") <= said.time and (not until or said.time < until)
            team = period.team in {None, *said.principal_team}
            if said.event in DECISIONS and within and team:
                day = datetime.date.fromisoformat(said.time[:10])
                yield msgspec.json.decode(line, type=DecisionRecord), day


def _spelled(time: datetime.datetime | None) -> str | None:
    return None if time is None else time.strftime(_NEWEST)


def _again(
    decider: Decider, record: DecisionRecord, day: datetime.date
) -> Difference | None:
    """Decide again; None where the same would go on, or nothing again."""
    found = decide_again(decider, record, day)
    if found is None:
        return Difference(record.decision, _UNREAD, ())
    word, was = word_of(found), {(x.field, x.after) for x in record.changes}
    known = len(record.changes) == record.changes_count
    changes = found.changes if isinstance(found, Rewrite) else ()
    put = {(each.field, each.after) for each in changes}
    if word == record.decision and (word != "rewrite" or put == was or not known):
        return None
    fresh = [x.by.rule for x in changes if (x.field, x.after) not in was]
    refused = found.violations if isinstance(found, Block) else ()
    rules = [*fresh, *(each.by.rule for each in refused)]
    return Difference(record.decision, word, tuple(dict.fromkeys(rules)))


def _told(difference: Difference, many: int, example: str) -> dict[str, object]:
    return {**difference._asdict(), "decisions": many, "example": example}


def _print(alike: int, rows: Sequence[tuple[Difference, int, str]]) -> None:
    total = alike + sum(many for _, many, _ in rows)
    print_text(f"{counted(total, 'decision')}, {alike} of them alike")
    if rows:
        heads = ("was", "would be", "by", "decisions", "one of them")
        print_table(
            heads,
            [
                (each.was, each.would_be, "\n".join(each.rules), f"{many:,}", example)
                for each, many, example in rows
            ],
        )
