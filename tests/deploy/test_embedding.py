"""The applications of the embedding guide: started, and asked by the real SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from markdown_it import MarkdownIt
from running import until
from tools import DEPLOY

from imagegate.simulator import Simulator

PAGE = DEPLOY.joinpath("embedding.md").read_text()
BLOCKS = {
    block.content.partition(".py")[0].removeprefix("# "): block.content
    for block in MarkdownIt().parse(PAGE)
    if block.type == "fence" and block.info == "python"
    if ": uvicorn " in block.content.partition("\n")[0]
}
TOOL: Any = {"type": "image_generation", "quality": "high"}


@pytest.fixture(scope="module", params=BLOCKS)
def application(
    request: pytest.FixtureRequest,
    provider: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Start one as its first line says."""
    folder = tmp_path_factory.mktemp(request.param)
    source = BLOCKS[request.param]
    folder.joinpath(f"{request.param}.py").write_text(source)
    words = source.partition("\n")[0].partition(": uvicorn ")[2].split()
    log = folder / "log"
    with log.open("wb") as said, folder.joinpath("out").open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--port", "0", *words],
            cwd=folder,
            env={**os.environ, "PROVIDER": provider},
            stdout=out,
            stderr=said,
        )
    try:
        until(lambda: "running on" in log.read_text() or running.poll() is not None)
        assert running.poll() is None, log.read_text()
        line = next(
            each for each in log.read_text().splitlines() if "running on" in each
        )
        yield line.partition("running on ")[2].split()[0]
    finally:
        running.terminate()
        assert running.wait(30) in {0, -15}, log.read_text()
    assert_recorded(folder)


def assert_recorded(folder: Path) -> None:
    """Find what the tests did on record, in the trail or on standard output."""
    files = [*folder.glob("trail/*.jsonl*"), folder / "out"]
    lines = [line for file in files for line in file.read_text().splitlines()]
    events = [json.loads(line)["event"] for line in lines]
    assert {"imagegate.request_rewritten", "imagegate.request_blocked"} <= set(events)
    decided = sum(event.startswith("imagegate.request_") for event in events)
    assert decided == events.count("imagegate.exchange_finished")


@pytest.fixture
def client(application: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{application}/v1", api_key="k", max_retries=0
    ) as client:
        yield client


def test_it_forwards_what_the_policy_made_of_a_request(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    response = client.responses.create(model="gpt-5", input="a cat", tools=[TOOL])

    assert response.output
    [sent] = json.loads(simulator.received[-1].body)["tools"]
    assert sent["quality"] == "medium"


def test_it_streams(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-5", input="x", tools=[TOOL]) as stream:
        kinds = [event.type for event in stream]

    assert "response.image_generation_call.generating" in kinds
    assert kinds[-1] == "response.completed"


def test_it_refuses_with_the_sdks_own_error(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    before = len(simulator.received)
    bad: Any = {**TOOL, "type": "Image_Generation"}

    with pytest.raises(openai.PermissionDeniedError):
        client.responses.create(model="gpt-5", input="x", tools=[bad])

    assert len(simulator.received) == before


def test_every_framework_that_is_named_is_there() -> None:
    assert set(BLOCKS) == {"fastapi_app", "starlette_app", "django_app"}
