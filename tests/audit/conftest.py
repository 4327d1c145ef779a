"""The audit on asyncio, which is what the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def full_device() -> Iterator[BinaryIO]:
    with Path("/dev/full").open("wb", buffering=0) as stream:
        yield cast("BinaryIO", stream)
