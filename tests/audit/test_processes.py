"""Processes that are killed, and several at once."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journals import ids, lines, of, orphan, proved

from imagegate.audit.recovery import recover, tidy

WORKER = Path(__file__).parents[1] / "support" / "worker.py"


def worker(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kill_while_it_writes(directory: Path, mode: str, seconds: float) -> set[str]:
    """Let a process write, kill it, and return what it acknowledged."""
    with worker("serve", directory, mode, 10**6) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    # The last line may be torn: it was printed in part when the process died.
    return {line.decode() for line in (first + rest).split(b"\n")[:-1]}


def check_what_is_left(directory: Path, acknowledged: set[str]) -> None:
    """Recover, and hold the files against what was acknowledged."""
    tidy(directory)
    assert recover(directory, by="f" * 16) == []
    written = {
        line["decision_id"] for line in lines(directory) if "decision_id" in line
    }
    written |= {line["item_id"] for line in of(directory, "image_generating")}

    assert acknowledged - written == set()
    assert sorted(ids(directory, "exchange_finished")) == sorted(ids(directory))
    assert proved(directory).unfinished == 0


def rounds_of_killing(directory: Path, count: int, seed: int) -> int:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    seen = 0
    for number in range(count):
        mode = ["blocking", "strict"][number % 2]
        acknowledged = kill_while_it_writes(directory, mode, chance.uniform(0, 0.1))
        seen += len(acknowledged)
        check_what_is_left(directory, acknowledged)
        shutil.rmtree(directory)
    return seen


def test_what_was_acknowledged_survives_ten_kills(tmp_path: Path) -> None:
    assert rounds_of_killing(tmp_path / "audit", 10, seed=5) > 10


@pytest.mark.soak
def test_what_was_acknowledged_survives_five_hundred_kills(tmp_path: Path) -> None:
    seen = rounds_of_killing(tmp_path / "audit", 500, seed=6)
    sys.stdout.write(f"{seen} acknowledged, none lost\n")


def test_four_processes_with_long_records_tear_nothing(tmp_path: Path) -> None:
    workers = [worker("fill", tmp_path, 50) for _ in range(4)]
    for each in workers:
        each.communicate(timeout=60)
        assert each.returncode == 0

    assert len(set(ids(tmp_path))) == len(ids(tmp_path)) == 4 * 50
    assert proved(tmp_path).lines == 4 * (2 * 50 + 3)


def test_several_starts_at_once_claim_each_file_once(tmp_path: Path) -> None:
    for _ in range(10):
        orphan(tmp_path)
    workers = [worker("start", tmp_path) for _ in range(4)]
    for each in workers:
        assert each.stdin is not None
        each.stdin.write(b"\n")
        each.stdin.flush()
    for each in workers:
        each.communicate(timeout=60)
        assert each.returncode == 0

    report = proved(tmp_path)
    assert len(of(tmp_path, "audit_recovered")) == 10
    assert report.instances == 14
    assert report.unfinished == 0
    assert sorted(ids(tmp_path, "exchange_finished")) == sorted(ids(tmp_path))


def test_strict_acknowledges_after_the_sync_that_follows_the_write(
    tmp_path: Path,
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace here")
    trace = tmp_path / "trace"
    traced = [strace, "-f", "-s", "1200", "-e", "trace=write,fdatasync", f"-o{trace}"]
    command = [sys.executable, WORKER, "serve", tmp_path / "audit", "strict", "2"]
    done = subprocess.run(
        [*traced, *map(str, command)], stdout=subprocess.PIPE, check=True, timeout=60
    )
    acknowledged = done.stdout.decode().splitlines()
    calls = trace.read_text().splitlines()

    assert len(acknowledged) == 8 * 2 * 4
    for name in acknowledged:
        written = first(calls, rf'write\(\d+, "\{{.*{name}\\"', 0)
        # A sync that began before the write may only cover what was there then.
        begun = first(calls, r"fdatasync\(", written)
        synced = first(calls, r"fdatasync(\(\d+\)| resumed>\)) += 0", begun)
        told = first(calls, rf'write\(1, "{name}\\n"', 0)
        assert written < synced < told, name


def first(calls: list[str], pattern: str, start: int) -> int:
    """Return the first call that looks so."""
    for number, call in enumerate(calls[start:], start):
        if re.search(pattern, call):
            return number
    raise AssertionError(pattern)
