from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from imagegate.cli.app import run


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def imagegate(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def call(*arguments: str | Path) -> Ran:
        code = run([str(each) for each in arguments])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a policy: its four first lines, and what is added."""

    def write(added: str) -> Path:
        file = tmp_path / "policy.yaml"
        file.write_text("version: 1\nname: mine\nowner: me\nmode: enforce\n" + added)
        return file

    return write
