"""Applications of each kind in front of the simulator, over sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_process import KINDS, Application, Kind, openai_for
from stage import plainly

from imagegate.simulator import Simulator, create_simulator

Make = Callable[..., Application]


@pytest.fixture(scope="session")
def simulator() -> Simulator:
    return create_simulator(
        behaviour="bits=0",
        deployments={"img-mini-prod": "gpt-image-1-mini"},
    )


@pytest.fixture(scope="session")
def url(simulator: Simulator) -> Iterator[str]:
    with plainly(simulator) as url:
        yield url


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def make(kind: Kind, tmp_path: Path) -> Iterator[Make]:
    made: list[Application] = []

    def make(**options: Any) -> Application:
        application = Application(kind, tmp_path / "trail", **options)
        made.append(application)
        return application

    yield make
    for each in made:
        each.close()


@pytest.fixture
def application(make: Make, url: str) -> Application:
    """Return an application of OpenAI's SDK."""
    return make(sdk=openai_for(url))
