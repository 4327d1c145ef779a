"""The gateway between real clients and the simulator, over sockets."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from imagegate import shipped
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.engine.gate import Gate
from imagegate.policyfile import load_policy
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator, create_simulator
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.httpx2_client import Httpx2Client

Records = Callable[[], list[dict[str, Any]]]


def gate_of(name: str) -> Gate:
    file = shipped.find_policy(name)
    catalogue = shipped.catalogue()
    policy = load_policy(
        file.read_bytes(),
        file=name,
        catalogue=catalogue,
        today=datetime.date(2026, 11, 21),
    )
    return Gate(policy, catalogue)


@contextlib.contextmanager
def serving(server: uvicorn.Server) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return create_simulator(
        behaviour="bits=0", deployments={"img-mini-prod": "gpt-image-1-mini"}
    )


@pytest.fixture(scope="module")
def provider(simulator: Simulator) -> Iterator[str]:
    config = uvicorn.Config(
        simulator, ws="none", log_level="critical", timeout_graceful_shutdown=1
    )
    with serving(uvicorn.Server(config)) as url:
        yield url


@pytest.fixture
def log() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def records(log: io.BytesIO) -> Records:
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def gateway(provider: str, log: io.BytesIO) -> Iterator[Callable[[str], str]]:
    """Start a gateway with a shipped policy in front of the simulator."""
    with contextlib.ExitStack() as running:

        def start(policy: str) -> str:
            app = create_app(
                gate_of(policy),
                {"": Upstream(name="simulator", base=provider)},
                client=Httpx2Client(),
                audit=StreamAudit(log),
            )
            listener = Listener(port=0, grace=1)
            return running.enter_context(serving(server_for(app, listener)))

        yield start


@pytest.fixture
def lonely_gateway(log: io.BytesIO) -> Iterator[str]:
    """Start a gateway whose provider is not there."""
    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="none", base="http://127.0.0.1:9")},
        client=Httpx2Client(),
        audit=StreamAudit(log),
    )
    with serving(server_for(app, Listener(port=0))) as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
