"""The events of a response, in order and numbered.

A run and its order always give the same story, so it can be told again from any
number on, which is what resuming is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagegate.simulator.message_item import message_events
from imagegate.simulator.picture_item import finished_item, image_base64, settled
from imagegate.simulator.response_object import response_object
from imagegate.simulator.run import Run, Status

Event = dict[str, Any]
_CALL = "response.image_generation_call"


def story(run: Run) -> Iterator[Event]:
    """Yield every event with its number."""
    for number, event in enumerate(_with_faults(run)):
        yield {"type": event["type"], "sequence_number": number, **event}


def _with_faults(run: Run) -> Iterator[Event]:
    behaviour = run.behaviour
    for number, event in enumerate(_untroubled(run)):
        if number == behaviour.error_at:
            yield _error(flat=behaviour.flat_error)
        if number in {behaviour.error_at, behaviour.fail_at}:
            yield _response("response.failed", run, "failed")
            return
        yield event


def _untroubled(run: Run) -> Iterator[Event]:
    begun: Status = "queued" if run.background else "in_progress"
    yield _response("response.created", run, begun)
    if run.background:
        yield _response("response.queued", run, begun)
    yield _response("response.in_progress", run, "in_progress")
    for index in range(run.images):
        yield from _image_events(run, index)
    yield from message_events(run)
    completed = _response("response.completed", run, "completed")
    if run.behaviour.empty_output:
        completed["response"]["output"] = []
    yield completed


def _image_events(run: Run, index: int) -> Iterator[Event]:
    item = finished_item(run, index)
    place = {"output_index": index, "item_id": run.ident("ig", index)}
    begun = {"id": place["item_id"], "type": item["type"], "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield {"type": f"{_CALL}.in_progress", **place}
    yield {"type": f"{_CALL}.generating", **place}
    for number, image in enumerate(_partials(run, index)):
        yield {
            "type": f"{_CALL}.partial_image",
            **place,
            "partial_image_index": number,
            "partial_image_b64": image,
            **settled(run.tools.image_tool() or {}),
        }
    if not (run.dialect.azure or run.behaviour.no_completed):
        yield {"type": f"{_CALL}.completed", **place}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _partials(run: Run, index: int) -> Iterator[str]:
    tool = run.tools.image_tool() or {}
    for number in range(tool.get("partial_images", 0)):
        yield image_base64(run, index, variant=f"partial {number}")
    if run.behaviour.extra_partial:
        yield image_base64(run, index)


def _response(kind: str, run: Run, status: Status) -> Event:
    return {"type": kind, "response": response_object(run, status=status)}


def _error(*, flat: bool) -> Event:
    error = {
        "code": "server_error",
        "message": "The server had an error while processing your request.",
        "param": None,
    }
    if flat:
        return {"type": "error", **error}
    return {"type": "error", "error": {"type": "server_error", **error}}
