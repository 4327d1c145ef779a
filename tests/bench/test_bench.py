from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def bench(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "gateway.py"), *words]
    return subprocess.run(
        command,
        env=None if path is None else {"PATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_machine_without_a_compiler_is_told_so_and_nothing_fails() -> None:
    done = bench(path="/nowhere")

    assert done.returncode == 0
    assert done.stdout.startswith("end to end: skipped: ")


def test_one_short_round_measures_right_answers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"

    brief = "--rounds", "1", "--seconds", "0.2", "--only", "text SSE"
    done = bench(*brief, "--json", str(figures))

    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.startswith("end to end: skipped: "):
        pytest.skip(done.stdout)
    assert "| CPU: text SSE, 200 deltas |" in done.stdout
    assert "imagegate" in figures.read_text()


def test_a_gateway_that_enforces_nothing_is_no_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    from dataclasses import replace  # noqa: PLC0415 - after the path

    from loopback import machine, targets  # noqa: PLC0415
    from loopback.rig import Rig, WrongAnswerError  # noqa: PLC0415
    from loopback.work import SMALL  # noqa: PLC0415

    try:
        programs, cores = machine.built(tmp_path / "build"), machine.cores()
        rig = Rig(tmp_path, programs, cores)
        lazy = replace(targets.nginx(tmp_path, rig.upstream), enforces=True)
    except machine.CannotMeasureError as error:
        pytest.skip(str(error))
    try:
        rig.direct(SMALL, 0.1)
        with (
            rig.serving([lazy]) as running,
            pytest.raises(WrongAnswerError, match="0 as the policy wants them"),
        ):
            rig.through(lazy, running[lazy.name], SMALL, 0.1)
    finally:
        rig.close()
