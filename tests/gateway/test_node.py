"""The OpenAI library for JavaScript, run by node, through the gateway."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outside
import pytest
from stage import without

from imagegate.simulator import Simulator

Start = Callable[[str], str]
Records = Callable[[], list[dict[str, Any]]]
Run = Callable[[str, str], list[Any]]
HERE = Path(__file__).parent / "node"
BUILT = Path(__file__).parents[2] / "build" / "node"


@pytest.fixture(scope="session")
def installed() -> Path:
    """Install what the lock names, once for every version of it."""
    if not (shutil.which("node") and shutil.which("npm")):
        without("node or npm is not installed")
    state = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    ready = BUILT / ".ready"
    if not ready.exists() or ready.read_text() != state:
        BUILT.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, BUILT)
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            install,
            cwd=BUILT,
            env=outside.ENVIRONMENT,
            check=False,
            capture_output=True,
        )
        if done.returncode:
            without(f"npm could not install the client: {done.stderr.decode()}")
        ready.write_text(state)
    shutil.copy(HERE / "client.mjs", BUILT)
    return BUILT / "client.mjs"


@pytest.fixture
def run(installed: Path) -> Run:
    def run(url: str, task: str) -> list[Any]:
        done = subprocess.run(
            ["node", installed, url, task],  # noqa: S607 - wherever it is
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_an_image_is_made_within_the_policy(
    gateway: Start, simulator: Simulator, run: Run
) -> None:
    (item,) = run(gateway("standard"), "create")

    assert item["type"] == "image_generation_call"
    assert item["bytes"] > 0
    assert json.loads(simulator.received[-1].body)["tools"][0]["quality"] == "medium"


def test_a_stream_is_read_to_its_end(gateway: Start, run: Run) -> None:
    types = run(gateway("standard"), "stream")

    assert "response.image_generation_call.generating" in types
    assert types[-1] == "response.completed"


def test_a_refusal_is_the_librarys_own_error_and_is_not_tried_again(
    gateway: Start, run: Run, records: Records
) -> None:
    (error,) = run(gateway("standard"), "refused")

    assert error == {
        "name": "PermissionDeniedError",
        "status": 403,
        "code": "image_policy_violation",
        "param": "tools[0].unheard_of",
    }
    events = [record["event"] for record in records()]
    assert events == ["imagegate.request_blocked", "imagegate.exchange_finished"]


def test_a_cut_is_an_error(gateway: Start, run: Run) -> None:
    *types, error = run(gateway("standard"), "cut")

    assert types == ["response.created"]
    assert error == {"name": "APIError", "code": "image_policy_violation"}


def test_leaving_ends_the_paid_call(
    gateway: Start, simulator: Simulator, run: Run
) -> None:
    assert run(gateway("standard"), "left") == ["response.created"]

    assert simulator.received[-1].ended.wait(5)
    assert simulator.received[-1].outcome == "left"


def test_a_background_answer_is_asked_for_until_it_is_done(
    gateway: Start, run: Run
) -> None:
    assert run(gateway("standard"), "background") == ["completed"]


def test_models_are_listed(gateway: Start, run: Run) -> None:
    assert run(gateway("standard"), "models") == [True]
