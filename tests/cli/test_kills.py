"""Whenever a gateway dies, each image that a client heard of is on record."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from running import Gateway

from imagegate.audit.verify import verify
from imagegate.zstd import zstd

GENERATING = "response.image_generation_call.generating"
CLIENTS = 4
LIFE = (0.0, 0.6)
"""Seconds under load that a gateway has."""


class Listeners:
    """Clients that ask for images until nobody answers, and note what they hear."""

    def __init__(self, gateway: Gateway) -> None:
        self.heard: set[tuple[str, int]] = set()
        self._gateway = gateway
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        tool: Any = {"type": "image_generation"}
        with (
            contextlib.suppress(openai.OpenAIError, httpx2.HTTPError),
            self._gateway.client(timeout=10) as client,
        ):
            while True:
                stream = client.responses.create(
                    model="gpt-5", input="a cat", tools=[tool], stream=True
                )
                name = ""
                for event in stream:
                    if event.type == "response.created":
                        name = event.response.id
                    if event.type == GENERATING:
                        with self._lock:
                            self.heard.add((name, event.sequence_number))


def recorded(trail: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in trail.iterdir():
        data = file.read_bytes()
        if file.suffix == ".zst":
            data = zstd.decompress(data)
        found += map(json.loads, data.splitlines())
    return found


def kill_and_look(provider: str, folder: Path, rounds: int, seed: int) -> int:
    """Kill gateways at random moments; return how many images clients heard of."""
    chance, trail = random.Random(seed), folder / "trail"  # noqa: S311 - moments
    arguments = ("--policy", "standard", "--upstream", provider, "--audit", trail)
    heard: set[tuple[str, int]] = set()
    for _ in range(rounds):
        gateway = Gateway(folder, *arguments)
        listeners = Listeners(gateway)
        with listeners:
            threading.Event().wait(chance.uniform(*LIFE))
            gateway.process.kill()
            gateway.process.wait()
        heard |= listeners.heard
    assert Gateway(folder, *arguments).end() == 0

    records = recorded(trail)
    told = {
        (record["response_id"], record["sequence_number"])
        for record in records
        if record["event"] == "imagegate.image_generating"
    }
    assert heard - told == set()
    decided = [r["decision_id"] for r in records if "request_" in r["event"]]
    ended = [
        r["decision_id"] for r in records if r["event"] == "imagegate.exchange_finished"
    ]
    assert sorted(decided) == sorted(ended)
    report = verify([trail])
    assert report.ok, report.problems
    assert report.unfinished == 0
    assert report.instances == rounds + 1
    return len(heard)


def test_no_kill_loses_an_image_that_a_client_heard_of(
    provider: str, tmp_path: Path
) -> None:
    assert kill_and_look(provider, tmp_path, 10, seed=1) > 0


@pytest.mark.soak
def test_no_kill_of_many_does(provider: str, tmp_path: Path) -> None:
    assert kill_and_look(provider, tmp_path, 500, seed=2) > 0
