from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Return what the log says, without the time."""

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [{k: v for k, v in each.items() if k != "timestamp"} for each in found]

    return lines
