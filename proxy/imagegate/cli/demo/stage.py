"""The stand-in provider, the gateway and the client of the demo, and how they play."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai

from imagegate import shipped
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.audit.journal import Journal
from imagegate.audit.sink import AuditUnavailableError, Sink
from imagegate.audit.tee import Tee
from imagegate.cli.demo.scenes import Event, Played, Record, Scene, Tool, Watch
from imagegate.engine.gate import Gate
from imagegate.engine.policy import Policy
from imagegate.server.run import Listener, Server, server_for
from imagegate.simulator import Simulator, create_simulator
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

_UNHURRIED = "delay_ms=80 deltas=4"
"""How the simulator streams: slowly enough to be watched."""
_PATIENCE = 5.0


class Stage:
    """Everything that runs; requests are played on it one after the other."""

    def __init__(self, url: str, simulator: Simulator, log: io.BytesIO) -> None:
        self.url = url
        self.sdk = f"openai {openai.__version__}"
        self._simulator = simulator
        self._log = log
        self._told = 0
        self._client = openai.OpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0
        )

    @classmethod
    @contextlib.contextmanager
    def of(cls, policy: Policy, trail: Path | None = None) -> Iterator[Stage]:
        """Start everything on loopback, and end it afterwards.

        Args:
            policy: What the gateway holds requests against.
            trail: Where records are kept in files as well, if anywhere.

        Raises:
            AuditUnavailableError: When none can be kept there.
        """
        log, simulator = io.BytesIO(), create_simulator()
        audit: Sink = StreamAudit(log)
        if trail is not None:
            audit = Tee(_journal(trail), audit)
        quick = Listener(port=0, grace=1)
        with contextlib.ExitStack() as running:
            provider = running.enter_context(_serving(server_for(simulator, quick)))
            gateway = create_app(
                Gate(policy, shipped.catalogue(), prices=shipped.prices()),
                {"": Upstream(name="simulator", base=provider)},
                client=FastClient(),
                audit=audit,
            )
            url = running.enter_context(_serving(server_for(gateway, quick)))
            stage = cls(url, simulator, log)
            running.callback(stage._client.close)
            yield stage

    def play(self, scene: Scene, watch: Watch) -> Played:
        """Make a request, and gather what became of it."""
        before = len(self._simulator.received)
        answer = self._ask(scene, watch)
        received = list(self._simulator.received)[before:]
        return Played(
            asked=scene.tool,
            sent=_image_tool(received[-1].body) if received else None,
            answer=answer,
            records=self._whole_exchange(),
        )

    def new_records(self) -> Sequence[Record]:
        """Return the records since the last time."""
        lines = self._log.getvalue()[self._told :].splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self._told += sum(map(len, whole))
        return [json.loads(line) for line in whole]

    def _whole_exchange(self) -> Sequence[Record]:
        """Wait for the last record: it is written behind the last byte."""
        records: list[Record] = []
        until = time.monotonic() + _PATIENCE
        while not _is_whole(records) and time.monotonic() < until:
            time.sleep(0.01)
            records += self.new_records()
        return records

    def _ask(self, scene: Scene, watch: Watch) -> str:
        asked: dict[str, Any] = {
            "model": "gpt-5",
            "input": "a grey tabby cat",
            "tools": [{"type": "image_generation", **scene.tool}],
            "max_tool_calls": 1,
        }
        began = time.monotonic()
        try:
            if scene.stream:
                asked["metadata"] = {"simulator": _UNHURRIED}
                stream = self._client.responses.create(**asked, stream=True)
                return self._watch(stream, watch, began)
            response = self._client.responses.create(**asked)
        except openai.APIStatusError as error:
            message = error.message.partition(" - ")[2] or error.message
            kind = type(error).__name__
            return f"{kind} {error.status_code} on {error.param}: {message}"
        return f"{_images(response)}, after {time.monotonic() - began:.2f} s"

    def _watch(self, stream: Any, watch: Watch, began: float) -> str:  # noqa: ANN401 - a stream of OpenAI's
        """Hand on the events as they come."""
        count, images = 0, ""
        for event in stream:
            count += 1
            if event.type == "response.completed":
                images = _images(event.response)
            number = b'"sequence_number":%d,' % event.sequence_number
            image = getattr(event, "partial_image_b64", "")
            watch(
                Event(
                    type=event.type,
                    seconds=time.monotonic() - began,
                    size=len(image) * 3 // 4,
                    recorded=number in self._log.getvalue()[self._told :],
                )
            )
        return f"{images}, in {count} events"


def _journal(trail: Path) -> Journal:
    journal = Journal.open(trail)
    if journal.problem is not None:
        problem = journal.problem
        journal.close_now()
        raise AuditUnavailableError(problem)
    return journal


def _is_whole(records: Sequence[Record]) -> bool:
    return bool(records) and records[-1]["event"] == "imagegate.exchange_finished"


def _image_tool(body: bytes) -> Tool:
    """Return the settings that were sent; none when the tool was taken out."""
    tools = json.loads(body)["tools"]
    return tools[0] if tools else {}


def _images(response: Any) -> str:  # noqa: ANN401 - a Response of OpenAI's
    images = [
        f"an image of {len(item.result) * 3 // 4:,} bytes, "
        f"{item.size} at {item.quality}"
        for item in response.output
        if item.type == "image_generation_call"
    ]
    return ", ".join(images) or "a text without an image"


@contextlib.contextmanager
def _serving(server: Server) -> Iterator[str]:
    """Run a server in a thread; its socket listens before it does."""
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
