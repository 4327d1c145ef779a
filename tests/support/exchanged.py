"""What became of a request: what the provider got, and what is on record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import openai

from imagegate.simulator import Simulator

Records = Callable[[], list[dict[str, Any]]]


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="sk-canary", max_retries=0)


def sent(simulator: Simulator) -> Any:
    return json.loads(simulator.received[-1].body)


def events(records: Records) -> list[str]:
    return [record["event"].removeprefix("imagegate.") for record in records()]


def finished(records: Records) -> dict[str, Any]:
    """Wait for the completion record: it is written behind the last byte."""
    for _ in range(500):
        found = [r for r in records() if r["event"] == "imagegate.exchange_finished"]
        if found:
            return found[-1]
        threading.Event().wait(0.01)
    raise AssertionError("no completion record")
