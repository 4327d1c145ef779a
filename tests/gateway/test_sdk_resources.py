"""Everything that an SDK can legitimately say still works, or is refused on purpose.

The `openai` package's own tests of its resources come from its source distribution.
They run through the gateway to a stand-in that answers what the SDK expects, under a
policy that is shipped and under one that opens every door. What fails must be
explained in `sdk_refusals.txt`: by which test, at which door, by which rule, and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import outside
import pytest
from sdktests import Outcome
from stage import without

pytestmark = pytest.mark.soak
HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build" / "sdk"
WANTED = ("__init__.py", "utils.py", "respx2", "api_resources", "sample_file.txt")
OPTIONS = ["-p", "sdktests", "-p", "no:cacheprovider", "-o", "anyio_mode=auto"]
LEAST = {"standard": 500, "open": 2_500}
"""How many must pass: a suite that was not found would explain everything."""


class Row(NamedTuple):
    """What is refused: under which policy, in which tests, where, by what, and why."""

    policy: str
    tests: str
    door: str
    rule: str
    why: str

    def explains(self, outcome: Outcome, rule: str) -> bool:
        test = outcome.test.removeprefix("tests/api_resources/")
        there = fnmatchcase(test, self.tests) and fnmatchcase(outcome.door, self.door)
        return there and rule == self.rule


def rows(policy: str) -> list[Row]:
    lines = (HERE / "sdk_refusals.txt").read_text().splitlines()
    cells = (line.split(" | ", 4) for line in lines if line and line[0] != "#")
    found = [Row(*(cell.strip() for cell in row)) for row in cells]
    return [row for row in found if row.policy in {policy, "any"}]


@pytest.fixture(scope="session")
def tests_of_the_sdk() -> Path:
    """Take the tests out of the source distribution, once for every version."""
    number = version("openai")
    folder = BUILT / number
    if not (folder / "tests").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", f"openai=={number}"]
        command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        done = subprocess.run(
            [*command, "--dest", str(folder)],
            env=outside.ENVIRONMENT,
            check=False,
            capture_output=True,
        )
        if done.returncode:
            without(f"pip has no source of openai {number}: {done.stderr.decode()}")
        _unpack(next(folder.glob("*.tar.gz")), folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Take what is wanted; a `conftest.py` of ours stands in for theirs."""
    inside = folder / "inside"
    with tarfile.open(archive) as opened:
        opened.extractall(inside, filter="data")
    (found,) = inside.glob("openai-*/tests")
    (folder / "partial").mkdir(exist_ok=True)
    for name in WANTED:
        (found / name).rename(folder / "partial" / name)
    shutil.rmtree(inside)
    (folder / "partial").rename(folder / "tests")


def outcomes(folder: Path, policy: str, file: Path) -> Iterator[Outcome]:
    """Run the tests under a policy, in a process of their own."""
    path = os.pathsep.join([str(HERE.parent / "support"), *sys.path])
    environment = {"SDK_POLICY": policy, "SDK_OUTCOMES": str(file), "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-W", "ignore"]
    command += ["--rootdir", str(folder), "--tb=no", *OPTIONS, "tests/api_resources"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert file.exists(), done.stdout + done.stderr
    for line in file.read_bytes().splitlines():
        yield msgspec.json.decode(line, type=Outcome)


def unexplained(found: Sequence[Outcome], explained: Sequence[Row]) -> Iterator[str]:
    """Say which refusals no row explains, and which rows explain no refusal."""
    refused = [
        (each, rule)
        for each in found
        if each.outcome == "failed"
        for rule in each.rules or (f"no refusal: {each.said}",)
    ]
    for each, rule in refused:
        if not any(row.explains(each, rule) for row in explained):
            yield f"{each.test} at {each.door}: {rule}"
    for row in explained:
        if not any(row.explains(*pair) for pair in refused):
            yield f"no longer refused: {row}"


@pytest.mark.parametrize("policy", ["standard", "open"])
def test_what_an_sdk_says_works_or_is_refused_on_purpose(
    policy: str,
    tests_of_the_sdk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = list(outcomes(tests_of_the_sdk, policy, tmp_path / "outcomes"))
    counts = Counter(each.outcome for each in found)
    wrong = list(unexplained(found, rows(policy)))
    with capsys.disabled():
        print(f"\nopenai {version('openai')} under {policy}: {dict(counts)}")  # noqa: T201 - the counts are the proof

    assert not wrong, f"{len(wrong)} unexplained\n" + "\n".join(wrong[:40])
    assert counts["passed"] > LEAST[policy]
