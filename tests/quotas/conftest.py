"""Stores of counters, and a Redis server for those that are kept there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redisd import Redisd, redisd


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redisd]:
    with redisd(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
