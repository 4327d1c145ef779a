"""Demand that each engine module's own tests reach every line and branch of it.

A module that only its neighbours' tests reach has no specification of its own.
`engine/body.py` belongs to `tests/engine/test_body*.py`. The error tree is left to
the whole suite: other rooms raise half of it.

All of them run once, in one process, and what is reached is noted for the file whose
tests are at work. That says too little of a file, never too much: what a process does
once counts for whoever came first, and only what an import does counts for all. So a
module that is not whole is tried again, with its own tests alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "proxy/imagegate/engine"
TESTS = ROOT / "tests/engine"
WITHOUT_OWN_TESTS = {"__init__", "errors"}
IMPORTS = "imports"
# Few examples: a branch that only a lucky example reaches has no test.
FEW = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=fast"]


def tests_of(module: str) -> list[Path]:
    return sorted(
        {*TESTS.glob(f"test_{module}.py"), *TESTS.glob(f"test_{module}_*.py")}
    )


class Noting:
    """Tells coverage whose tests are read, and whose are run."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self._file = ""

    def turn_to(self, file: str) -> None:
        if file != self._file:
            self._file = file
            self._measured.switch_context(file)

    def pytest_make_collect_report(self, collector: pytest.Collector) -> None:
        if isinstance(collector, pytest.Module):
            self.turn_to(collector.path.name)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.turn_to(item.path.name)


def run_together(measured: coverage.Coverage, modules: list[str]) -> str:
    """Run the engine's tests here; return what they said if one fails."""
    said = io.StringIO()
    noting = Noting(measured)
    with measured.collect(), contextlib.redirect_stdout(said):
        noting.turn_to(IMPORTS)
        for module in modules:
            import_module(f"imagegate.engine.{module}")
        failed = pytest.main([*FEW, str(TESTS)], plugins=[noting])
    return said.getvalue() if failed else ""


def whole(measured: coverage.Coverage, source: Path) -> bool:
    """Tell whether a module's own tests reached all of it."""
    files = [IMPORTS, *(path.name for path in tests_of(source.stem))]
    percent = measured.report(
        include=[str(source)],
        contexts=[f"^{re.escape(file)}$" for file in files],
        file=io.StringIO(),
    )
    return percent == 100


def run_alone(
    data_file: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "COVERAGE_FILE": str(data_file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def complaint(source: Path, folder: Path) -> str:
    """Say what is wrong with the tests of a module; nothing when nothing is."""
    tests = tests_of(source.stem)
    if not tests:
        return f"{source.stem}: tests/engine/test_{source.stem}.py is missing\n"
    data_file = folder / source.stem
    tested = run_alone(data_file, "pytest", *FEW, "--cov", "--cov-report=", *tests)
    if tested.returncode:
        return f"{source.stem}: its tests fail\n{tested.stdout}"
    only = ["--fail-under=100", f"--include={source}"]
    report = run_alone(data_file, "coverage", "report", *only)
    return f"{source.stem}:\n{report.stdout}" if report.returncode else ""


def complaints(sources: list[Path], folder: Path) -> list[str]:
    config = str(ROOT / "pyproject.toml")
    measured = coverage.Coverage(str(folder / "together"), config_file=config)
    if failed := run_together(measured, [path.stem for path in sources]):
        return [failed]
    rest = [path for path in sources if not whole(measured, path)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [
            text for text in pool.map(complaint, rest, [folder] * len(rest)) if text
        ]


def main() -> int:
    started = time.monotonic()
    sources = [
        path
        for path in sorted(ENGINE.glob("*.py"))
        if path.stem not in WITHOUT_OWN_TESTS
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = complaints(sources, Path(folder))
    sys.stdout.writelines(found)
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"engine: {len(found) or 'no'} complaints about {len(sources)} modules"
        f" and their own tests, in {seconds:.0f} s\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
