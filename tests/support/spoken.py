"""A client that speaks on WebSockets, one case after another."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from random import Random

from attacking import PATIENCE, Worker
from case import Case
from framed import CLOSE, PING, PONG, TEXT, frame, frames_in
from messages import handshake, message_of

SPOKEN = ("standard", "azure-foundry", "no-images", "foundry-agents")
"""The policies under which there are WebSockets."""
QUIET = 0.1
MOST_ON_ONE = 60
"""Cases on one connection."""
_LAST = {
    "error", "response.completed", "response.inject.created", "response.steer.failed",
}  # fmt: skip
_BEGIN = b'{"type":"response.create","model":"gpt-5","input":"x"}'


class Over(Exception):  # noqa: N818 - a fact, not an error
    """The connection has ended."""


async def speak_on(worker: Worker) -> None:
    """Try one case after another until the time is up."""
    while not worker.report.over:
        line = await _connected(worker)
        tried = 0
        while line is not None and tried < MOST_ON_ONE and not worker.report.over:
            tried += 1
            case = worker.draw(message_of)
            if not await _try(worker, case, line):
                line.writer.close()
                line = None
                await worker.settle()
        if line is not None:
            line.writer.close()


async def _connected(worker: Worker) -> Line | None:
    """Open a connection with one response on it, if it is to be had."""
    number = worker.report.numbers
    random = Random(f"{worker.report.seed}/{number}/handshake")  # noqa: S311 - no secret
    wire, story = handshake(random, worker.policy)
    worker.number = number
    worker.report.numbers += 1
    worker.case = Case(kind="handshake", wire=wire, story=story)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    line = Line(reader=reader, writer=writer)
    writer.write(wire)
    try:
        async with asyncio.timeout(PATIENCE):
            status = await line.status()
        worker.report.answers[f"handshake {status}"] += 1
        if status != 101:
            writer.close()
            return None
        worker.report.arrived["handshake"] += 1
        async with asyncio.timeout(PATIENCE):
            writer.write(frame(TEXT, _BEGIN))
            await line.answer()
    except TimeoutError:
        worker.complain(f"no answer to a handshake in {PATIENCE} s")
    except (Over, asyncio.IncompleteReadError, OSError):
        writer.close()
        return None
    return line


async def _try(worker: Worker, case: Case, line: Line) -> bool:
    """Try a case; say whether the connection can serve another."""
    said: str | None = None
    line.writer.write(case.wire)
    try:
        async with asyncio.timeout(PATIENCE if case.whole else QUIET):
            said = await line.answer()
            while not case.whole:
                await line.answer()
    except TimeoutError:
        if case.whole:
            worker.complain(f"no answer in {PATIENCE} s")
    except (Over, asyncio.IncompleteReadError, OSError):
        if case.whole:
            worker.complain("the connection was ended")
    forwarded = len(worker.heard)
    worker.report.answers[f"{case.kind} {said}"] += 1
    worker.report.arrived[case.kind] += forwarded
    if forwarded > case.requests:
        worker.complain(f"{forwarded} messages arrived")
    if case.whole and said is not None and (said == "error") == bool(forwarded):
        worker.complain(f"answered {said}, and {forwarded} arrived")
    return case.whole and said is not None


@dataclass(kw_only=True)
class Line:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _data: bytes = b""

    async def status(self) -> int:
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def answer(self) -> str:
        """Read until something ends an exchange; return its type.

        Raises:
            Over: When the connection ends.
        """
        while True:
            for each, end in frames_in(self._data):
                self._data = self._data[end:]
                if each.code == CLOSE:
                    raise Over
                if each.code == PING:
                    self.writer.write(frame(PONG, each.data))
                elif each.code == TEXT:
                    kind = str(json.loads(each.data)["type"])
                    if kind in _LAST:
                        return kind
                break
            else:
                data = await self.reader.read(1 << 16)
                if not data:
                    raise Over
                self._data += data
