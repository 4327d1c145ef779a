"""The middleware alone: ASGI in, ASGI out, no sockets."""

from __future__ import annotations

import pytest
from driving import Notebook


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def audit() -> Notebook:
    return Notebook()
