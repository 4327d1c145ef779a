"""Whatever is sent, nothing forbidden arrives, nothing arrives twice, nothing hangs.

The whole proxy stands between a client that says anything and a provider that notes
the bytes it gets: the guard, the middleware and the forwarder, over sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import uvloop
from allowed import allowed
from attacks import attack
from case import Case
from framing import framing
from recorder import Recorder, Seen
from stage import gate_of
from verdict import policy_of, wrong_with

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.server.run import Listener, server_for
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.httpx2_client import Httpx2Client

POLICIES = ["standard", "azure-foundry", "regulated", "no-images"]
SECONDS = 14.0
SOAK_SECONDS = float(os.environ.get("ATTACK_SECONDS", "600"))
PATIENCE = 10.0
"""Seconds in which a request that is beyond doubt must be answered."""
MOST = 20
QUIET = 0.15
"""Seconds without a byte after which no more answers are expected."""


def case_of(seed: str, number: int, policy: str) -> Case:
    """Draw a case; the same one for the same seed, number and policy."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - no secret
    share = random.random()
    if share < 0.06:
        return framing(random)
    return allowed(random, policy) if share < 0.25 else attack(random)


@dataclass(kw_only=True)
class Report:
    """What happened, to be read by whoever repairs it."""

    seed: str
    until: float
    numbers: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    arrived: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{key} {n}" for key, n in sorted(self.answers.items()))
        arrived = ", ".join(f"{key} {n}" for key, n in sorted(self.arrived.items()))
        return f"{self.numbers} cases of seed {self.seed}: {counts}; arrived: {arrived}"


@dataclass(kw_only=True)
class Worker:
    """One client at one gateway with a provider of its own."""

    policy: str
    report: Report
    port: int = 0
    running: set[asyncio.Task[None]] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    case: Case | None = None
    number: int = 0

    def __post_init__(self) -> None:
        self.document = policy_of(self.policy)

    def tell(self, seen: Seen) -> None:
        """Judge what arrives, at once: a case may be over before it does."""
        self.seen.append(seen)
        if faults := wrong_with(self.document, seen):
            self.complain(f"{faults}\narrived: {seen}")

    def complain(self, what: str) -> None:
        name = f"{self.policy} {self.report.seed}/{self.number}"
        self.report.problems.append(f"{name}: {what}\nsent: {self.case}")

    async def work(self) -> None:
        connection: Connection | None = None
        while time.monotonic() < self.report.until and len(self.report.problems) < MOST:
            self.number = self.report.numbers
            self.report.numbers += 1
            self.case = case_of(self.report.seed, self.number, self.policy)
            self.seen.clear()
            if connection is None or connection.ended or not self.case.whole:
                if connection is not None:
                    connection.close()
                connection = await Connection.to(self.port)
            await self._try(self.case, connection)
            if not self.case.whole:
                connection.ended = True
                connection.close()
                await self._settle()
        if connection is not None:
            connection.close()

    async def _settle(self) -> None:
        """Wait until nothing of a case can arrive any more."""
        deadline = time.monotonic() + PATIENCE
        while self.running and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.002)
        if self.running:
            self.complain("something went on when everything was over")

    async def _try(self, case: Case, connection: Connection) -> None:
        statuses: list[int] = []
        try:
            async with asyncio.timeout(PATIENCE):
                statuses.extend([each async for each in connection.ask(case)])
        except TimeoutError:
            self.complain(f"no answer in {PATIENCE} s")
            connection.ended = True
        shown = statuses[0] if statuses else "closed"
        self.report.answers[f"{case.kind} {shown}"] += 1
        self.report.arrived[case.kind] += len(self.seen)
        if len(self.seen) > case.requests:
            self.complain(f"{len(self.seen)} requests arrived")
        if case.whole and not statuses:
            self.complain("closed without an answer")
        if max(statuses, default=0) >= 500:
            self.complain(f"answered {statuses}")
        if case.expect is not None:
            self._check_allowed(case, statuses)

    def _check_allowed(self, case: Case, statuses: list[int]) -> None:
        if statuses != [200] or len(self.seen) != 1 or case.expect is None:
            self.complain(f"an allowed request was answered {statuses}")
        elif wrong := case.expect(self.seen[0].body):
            self.complain(wrong)


@dataclass(kw_only=True)
class Connection:
    """A client's connection, as patient as a case needs."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: bool = False

    @classmethod
    async def to(cls, port: int) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        return cls(reader=reader, writer=writer)

    def close(self) -> None:
        self.writer.close()

    async def ask(self, case: Case) -> AsyncIterator[int]:
        """Send, and yield the status of each answer that comes."""
        self.writer.write(case.wire)
        wait = PATIENCE if case.whole else QUIET
        try:
            while not self.ended:
                async with asyncio.timeout(wait):
                    status = await self._answer(case.method)
                if status >= 200:
                    yield status
                    if case.whole:
                        return
        except TimeoutError:
            if case.whole:
                raise
        except (asyncio.IncompleteReadError, OSError):
            self.ended = True

    async def _answer(self, method: str) -> int:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        lines = head.split("\r\n")
        self.ended = "connection: close" in lines
        if status < 200 or method == "HEAD":
            return status
        size = next(
            (line[15:] for line in lines if line.startswith("content-length:")), None
        )
        if size is not None:
            await self.reader.readexactly(int(size))
        while size is None:
            piece = int(await self.reader.readuntil(b"\r\n"), 16)
            await self.reader.readexactly(piece + 2)
            if not piece:
                break
        return status


class Nothing(io.BytesIO):
    """Takes every record and keeps none."""

    def write(self, data: Any, /) -> int:
        return len(data)


@contextlib.asynccontextmanager
async def served(worker: Worker) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    provider = await loop.create_server(lambda: Recorder(worker.tell), "127.0.0.1", 0)
    upstream = Upstream(
        name="recorder", base=f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
    )
    app = create_app(
        gate_of(worker.policy),
        {"": upstream, "/other": upstream},
        client=Httpx2Client(),
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


async def attacked(report: Report) -> None:
    workers = [Worker(policy=policy, report=report) for policy in POLICIES * 2]
    async with contextlib.AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(served(worker))
        await asyncio.gather(*(worker.work() for worker in workers))


def attack_for(seconds: float, seed: str) -> Report:
    """Attack in a thread: uvicorn would take over the signals of the first one."""
    report = Report(seed=seed, until=time.monotonic() + seconds)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(attacked(report))
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return report


def check(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nattacks: {report}")  # noqa: T201 - the count is part of the proof
    problems = "\n\n".join(report.problems[:5])
    assert not report.problems, f"{len(report.problems)} problems\n\n{problems}"
    # A gateway that refuses everything would pass all the rest.
    assert report.arrived["attack"] > report.answers.total() / 40
    assert report.answers["allowed 200"] > report.answers.total() / 10


def test_nothing_forbidden_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    check(attack_for(SECONDS, "0"), capsys)


@pytest.mark.soak
def test_nothing_forbidden_arrives_for_a_long_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(attack_for(SOAK_SECONDS, secrets.token_hex(4)), capsys)
