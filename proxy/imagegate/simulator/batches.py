"""The routes under `/batches`: files of requests, answered one after another.

A line is answered by whoever answers a request of its own, and so to the same effect.
`input_blob`, which Azure takes in place of a file, is not played.
"""

from __future__ import annotations

import asyncio

from imagegate.simulator.batch import Batch
from imagegate.simulator.batch_work import Clerk, Work
from imagegate.simulator.call import Call
from imagegate.simulator.counter import time_of
from imagegate.simulator.fields import Kind, Strings, Text, Words
from imagegate.simulator.files import File, lifetime, no_such_file
from imagegate.simulator.items import page_of
from imagegate.simulator.refusal import missing_parameter, refusal, unknown_parameter
from imagegate.simulator.wire import Answer, json_answer

_ENDPOINTS = (
    *("/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions"),
    *("/v1/moderations", "/v1/images/generations", "/v1/images/edits", "/v1/videos"),
)
_AZURE = (*_ENDPOINTS, *(name.removeprefix("/v1") for name in _ENDPOINTS))
_REQUIRED = ("input_file_id", "endpoint", "completion_window")
_KINDS: dict[str, Kind] = {
    "input_file_id": Text(),
    "completion_window": Words(("24h",)),
    "metadata": Strings(),
}
_KNOWN = (*_REQUIRED, "metadata", "output_expires_after")


class Batches:
    """What is kept of them, and what can be done with it."""

    def __init__(self, clerk: Clerk, *, keep: int) -> None:
        self._clerk = clerk
        self._keep = keep
        self._batches: dict[str, Batch] = {}

    def create(self, call: Call) -> Answer:
        """Begin a batch; what is wrong with its lines is told later."""
        file = self._checked(call)
        number = self._clerk.counter.next()
        batch = Batch(
            id=self._clerk.counter.ident("batch", number),
            created_at=time_of(number),
            endpoint=call.body["endpoint"],
            input_file_id=file.id,
            metadata=call.body.get("metadata"),
            output_seconds=lifetime(call.body, "output_expires_after"),
        )
        batch.work = asyncio.create_task(
            Work(self._clerk, batch, call).do(file.content)
        )
        batch.work.add_done_callback(lambda task: _ended(batch, task))
        self._remember(batch)
        return json_answer(batch.as_json())

    def list(self, call: Call) -> Answer:
        """List the batches, newest first."""
        return page_of(call, [batch.as_json() for batch in self._batches.values()])

    def retrieve(self, call: Call) -> Answer:
        """Show how far a batch is."""
        return json_answer(self._found(call).as_json())

    def cancel(self, call: Call) -> Answer:
        """Ask for the end of a batch; what has been answered stays answered."""
        batch = self._found(call)
        if batch.status in {"validating", "in_progress"}:
            batch.turn("cancelling")
            batch.stopped.set()
        elif batch.status != "cancelling":
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise refusal(message, status=409)
        return json_answer(batch.as_json())

    def _checked(self, call: Call) -> File:
        body = call.body
        for key in body:
            if key not in _KNOWN:
                raise unknown_parameter(key)
        for key in _REQUIRED:
            if body.get(key) is None:
                raise missing_parameter(key)
        for key, kind in _KINDS.items():
            if body.get(key) is not None:
                kind.check(body[key], key)
        endpoints = _AZURE if call.place.dialect.azure else _ENDPOINTS
        Words(endpoints).check(body["endpoint"], "endpoint")
        return self._input(body["input_file_id"])

    def _input(self, ident: str) -> File:
        file, param = self._clerk.files.find(ident), "input_file_id"
        if file is None:
            raise no_such_file(ident, status=400, param=param)
        if file.purpose != "batch":
            message = f"Expected a file of purpose 'batch', but got '{file.purpose}'."
            raise refusal(message, param=param)
        if len(file.content) > self._clerk.most_input:
            raise refusal("The batch input file is too large.", param=param)
        return file

    def _remember(self, batch: Batch) -> None:
        self._batches[batch.id] = batch
        if len(self._batches) > self._keep:
            gone = self._batches.pop(next(iter(self._batches)))
            gone.work.cancel()

    def _found(self, call: Call) -> Batch:
        batch = self._batches.get(call.ident)
        if batch is None:
            message = f"No batch found with id '{call.ident}'."
            raise refusal(message, status=404)
        return batch


def _ended(batch: Batch, work: asyncio.Task[None]) -> None:
    """Let nobody wait for a batch whose work broke down."""
    fault = None if work.cancelled() else work.exception()
    if fault is not None:
        error = {"code": "server_error", "message": repr(fault)}
        batch.fail([{**error, "param": None, "line": None}])
