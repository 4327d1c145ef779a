"""The text that ends every response, whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagegate.simulator.counter import derived
from imagegate.simulator.run import Run

_WITH_IMAGE = "Here is the picture. Tell me if it should change!"
_WITHOUT = "This is the simulator: nobody is thinking here."


def text_pieces(run: Run) -> list[str]:
    """Return the text in as many pieces as were ordered, or word by word."""
    text = _WITH_IMAGE if run.images else _WITHOUT
    words = [
        word if not place else f" {word}" for place, word in enumerate(text.split())
    ]
    if not run.behaviour.deltas:
        return words
    return [words[place % len(words)] for place in range(run.behaviour.deltas)]


def finished_message(run: Run) -> dict[str, Any]:
    """Return the item of the output with its text."""
    return {
        "id": run.ident("msg", run.images),
        "type": "message",
        "status": "completed",
        "content": [_part("".join(text_pieces(run)))],
        "role": "assistant",
    }


def message_events(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the events of the text, not yet numbered."""
    place = {"item_id": run.ident("msg", run.images), "output_index": run.images}
    part = place | {"content_index": 0}
    message = finished_message(run)
    begun = message | {"status": "in_progress", "content": []}
    whole = "".join(text_pieces(run))
    yield {**_added(run), "item": begun}
    yield {"type": "response.content_part.added", **part, "part": _part("")}
    for number, piece in enumerate(text_pieces(run)):
        yield {
            "type": "response.output_text.delta",
            **part,
            "delta": piece,
            "logprobs": [],
            **_padding(run, number, piece),
        }
    yield {"type": "response.output_text.done", **part, "text": whole, "logprobs": []}
    yield {"type": "response.content_part.done", **part, "part": _part(whole)}
    yield {**_added(run), "type": "response.output_item.done", "item": message}


def _added(run: Run) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": run.images}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _padding(run: Run, number: int, piece: str) -> dict[str, str]:
    """Return what hides the length of a piece, unless the request declines it."""
    options = run.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_obfuscation") is False:
        return {}
    return {"obfuscation": derived(f"{run.id}/{number}")[: -len(piece) % 16]}
