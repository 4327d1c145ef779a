from __future__ import annotations

from pathlib import Path

import pytest

from imagegate import PolicyError, shipped
from imagegate.gates import load_gate


def test_a_policy_is_loaded_by_name_and_by_path() -> None:
    folder = shipped.policies()["standard"]

    gates = [
        load_gate("standard"),
        load_gate(folder),
        load_gate(folder / "policy.yaml"),
    ]

    assert {gate.policy.name for gate in gates} == {"standard"}
    assert len({gate.digest for gate in gates}) == 1


def test_a_policy_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\n")

    with pytest.raises(PolicyError) as raised:
        load_gate(file)

    assert {problem.id for problem in raised.value.problems} == {"missing-key"}
    assert raised.value.file == str(file)


def test_a_policy_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_gate(tmp_path / "none")
