"""The routes beside `/responses`, in their smallest honest form."""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Iterator
from typing import Any

from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter, time_of
from imagegate.simulator.image_fields import AZURE_MODELS, MODELS
from imagegate.simulator.refusal import invalid_value, missing_parameter
from imagegate.simulator.request import model_not_found
from imagegate.simulator.wire import Answer, encode, json_answer, stream_answer

_MAINLINE = ("gpt-6-luna", "gpt-6-sol", "gpt-5.6-luna", "gpt-5-mini")
_REPLY = "This is the simulator."
_DIMENSIONS = 1536
_PROMPT_TOKENS, _REPLY_TOKENS = 9, 5


def models(call: Call) -> Answer:
    """List the models."""
    data = [_model(ident) for ident in _known(call)]
    return json_answer({"object": "list", "data": data})


def model(call: Call) -> Answer:
    """Show one model."""
    if call.ident not in _known(call):
        raise model_not_found(call.ident, status=404)
    return json_answer(_model(call.ident))


def _known(call: Call) -> list[str]:
    images = AZURE_MODELS if call.place.dialect.azure else MODELS
    return [*_MAINLINE, *images]


def _model(ident: str) -> dict[str, Any]:
    made = {"id": ident, "object": "model", "created": time_of(0)}
    return made | {"owned_by": "simulator"}


def chat(call: Call, counter: Counter) -> Answer:
    """Answer a conversation; the tools of this API draw nothing."""
    name = call.place.deployment or call.body.get("model")
    for key, value in (("model", name), ("messages", call.body.get("messages"))):
        if value is None:
            raise missing_parameter(key)
    for place, tool in enumerate(call.body.get("tools") or ()):
        kind = tool.get("type") if isinstance(tool, dict) else tool
        if kind not in {"function", "custom"}:
            supported = ("function", "custom")
            raise invalid_value(f"tools[{place}].type", kind, supported=supported)
    number = counter.next()
    head = {
        "id": counter.ident("chatcmpl", number),
        "created": time_of(number),
        "model": name,
    }
    if call.body.get("stream"):
        return stream_answer(_chunks(head))
    return json_answer(_completion(head))


def _completion(head: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": _REPLY, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": _PROMPT_TOKENS,
        "completion_tokens": _REPLY_TOKENS,
        "total_tokens": _PROMPT_TOKENS + _REPLY_TOKENS,
    }
    made = {"object": "chat.completion", "choices": [choice], "usage": usage}
    return head | made


def _chunks(head: dict[str, Any]) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"{word} "} for word in _REPLY.split()]
    for delta in (*deltas, {}):
        choice = {
            "index": 0,
            "delta": delta,
            "finish_reason": None if delta else "stop",
        }
        chunk = head | {"object": "chat.completion.chunk", "choices": [choice]}
        yield b"data: " + encode(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def embeddings(call: Call) -> Answer:
    """Answer vectors that depend on nothing but the text."""
    name = call.place.deployment or call.body.get("model")
    given = call.body.get("input")
    for key, value in (("model", name), ("input", given)):
        if value is None:
            raise missing_parameter(key)
    texts = given if isinstance(given, list) else [given]
    encoded = call.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, encoded)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return json_answer({"object": "list", "model": name, "data": data, "usage": usage})


def _vector(text: object, encoded: bool) -> list[float] | str:  # noqa: FBT001 - private
    noise = hashlib.shake_128(repr(text).encode()).digest(_DIMENSIONS)
    vector = [byte / 255 - 0.5 for byte in noise]
    return base64.b64encode(array("f", vector)).decode() if encoded else vector
