"""What the whole gateway costs beside nginx, end to end on two cores.

Run it: `python tests/bench/gateway.py [--rounds N] [--seconds S] [--json FILE]`, or
`make bench`. What is measured and how is in deploy/performance.md. Each answer is
checked: its status, its length, and that the provider got the tool as the policy
makes it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopback import machine, targets
from loopback.machine import CannotMeasureError, Running
from loopback.rig import Rig, Run, WrongAnswerError
from loopback.table import BASE, OTHER, Row, table
from loopback.targets import Target
from loopback.work import HELD, PACED, STALLED, WORKS, Work

ROOT = Path(__file__).resolve().parents[2]
WARM_SECONDS = 0.5
PACED_SECONDS = 3.0
DIRECT = "direct"
Runs = dict[str, dict[str, list[Run]]]
"""By the name of the work, and of the target: what each round found."""


def main() -> int:
    """Measure; 0 when all was right, or when something that is needed is missing."""
    options = _options()
    try:
        cores, programs = machine.cores(), machine.built(ROOT / "build" / "bench")
    except CannotMeasureError as error:
        sys.stdout.write(f"end to end: skipped: {error}\n")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="imagegate-bench-"))
    rig = Rig(folder, programs, cores)
    try:
        found = Bench(rig, _targets(rig, options), options).measure()
    except WrongAnswerError as error:
        sys.stdout.write(f"end to end: wrong: {error}\n")
        return 1
    except CannotMeasureError as error:
        sys.stdout.write(f"end to end: skipped: {error}\n")
        return 0
    finally:
        rig.close()
        shutil.rmtree(folder)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the gateway end to end.")
    parser.add_argument("--rounds", type=int, default=3, help="each target, so often")
    parser.add_argument("--seconds", type=float, default=1.0, help="each turn takes")
    parser.add_argument("--only", default="", help="works whose names hold this")
    parser.add_argument("--no-memory", action="store_true", help="leave out the RSS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures")
    parser.add_argument(
        "--client", action="append", metavar="NAME", help="the setting `pool.client`"
    )
    parser.add_argument(
        "--against",
        action="append",
        type=Path,
        metavar="DIR",
        help="measure another checkout too",
    )
    parser.add_argument("--litellm", metavar="PYTHON", help="one that has LiteLLM")
    return parser.parse_args()


def _targets(rig: Rig, options: argparse.Namespace) -> list[Target]:
    where = rig.folder, rig.upstream
    clients = options.client or [""]
    found = [targets.nginx(*where)]
    found += [targets.gateway(*where, client=client) for client in clients]
    checkouts = [each.resolve() for each in options.against or ()]
    found += [targets.gateway(*where, checkout=checkout) for checkout in checkouts]
    if options.litellm:
        found += [targets.litellm(*where, options.litellm)]
    return found


class Bench:
    """Every target on every work, by turns."""

    def __init__(
        self, rig: Rig, measured: Sequence[Target], options: argparse.Namespace
    ) -> None:
        self._rig = rig
        self._targets = measured
        self._rounds: int = options.rounds
        self._seconds: float = options.seconds
        self._works = [w for w in (*WORKS, PACED) if options.only in w.name]
        self._with_memory = not (options.only or options.no_memory)
        self._runs: Runs = {}
        self._most_streams = machine.allow_many_files() // 2 - 500

    def measure(self) -> dict[str, Any]:
        """Measure all there is to measure, and print it."""
        self._by_turns()
        rows = [*self._rows_of_cpu()]
        wrong: WrongAnswerError | CannotMeasureError | None = None
        try:
            if self._with_memory:
                rows += [self._open_streams(), self._stalled_readers()]
        except (WrongAnswerError, CannotMeasureError) as error:
            wrong = error  # what was measured before still holds
        names = [t.name for t in self._targets if t.name not in {BASE, OTHER}]
        text = table(rows, names)
        sys.stdout.write(f"\n{text}\n\n{self._said_of_the_machine()}\n")
        if wrong is not None:
            raise wrong
        return {
            "machine": self._said_of_the_machine(),
            "rows": {row.name: dict(row.rounds) for row in rows},
            "runs": {
                work: {
                    name: [run.figures() for run in runs] for name, runs in by.items()
                }
                for work, by in self._runs.items()
            },
        }

    # -- time -------------------------------------------------------------------

    def _by_turns(self) -> None:
        with self._rig.serving(self._targets) as running:
            for work in self._works:
                self._rig.direct(work, WARM_SECONDS)
                for target in self._targets:
                    self._rig.through(target, running[target.name], work, WARM_SECONDS)
            for number in range(self._rounds):
                for work in self._works:
                    self._turn(work, running, number)

    def _turn(self, work: Work, running: dict[str, Running], number: int) -> None:
        """Let each have its turn; another one begins in every round."""
        seconds = PACED_SECONDS if work.rate else self._seconds
        kept = self._runs.setdefault(work.name, {})
        if work.rate:
            kept.setdefault(DIRECT, []).append(self._rig.direct(work, seconds))
        first = number % len(self._targets)
        for target in [*self._targets[first:], *self._targets[:first]]:
            run = self._rig.through(target, running[target.name], work, seconds)
            kept.setdefault(target.name, []).append(run)
            _progress(number, work, target, run)

    def _rows_of_cpu(self) -> list[Row]:
        rows = []
        for work in self._works:
            runs = self._runs[work.name]
            if work.rate:
                rows.append(_added(work, runs))
                continue
            cpu = {name: [run.cpu_ms for run in by] for name, by in runs.items()}
            against = work.against_litellm
            row = Row(
                name=f"CPU: {work.name}",
                unit="ms",
                rounds=cpu,
                bar=work.bar,
                against=against,
            )
            rows.append(row)
        return rows

    # -- memory -----------------------------------------------------------------

    def _open_streams(self) -> Row:
        """Measure in fresh processes: what large bodies leave behind is no stream."""
        streams = min(HELD.connections, self._most_streams)
        work = Work(**{**vars(HELD), "connections": streams})
        idle: dict[str, int] = {}
        most: dict[str, int] = {}
        for target in self._targets:
            with self._rig.serving([target]) as running:
                process = running[target.name]
                idle[target.name], most[target.name] = self._rig.held(
                    target, process, work
                )
            before, after = idle[target.name] / 1e6, most[target.name] / 1e6
            _say(f"{target.name}: {before:.0f} MB idle, {after:.0f} MB with {streams}")
        return Row(
            name=f"RSS with {streams:,} open streams",
            unit="MB",
            rounds={name: [value / 1e6] for name, value in most.items()},
            bar=work.bar,
        )

    def _stalled_readers(self) -> Row:
        grown = {}
        for target in self._targets:
            with self._rig.serving([target]) as running:
                self._rig.direct(STALLED, 0.1)
                process = running[target.name]
                grown[target.name] = [self._rig.stalled(target, process, STALLED) / 1e6]
        return Row(
            name=STALLED.name, unit="MB", rounds=grown, bar=STALLED.bar, absolute=True
        )

    def _said_of_the_machine(self) -> str:
        known = {t.name.split()[0]: targets.version_of(t) for t in self._targets}
        versions = ", ".join(f"{name} {version}" for name, version in known.items())
        return (
            f"{_processor()}, Linux {platform.release()}, "
            f"Python {platform.python_version()}, {versions}; "
            f"{self._rounds} rounds of {self._seconds:g} s, median [min..max]"
        )


def _added(work: Work, runs: dict[str, list[Run]]) -> Row:
    """Take off what the provider and the load alone need."""
    direct = runs[DIRECT]
    added = {
        name: [run.p50 - plain.p50 for run, plain in zip(by, direct, strict=True)]
        for name, by in runs.items()
        if name != DIRECT
    }
    return Row(name=work.name, unit="ms", rounds=added, bar=work.bar)


def _processor() -> str:
    said = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    return said.partition("\n")[0].strip("\t :") or platform.machine()


def _progress(number: int, work: Work, target: Target, run: Run) -> None:
    figures = run.figures()
    _say(
        f"round {number + 1}  {work.name:34} {target.name:22} "
        f"{run.cpu_ms:9.4f} ms CPU  {figures['cpu_ms_per_mb']:7.3f} ms/MB  "
        f"busy {figures['busy']:4.2f}  p50 {run.p50:8.2f} ms  {run.answers:7} answers"
    )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
