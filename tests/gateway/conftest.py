"""The gateway between real clients and the simulator, over sockets.

Servers are started once and shared: what a test sees is what happened since it
began. Each runs in a thread of its own, in front of the same simulator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stage import Certificates, Log, certify, gate_of, plainly, serving

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator, create_simulator
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

Records = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def simulator() -> Simulator:
    return create_simulator(
        behaviour="bits=0", deployments={"img-mini-prod": "gpt-image-1-mini"}
    )


@pytest.fixture(scope="session")
def provider(simulator: Simulator) -> Iterator[str]:
    with plainly(simulator) as url:
        yield url


@pytest.fixture(scope="session")
def whole_log() -> Log:
    return Log()


@pytest.fixture
def log(whole_log: Log) -> Iterator[Log]:
    """Wait, behind a test, until everything that it began is over."""
    start = len(whole_log.lines)
    yield whole_log
    whole_log.wait_until(lambda: not whole_log.open_since(start))


@pytest.fixture
def records(log: Log) -> Records:
    """Return the records since the test began."""
    start = len(log.lines)
    return lambda: log.since(start)


@contextlib.contextmanager
def started(
    provider: str, log: Log, listener: Listener
) -> Iterator[Callable[[str], str]]:
    """Start a gateway for each policy that is asked for, once."""
    with contextlib.ExitStack() as running:
        urls: dict[str, str] = {}

        def start(policy: str) -> str:
            if policy not in urls:
                app = create_app(
                    gate_of(policy),
                    {"": Upstream(name="simulator", base=provider)},
                    client=FastClient(),
                    audit=StreamAudit(log),
                )
                server = server_for(app, listener)
                scheme = "https" if listener.tls_certificate else "http"
                urls[policy] = running.enter_context(serving(server, scheme))
            return urls[policy]

        yield start


@pytest.fixture(scope="session")
def gateways(provider: str, whole_log: Log) -> Iterator[Callable[[str], str]]:
    with started(provider, whole_log, Listener(port=0, grace=1)) as start:
        yield start


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certify(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_gateways(
    provider: str, whole_log: Log, certificates: Certificates
) -> Iterator[Callable[[str], str]]:
    listener = Listener(
        port=0,
        grace=1,
        tls_certificate=certificates.server,
        tls_key=certificates.key,
    )
    with started(provider, whole_log, listener) as start:
        yield lambda policy: start(policy).replace("127.0.0.1", "localhost")


@pytest.fixture
def tls_gateway(tls_gateways: Callable[[str], str], log: Log) -> Callable[[str], str]:
    """Return the gateway that speaks TLS."""
    del log  # it waits for what this test begins
    return tls_gateways


@pytest.fixture
def gateway(gateways: Callable[[str], str], log: Log) -> Callable[[str], str]:
    """Return the gateway with a shipped policy in front of the simulator."""
    del log  # it waits for what this test begins
    return gateways


@pytest.fixture(scope="session")
def lonely_gateway(whole_log: Log) -> Iterator[str]:
    """Start a gateway whose provider is not there."""
    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="none", base="http://127.0.0.1:9")},
        client=FastClient(),
        audit=StreamAudit(whole_log),
    )
    with serving(server_for(app, Listener(port=0, grace=1))) as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
