"""What one JSON text from the provider means.

The text may be the data of a server-sent event, a WebSocket message or a whole
answer; how it was framed is known elsewhere. The JSON `type` is the authority.
Reading is lenient: a value of an unexpected kind costs that value, never the
event, because an event that is not understood is an event not recorded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from imagegate.engine.deltas import is_delta
from imagegate.engine.echoed import image_tools
from imagegate.engine.events import (
    EchoedTool,
    Event,
    FinishedItem,
    ImageEvent,
    ImageUsage,
    ItemAdded,
    PartialImage,
    Payload,
    ResponseEvent,
    StreamError,
    ToolsAdded,
    Undecodable,
    Unobservable,
)
from imagegate.engine.lenient import (
    Object,
    as_array,
    as_object,
    decode,
    flag,
    number,
    word,
)
from imagegate.engine.pixels import payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagegate.engine.reducer import Message

_CALL: Final = "response.image_generation_call."
_PARTIAL: Final = frozenset(
    family + "partial_image" for family in (_CALL, "image_generation.", "image_edit.")
)
_FINAL: Final = frozenset({"image_generation.completed", "image_edit.completed"})
_RESPONSE: Final = frozenset(
    "response." + turn
    for turn in (
        "created", "queued", "in_progress", "completed", "failed", "incomplete",
    )
)  # fmt: skip
_ADDED: Final = "response.output_item.added"
_DONE: Final = "response.output_item.done"
_MATTER: Final = _RESPONSE | _PARTIAL | _FINAL | {_ADDED, _DONE, "error"}

# Keep-alives and the sentinel that ends a stream.
_SILENT: Final = frozenset({b"", b"[DONE]"})
_TYPE: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]{1,100})"')


def read_event(
    message: Message, *, end: int = 0, incomplete: bool = False
) -> tuple[Event, ...]:
    """Read one event of a stream: what it says, in the order of recording."""
    if is_delta(message.text) or message.text.strip() in _SILENT:
        return ()
    decoded = _decode(message, end=end, incomplete=incomplete)
    if not isinstance(decoded, dict):
        return decoded
    kind = decoded.get("type")
    if kind is None and isinstance(decoded.get("error"), dict):
        kind = "error"  # openai-python raises for any data with an error in it
    if not isinstance(kind, str) or not _matters(kind):
        return ()
    reader = _Reader(message, decoded, end=end, incomplete=incomplete)
    return tuple(reader.event(kind))


def read_answer(message: Message, *, end: int = 0) -> tuple[Event, ...]:
    """Read a whole JSON answer: a Response, images, or an error."""
    decoded = _decode(message, end=end, incomplete=False)
    if not isinstance(decoded, dict):
        return decoded
    return tuple(_Reader(message, decoded, end=end, incomplete=False).answer())


def _decode(
    message: Message, *, end: int, incomplete: bool
) -> Object | tuple[Event, ...]:
    if not message.whole:
        return _unobservable(message, end=end, incomplete=incomplete)
    reason: Literal["not_json", "not_an_object", "too_deep"]
    try:
        value = decode(message.text)
    except ValueError:
        reason = "not_json"
    except RecursionError:
        reason = "too_deep"
    else:
        if isinstance(value, dict):
            return value
        reason = "not_an_object"
    return (
        Undecodable(
            reason=reason, length=message.length, end=end, incomplete=incomplete
        ),
    )


def _unobservable(message: Message, *, end: int, incomplete: bool) -> tuple[Event, ...]:
    """Report a text that was given up, unless its type says it cannot matter."""
    found = _TYPE.match(message.text)
    kind = found[1].decode() if found else None
    if kind is not None and not _matters(kind):
        return ()
    return (
        Unobservable(type=kind, length=message.length, end=end, incomplete=incomplete),
    )


def _matters(kind: str) -> bool:
    return kind in _MATTER or kind.startswith(_CALL)


class _Reader:
    """Reads one decoded text into events."""

    def __init__(
        self, message: Message, top: Object, *, end: int, incomplete: bool
    ) -> None:
        self._message = message
        self._top = top
        self._place: Object = {"end": end, "incomplete": incomplete}
        self._sequence_number = number(top.get("sequence_number"))

    def event(self, kind: str) -> Iterator[Event]:
        if kind in _PARTIAL:
            yield self._partial(kind)
        elif kind.startswith(_CALL):
            yield self._image_event(kind)
        elif kind in _RESPONSE:
            yield from self._response(kind, as_object(self._top.get("response")))
        elif kind in {_ADDED, _DONE}:
            yield from self._item_event(kind, as_object(self._top.get("item")))
        elif kind in _FINAL:
            yield self._finished(kind, self._top, "b64_json")
        else:
            yield self._error()

    def answer(self) -> Iterator[Event]:
        top = self._top
        if top.get("object") == "response":
            yield from self._response("response", top)
        elif isinstance(top.get("error"), dict):
            yield self._error()
        elif "created" in top:
            yield from self._images()

    def _image_event(self, kind: str) -> ImageEvent:
        return ImageEvent(type=word(kind) or kind, **self._ids(), **self._place)

    def _partial(self, kind: str) -> PartialImage:
        top = self._top
        picture = top.get("partial_image_b64", top.get("b64_json"))
        return PartialImage(
            type=kind,
            partial_image_index=number(top.get("partial_image_index")),
            image=self._payload(picture),
            **_settings(top),
            **self._ids(),
            **self._place,
        )

    def _ids(self) -> Object:
        return {
            "sequence_number": self._sequence_number,
            "output_index": number(self._top.get("output_index")),
            "item_id": word(self._top.get("item_id")),
        }

    def _item_event(self, kind: str, item: Object) -> Iterator[Event]:
        ids = self._ids() | {"item_id": word(item.get("id"))}
        if item.get("type") != "image_generation_call":
            tools = tuple(image_tools(item.get("tools"), "tools"))
            if tools:
                yield ToolsAdded(tools=tools, **ids, **self._place)
        elif kind == _ADDED:
            yield ItemAdded(status=word(item.get("status")), **ids, **self._place)
        else:
            yield self._finished(kind, item, "result", index=ids["output_index"])

    def _finished(
        self, kind: str, item: Object, member: str, *, index: int | None = None
    ) -> FinishedItem:
        return FinishedItem(
            type=kind,
            sequence_number=self._sequence_number,
            output_index=index,
            item_id=word(item.get("id")),
            status=word(item.get("status")),
            action=word(item.get("action")),
            image=self._payload(item.get(member)),
            error_code=word(as_object(item.get("error")).get("code")),
            usage=_usage(item.get("usage")),
            **_settings(item),
            **self._place,
        )

    def _images(self) -> Iterator[FinishedItem]:
        """Read the Images API's answer, which says the settings once for all."""
        for index, entry in enumerate(as_array(self._top.get("data"))):
            image = _settings(self._top) | as_object(entry)
            yield self._finished("images", image, "b64_json", index=index)

    def _response(self, kind: str, response: Object) -> Iterator[Event]:
        output = [as_object(item) for item in as_array(response.get("output"))]
        for index, item in enumerate(output):
            if item.get("type") == "image_generation_call":
                yield self._finished(kind, item, "result", index=index)
        yield ResponseEvent(
            type=kind,
            sequence_number=self._sequence_number,
            response_id=word(response.get("id")),
            status=word(response.get("status")),
            background=flag(response.get("background")),
            model=word(response.get("model")),
            tools=_echo(response.get("tools")),
            output_tools=tuple(_output_tools(output)),
            output=_kinds(response.get("output")),
            usage=_usage(as_object(response.get("tool_usage")).get("image_gen")),
            error_code=word(as_object(response.get("error")).get("code")),
            incomplete_reason=word(
                as_object(response.get("incomplete_details")).get("reason")
            ),
            **self._place,
        )

    def _error(self) -> StreamError:
        nested = self._top.get("error")
        error = nested if isinstance(nested, dict) else self._top
        # In the flat form `type` says that this is an error, not which.
        kind = error.get("type") if error is nested else None
        return StreamError(
            sequence_number=self._sequence_number,
            code=word(error.get("code")),
            error_type=word(kind),
            param=word(error.get("param")),
            **self._place,
        )

    def _payload(self, value: object) -> Payload | None:
        if not isinstance(value, str):
            return None
        head, length = self._message.payload(value)
        return payload(head, length)


def _settings(of: Object) -> Object:
    names = ("size", "quality", "background", "output_format")
    return {name: word(of.get(name)) for name in names}


def _usage(value: object) -> ImageUsage | None:
    if not isinstance(value, dict):
        return None
    spent, made = (
        as_object(value.get(f"{side}_tokens_details")) for side in ("input", "output")
    )
    return ImageUsage(
        input_tokens=number(value.get("input_tokens")),
        output_tokens=number(value.get("output_tokens")),
        total_tokens=number(value.get("total_tokens")),
        input_image_tokens=number(spent.get("image_tokens")),
        input_text_tokens=number(spent.get("text_tokens")),
        output_image_tokens=number(made.get("image_tokens")),
        output_text_tokens=number(made.get("text_tokens")),
        cached_tokens=number(value.get("cached_tokens")),
    )


def _echo(value: object) -> tuple[EchoedTool, ...] | None:
    return tuple(image_tools(value, "tools")) if isinstance(value, list) else None


def _output_tools(output: list[Object]) -> Iterator[EchoedTool]:
    for index, item in enumerate(output):
        if "tools" in item:
            yield from image_tools(item["tools"], f"output[{index}].tools")


def _kinds(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(word(as_object(item).get("type")) or "" for item in value)
