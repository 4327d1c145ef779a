"""Two ways to do one thing, timed by turns, and one way to print what came out.

On a busy machine seconds mean little; the ratio of two things done right after each
other means much. Each round does both, so what disturbs one disturbs the other, and
the median of the rounds is given with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

Clock = Callable[[], float]
ROUNDS = 9
_MILLI = 1e-3
_LEAST = 0.005
"""Seconds that one side of a round takes at least; short work is repeated."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Ours against theirs: seconds of each, and theirs / ours, round by round."""

    name: str
    ours: float
    theirs: float | None = None
    ratio: float = 0.0
    least: float = 0.0
    most: float = 0.0
    note: str = ""


def compare(  # noqa: PLR0913 - three of them have a default
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int = ROUNDS,
    note: str = "",
    clock: Clock = time.perf_counter,
) -> Measured:
    """Time both by turns; for work that waits for nothing, by the processor's clock."""
    times = [_times(work) for work in (ours, theirs)]
    seconds = [
        (_seconds(ours, times[0], clock), _seconds(theirs, times[1], clock))
        for _ in range(rounds)
    ]
    ratios = [other / own for own, other in seconds]
    return Measured(
        name=name,
        ours=median(own for own, _ in seconds),
        theirs=median(other for _, other in seconds),
        ratio=median(ratios),
        least=min(ratios),
        most=max(ratios),
        note=note,
    )


def _times(work: Callable[[], object]) -> int:
    return 1 + int(_LEAST / max(_seconds(work, 1), 1e-7))


def _seconds(
    work: Callable[[], object], times: int, clock: Clock = time.perf_counter
) -> float:
    start = clock()
    for _ in range(times):
        work()
    return (clock() - start) / times


def duration(seconds: float) -> str:
    """Spell a time with three figures."""
    unit, size = ("ms", 1e-3) if seconds >= _MILLI else ("µs", 1e-6)
    return f"{seconds / size:.3g} {unit}"


def share(ratio: float) -> str:
    """Spell a ratio: `1/8.0` of the other's time, or `2.0x` of it."""
    return f"1/{ratio:.1f}" if ratio >= 1 else f"{1 / ratio:.1f}x"


def alone(name: str, seconds: float, *, note: str = "") -> Measured:
    """Keep a time that has nothing to be compared with."""
    return Measured(name=name, ours=seconds, note=note)


def show(
    title: str, rows: Iterable[Measured], *, theirs: str = "", note: str = ""
) -> None:
    """Print a table; without the other side only the times."""
    heads = f"{theirs:>10}{'ratio':>8}  {'[min..max]':18}" if theirs else "  "
    lines = [f"\n{title:30}{'ours':>9}{heads}{note}", *map(_row, rows)]
    sys.stdout.write("\n".join(line.rstrip() for line in lines) + "\n")
    sys.stdout.flush()


def _row(row: Measured) -> str:
    start = f"{row.name:30}{duration(row.ours):>9}"
    if row.theirs is None:
        return f"{start}  {row.note}"
    spread = f"[{share(row.most)}..{share(row.least)}]"
    compared = f"{duration(row.theirs):>10}{share(row.ratio):>8}  {spread:18}"
    return start + compared + row.note


def main(measure: Callable[[], Mapping[str, list[Measured]]]) -> None:
    """Run a script: measure, and with `--json FILE` keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args()
    found = measure()
    if options.json is not None:
        figures = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        python = sys.version.partition(" ")[0]
        text = json.dumps({"python": python, "figures": figures}, indent=2)
        options.json.write_text(text + "\n")
