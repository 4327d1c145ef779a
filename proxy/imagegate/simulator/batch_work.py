"""What goes on in the background: the lines of one batch, one after another."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from imagegate.simulator.batch import Batch
from imagegate.simulator.batch_lines import (
    MOST_LINES,
    Line,
    Validation,
    numbered,
    read_line,
)
from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter
from imagegate.simulator.files import Files
from imagegate.simulator.received import Received
from imagegate.simulator.refusal import refusal
from imagegate.simulator.wire import Answer, encode, json_answer

Answering = Callable[[Received], Answer]
End = Literal["completed", "cancelled", "expired"]

_UNANSWERED = {
    "cancelled": "The batch was cancelled before this request was executed.",
    "expired": "This request could not be executed before the completion window ended.",
}
# So many lines are looked at before anybody else gets a turn.
_TURN = 500


class Clerk(msgspec.Struct, frozen=True, kw_only=True):
    """What all batches need.

    Attributes:
        answering: Answers a line, as it answers a request of its own.
        notebook: Where the lines are noted as they came.
        most_input: So many bytes a file of requests may have.
        most_output: So many bytes of answers are kept of one batch.
    """

    counter: Counter
    files: Files
    answering: Answering
    notebook: deque[Received]
    most_input: int = 200 * 1024 * 1024
    most_output: int = 256 * 1024 * 1024


class Work:
    """The work on one batch."""

    def __init__(self, clerk: Clerk, batch: Batch, call: Call) -> None:
        self._clerk = clerk
        self._batch = batch
        self._call = call
        self._path = _path_of(call, batch.endpoint)
        self._output: list[bytes] = []
        self._errors: list[bytes] = []
        self._size = 0

    async def do(self, content: bytes) -> None:
        """Validate the lines, answer them, and file the answers."""
        if not await self._validated(content):
            return
        end: End = "completed"
        for place, (_, raw) in enumerate(numbered(content)):
            line = read_line(raw)
            if end == "completed":
                end = await self._pause(place)
            if end == "completed":
                self._answer(line)
            else:
                self._leave(line, f"batch_{end}", _UNANSWERED[end])
        await self._finish(end)

    async def _validated(self, content: bytes) -> bool:
        batch = self._batch
        azure = self._call.place.dialect.azure
        validation = Validation(batch.endpoint, azure=azure)
        for number, raw in numbered(content):
            validation.take(number, raw)
            if validation.lines > MOST_LINES:
                break
            if number % _TURN == 0:
                await asyncio.sleep(0)
        validation.end()
        if validation.errors:
            batch.fail(validation.errors)
            return False
        batch.model, batch.total = validation.model, validation.lines
        if not batch.stopped.is_set():
            batch.turn("in_progress")
        return True

    async def _pause(self, place: int) -> End:
        """Let others have a turn; return how the batch ends if it ends here."""
        behaviour = self._call.behaviour
        await asyncio.sleep(behaviour.delay_ms / 1000)
        if place == behaviour.stall_at:
            await self._batch.stopped.wait()
        if self._batch.stopped.is_set():
            return "cancelled"
        return "expired" if place == behaviour.expire_at else "completed"

    def _answer(self, line: Line) -> None:
        batch = self._batch
        if self._size > self._clerk.most_output:
            self._leave(line, "output_too_large", "There is no room for the answer.")
            batch.failed += 1
            return
        status, body = self._told(line)
        response = {"status_code": status, "request_id": self._ident("req")}
        told = self._entry(line, {**response, "body": body}, None)
        if status < 400:  # noqa: PLR2004 - the first status that is an error
            batch.completed += 1
            batch.use(body.get("usage") or {})
            self._output.append(told)
        else:
            batch.failed += 1
            self._errors.append(told)
        self._size += len(told)

    def _told(self, line: Line) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer that a request would get."""
        call = self._call
        received = Received(
            method="BATCH",
            path=self._path,
            query=call.received.query,
            headers=call.received.headers,
            body=line.raw,
        )
        self._clerk.notebook.append(received)
        answer = self._answer_to(line)
        body = b"".join(answer.pieces)
        received.status = answer.status
        received.note(body)
        received.end("finished")
        return answer.status, json.loads(body)

    def _answer_to(self, line: Line) -> Answer:
        if line.body.get("stream"):
            fault = refusal("A batch cannot be streamed.", param="stream")
            return json_answer(fault.body, status=fault.status)
        asked = Received(
            method="POST",
            path=self._path,
            query=self._call.received.query,
            headers=self._call.received.headers,
            body=encode(line.body),
        )
        return self._clerk.answering(asked)

    def _leave(self, line: Line, code: str, message: str) -> None:
        error = {"code": code, "message": message}
        self._errors.append(self._entry(line, None, error))

    def _entry(
        self, line: Line, response: dict[str, Any] | None, error: dict[str, str] | None
    ) -> bytes:
        entry = {"id": self._ident("batch_req"), "custom_id": line.custom_id}
        return encode({**entry, "response": response, "error": error}) + b"\n"

    async def _finish(self, end: End) -> None:
        batch = self._batch
        if end == "completed":
            batch.turn("finalizing")
            await asyncio.sleep(self._call.behaviour.delay_ms / 1000)
        batch.output_file_id = self._filed(self._output, "output")
        batch.error_file_id = self._filed(self._errors, "error")
        batch.turn(end)

    def _filed(self, entries: list[bytes], name: str) -> str | None:
        if not entries:
            return None
        file = self._clerk.files.add(
            b"".join(entries),
            filename=f"{self._batch.id}_{name}.jsonl",
            purpose="batch_output",
            seconds=self._batch.output_seconds,
        )
        return file.id

    def _ident(self, prefix: str) -> str:
        return self._clerk.counter.ident(prefix, self._clerk.counter.next())


def _path_of(call: Call, endpoint: str) -> str:
    """Return where a line leads: to the route of its name, beside the batches.

    Azure classic has a deployment in the path of some; a line has it in its body, as
    the later paths of Azure have.
    """
    base = call.received.path.removesuffix(call.place.route)
    version = "/v1" if call.place.dialect.needs_api_version else ""
    return f"{base}{version}{endpoint.removeprefix('/v1')}"
