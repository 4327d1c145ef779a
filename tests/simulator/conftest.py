"""Simulators on loopback, and the real clients that talk to them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import openai
import pytest
import uvicorn

from imagegate.simulator import Simulator, create_simulator

Serve = Callable[[Simulator], str]


@contextlib.contextmanager
def serving(app: Simulator) -> Iterator[str]:
    """Serve in a thread; the socket listens at once, so nobody waits for a start."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as servers:
        yield lambda app: servers.enter_context(serving(app))


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return create_simulator(behaviour="bits=0", deployments={"img": "gpt-image-1-mini"})


@pytest.fixture(scope="module")
def url(simulator: Simulator) -> Iterator[str]:
    with serving(simulator) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
