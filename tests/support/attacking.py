"""A gateway under attack: clients that say anything, a provider that notes the bytes.

The whole proxy stands between them: the guard, the middleware and the forwarder, over
sockets. Half of the clients speak HTTP, the others WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop
from case import Case
from places import laid_out
from recorder import Recorder, Said, Seen
from verdict import policy_of, wrong_with, wrong_with_said

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.server.run import Listener, server_for
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

PATIENCE = 10.0
"""Seconds in which what is beyond doubt must be answered."""
MOST = 20


@dataclass(kw_only=True)
class Report:
    """What happened, to be read by whoever repairs it.

    `leaks` are what must not have arrived; `problems` are these and all else.
    """

    seed: str
    until: float
    enough: int = MOST
    cases: float = math.inf
    numbers: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    arrived: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{key} {n}" for key, n in sorted(self.answers.items()))
        arrived = ", ".join(f"{key} {n}" for key, n in sorted(self.arrived.items()))
        return f"{self.numbers} cases of seed {self.seed}: {counts}; arrived: {arrived}"

    @property
    def over(self) -> bool:
        told = len(self.leaks) >= self.enough or len(self.problems) >= MOST
        drawn = self.numbers >= self.cases
        return told or drawn or time.monotonic() >= self.until

    def share(self, kind: str) -> float:
        """Return how much of a kind of case arrived."""
        tried = sum(n for key, n in self.answers.items() if key.split(" ")[0] == kind)
        return self.arrived[kind] / max(tried, 1)


@dataclass(kw_only=True)
class Worker:
    """One client at one gateway with a provider of its own.

    Attributes:
        running: The exchanges that the gateway's server has begun.
        seen: The requests that arrived since a case began.
        heard: The messages, likewise.
    """

    policy: str
    report: Report
    work: Callable[[Worker], Any]
    port: int = 0
    running: set[asyncio.Task[None]] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    heard: list[Said] = field(default_factory=list)
    case: Case | None = None
    number: int = 0

    def __post_init__(self) -> None:
        self.document = policy_of(self.policy)

    def tell(self, seen: Seen) -> None:
        """Judge what arrives, at once: a case may be over before it does."""
        self.seen.append(seen)
        self._judge(wrong_with(self.document, seen), seen)

    def tell_said(self, said: Said) -> None:
        self.heard.append(said)
        self._judge(wrong_with_said(self.document, said), said)

    def _judge(self, faults: list[str], what: object) -> None:
        if faults:
            self.report.leaks.append(faults[0])
            self.complain(f"{faults}\narrived: {what}")

    def complain(self, what: str) -> None:
        name = f"{self.policy} {self.report.seed}/{self.number}"
        self.report.problems.append(f"{name}: {what}\nsent: {self.case}")

    def draw(self, case_of: Callable[[str, int, str], Case]) -> Case:
        """Draw the next case."""
        self.number = self.report.numbers
        self.report.numbers += 1
        self.case = case_of(self.report.seed, self.number, self.policy)
        self.seen.clear()
        self.heard.clear()
        return self.case

    async def settle(self) -> None:
        """Wait until nothing of a case can arrive any more."""
        deadline = time.monotonic() + PATIENCE
        while self.running and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.002)
        if self.running:
            self.complain("something went on when everything was over")


class Nothing(io.BytesIO):
    """Takes every record and keeps none."""

    def write(self, data: Any, /) -> int:
        return len(data)


@contextlib.asynccontextmanager
async def _served(worker: Worker) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    provider = await loop.create_server(
        lambda: Recorder(worker.tell, worker.tell_said), "127.0.0.1", 0
    )
    upstream = Upstream(
        name="recorder", base=f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
    )
    app = create_app(
        laid_out(worker.policy),
        {"": upstream, "/other": upstream},
        client=FastClient(),
        audit=StreamAudit(Nothing()),
    )
    server = server_for(app, Listener(port=0, grace=1))
    listener = socket.create_server(("127.0.0.1", 0))
    worker.port = listener.getsockname()[1]
    worker.running = server.server_state.tasks
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
        listener.close()
        provider.close()


async def _attacked(workers: Sequence[Worker]) -> None:
    async with contextlib.AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(_served(worker))
        await asyncio.gather(*(worker.work(worker) for worker in workers))


def attack_for(
    seconds: float,
    seed: str,
    clients: Sequence[tuple[str, Callable[[Worker], Any]]],
    *,
    leaks: int = MOST,
    cases: float = math.inf,
) -> Report:
    """Attack in a thread: uvicorn would take over the signals of the first one.

    Args:
        seconds: How long at most.
        seed: Of the cases.
        clients: For each a policy, and what it does.
        leaks: How many are enough.
        cases: Likewise.
    """
    until = time.monotonic() + seconds
    report = Report(seed=seed, until=until, enough=leaks, cases=cases)
    workers = [Worker(policy=name, report=report, work=work) for name, work in clients]
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_attacked(workers))
        except BaseException as error:  # noqa: BLE001 - told to the caller below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return report
