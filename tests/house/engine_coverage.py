"""Run each engine module's own tests alone; demand every line and branch of it.

A module that only its neighbours' tests reach has no specification of its own.
`engine/body.py` belongs to `tests/engine/test_body*.py`. The error tree is left to
the whole suite: other rooms raise half of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "proxy/imagegate/engine"
TESTS = ROOT / "tests/engine"
WITHOUT_OWN_TESTS = {"__init__", "errors"}


def tests_of(module: str) -> list[Path]:
    return sorted(
        {*TESTS.glob(f"test_{module}.py"), *TESTS.glob(f"test_{module}_*.py")}
    )


def run(data_file: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
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
    # Few examples: a branch that only a lucky example reaches has no test.
    few = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=fast"]
    data_file = folder / source.stem
    tested = run(data_file, "pytest", *few, "--cov", "--cov-report=", *tests)
    if tested.returncode:
        return f"{source.stem}: its tests fail\n{tested.stdout}"
    only = ["--fail-under=100", f"--include={source}"]
    report = run(data_file, "coverage", "report", *only)
    return f"{source.stem}:\n{report.stdout}" if report.returncode else ""


def main() -> int:
    started = time.monotonic()
    sources = [
        path
        for path in sorted(ENGINE.glob("*.py"))
        if path.stem not in WITHOUT_OWN_TESTS
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = pool.map(complaint, sources, [Path(folder)] * len(sources))
        complaints = [text for text in found if text]
    sys.stdout.writelines(complaints)
    seconds = time.monotonic() - started
    covered = len(sources) - len(complaints)
    sys.stdout.write(
        f"engine: {covered} of {len(sources)} modules wholly covered"
        f" by their own tests, in {seconds:.0f} s\n"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
