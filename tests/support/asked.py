"""A client that asks over HTTP, one case after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

from allowed import allowed
from attacking import PATIENCE, Worker
from attacks import attack
from case import Case
from framing import framing
from places import STAGING
from uploading import staged

QUIET = 0.15
"""Seconds without a byte after which no more answers are expected."""


def case_of(seed: str, number: int, policy: str) -> Case:
    """Draw a case; the same one for the same seed, number and policy."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - no secret
    share = random.random()
    if policy in STAGING and share < 0.9:
        return staged(random)
    if share < 0.05:
        return framing(random)
    return allowed(random, policy) if share < 0.2 else attack(random)


async def ask_on(worker: Worker) -> None:
    """Try one case after another until the time is up."""
    connection: Connection | None = None
    while not worker.report.over:
        case = worker.draw(case_of)
        if connection is None or connection.ended or not case.whole:
            if connection is not None:
                connection.close()
            connection = await Connection.to(worker.port)
        await _try(worker, case, connection)
        if not case.whole:
            connection.ended = True
            connection.close()
            await worker.settle()
    if connection is not None:
        connection.close()


async def _try(worker: Worker, case: Case, connection: Connection) -> None:
    statuses: list[int] = []
    try:
        async with asyncio.timeout(PATIENCE):
            statuses.extend([each async for each in connection.ask(case)])
    except TimeoutError:
        worker.complain(f"no answer in {PATIENCE} s")
        connection.ended = True
    shown = statuses[0] if statuses else "closed"
    worker.report.answers[f"{case.kind} {shown}"] += 1
    worker.report.arrived[case.kind] += len(worker.seen)
    if len(worker.seen) > case.requests:
        worker.complain(f"{len(worker.seen)} requests arrived")
    if case.whole and not statuses:
        worker.complain("closed without an answer")
    if max(statuses, default=0) >= 500:
        worker.complain(f"answered {statuses}")
    if case.expect is not None:
        _check_allowed(worker, case, statuses)


def _check_allowed(worker: Worker, case: Case, statuses: list[int]) -> None:
    if statuses != [200] or len(worker.seen) != 1 or case.expect is None:
        worker.complain(f"an allowed request was answered {statuses}")
    elif wrong := case.expect(worker.seen[0].body):
        worker.complain(wrong)


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
