"""What the tests of the whole gateway stand on: gates, servers, and a log to watch."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import uvicorn

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.policyfile import load_policy

BOUND = 10.0
"""Seconds in which what is waited for must have happened."""


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


class Log(io.BytesIO):
    """The stream that records go to, and whoever waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []
        self._grown = threading.Condition()

    def write(self, data: Any, /) -> int:
        with self._grown:
            self.lines += bytes(data).splitlines()
            self._grown.notify_all()
        return len(data)

    def wait_until(self, done: Callable[[], bool]) -> None:
        with self._grown:
            assert self._grown.wait_for(done, BOUND)

    def since(self, start: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[start:]]

    def open_since(self, start: int) -> set[str]:
        """Name the exchanges that have not been completed."""
        found = self.since(start)
        finished = {
            record["decision_id"]
            for record in found
            if record["event"] == "imagegate.exchange_finished"
        }
        return {record["decision_id"] for record in found} - finished


@contextlib.contextmanager
def serving(server: uvicorn.Server, scheme: str = "http") -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def without(reason: str) -> NoReturn:
    """Do without a client that is not here; where all are required, fail."""
    if os.environ.get("REQUIRED_CLIENTS"):
        pytest.fail(reason)
    pytest.skip(reason)
