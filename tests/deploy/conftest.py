"""A gateway behind the fronts of `deploy/`, in front of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Gateway
from stage import Certificates, certify, plainly

from imagegate.simulator import Simulator, create_simulator


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return create_simulator(behaviour="bits=0")


@pytest.fixture(scope="module")
def provider(simulator: Simulator) -> Iterator[str]:
    with plainly(simulator) as url:
        yield url


@pytest.fixture(scope="module")
def gateway(
    provider: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    words = "--policy", "standard", "--upstream", provider, "--grace", "1"
    running = Gateway(folder, *words)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certify(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certified(certificates: Certificates) -> Callable[[Path], str]:
    """Read a front's configuration, with certificates that are here."""

    def certified(file: Path) -> str:
        text = file.read_text()
        at = "/etc/imagegate/tls"
        text = text.replace(f"{at}/certificate.pem", str(certificates.server))
        return text.replace(f"{at}/key.pem", str(certificates.key))

    return certified
