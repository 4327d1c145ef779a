"""A provider that answers each call of an SDK with the least that it would take.

It knows no API: what a call expects is told by the SDK, which names the type that it
is going to read. What comes in is not looked at.
"""

from __future__ import annotations

import datetime
import inspect
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pydantic
from starlette.types import Message, Receive, Scope, Send

_DEEPEST = 12
_LISTED = 1
"""Lists this deep have an entry: an SDK complains of embeddings that are none."""
_JSON = "application/json"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be answered."""

    body: bytes
    kind: str = _JSON
    status: int = 200


class StandIn:
    """Answers every request with what was expected last.

    Attributes:
        expected: The next answer.
        paths: What was asked for.
    """

    def __init__(self) -> None:
        self.expected = Answer(body=b"{}")
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        answer = self.expected
        self.paths.append(f"{scope['method']} {scope['path']}")
        while (await receive()).get("more_body"):
            pass
        headers = [
            (b"content-type", answer.kind.encode()),
            (b"content-length", b"%d" % len(answer.body)),
        ]
        start: Message = {"type": "http.response.start", "status": answer.status}
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def answer_of(wanted: Any, *, stream: bool) -> Answer:
    """Make the answer for a type that an SDK is going to read."""
    if stream:
        return Answer(body=b"data: [DONE]\n\n", kind="text/event-stream")
    if wanted is str:
        return Answer(body=b"string", kind="text/plain")
    if "Binary" in getattr(wanted, "__name__", ""):
        return Answer(body=b"binary", kind="application/octet-stream")
    return Answer(body=msgspec.json.encode(made_of(wanted)))


def made_of(wanted: Any, depth: int = 0) -> Any:
    """Make the smallest value of a type: nothing that may be left out is there."""
    wanted = getattr(wanted, "__value__", wanted)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in {Annotated, Union, types.UnionType}:
        none = type(None) in arguments
        return None if none else made_of(arguments[0], depth + 1)
    if origin is Literal:
        return arguments[0]
    if inspect.isclass(wanted) and issubclass(wanted, pydantic.BaseModel):
        return {} if depth > _DEEPEST else _model(wanted, depth)
    if origin is list:
        return [made_of(arguments[0], depth + 1)] if depth <= _LISTED else []
    return _PLAIN.get(wanted, {})


def _model(wanted: type[pydantic.BaseModel], depth: int) -> dict[str, Any]:
    return {
        field.alias or name: made_of(field.annotation, depth + 1)
        for name, field in wanted.model_fields.items()
        if field.is_required()
    }


_PLAIN: dict[Any, Any] = {
    str: "string",
    int: 1,
    float: 1.5,
    bool: True,
    bytes: "",
    type(None): None,
    datetime.datetime: "2026-11-21T10:00:00Z",
    datetime.date: "2026-11-21",
    pydantic.StrictStr: "string",
    pydantic.StrictInt: 1,
    pydantic.StrictBool: True,
    pydantic.StrictFloat: 1.5,
}
