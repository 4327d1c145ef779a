from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from stage import serving

from imagegate.cli.app import run
from imagegate.server.listener import Listener
from imagegate.server.run import server_for
from imagegate.simulator import Simulator, create_simulator


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return create_simulator(behaviour="bits=0")


@pytest.fixture(scope="module")
def provider(simulator: Simulator) -> Iterator[str]:
    with serving(server_for(simulator, Listener(grace=1))) as url:
        yield url


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
