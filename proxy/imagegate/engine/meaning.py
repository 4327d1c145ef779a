"""What one JSON text from the provider means.

The text may be the data of a server-sent event, a WebSocket message or a whole
answer; how it was framed is known elsewhere. The JSON `type` is the authority.
Reading is lenient: a value of an unexpected kind costs that value, never the
event, because an event that is not understood is an event not recorded.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import UNSET, structs

from imagegate.engine.deltas import is_delta
from imagegate.engine.echoed import echoed, image_tools
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
    as_object,
    completions,
    decode,
    flag,
    identifier,
    number,
    word,
)
from imagegate.engine.members import (
    Members,
    Response,
    members,
    read_line,
    read_members,
    response,
)
from imagegate.engine.pixels import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagegate.engine.reducer import Message

_Told: TypeAlias = "tuple[str, ...]"
_Reading: TypeAlias = "Callable[[_Reader], tuple[Event, ...]]"
_Output: TypeAlias = (
    "tuple[_Told | None, _Told, tuple[EchoedTool, ...], Sequence[FinishedItem]]"
)
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
_ITEM: Final = frozenset({_ADDED, _DONE})
_IMAGE_CALL: Final = "image_generation_call"
_ITEMS: Final = "items"
_BATCH: Final = "batch"
_MATTER: Final = _RESPONSE | _PARTIAL | _FINAL | _ITEM | {"error"}

# Keep-alives and the sentinel that ends a stream.
_SILENT: Final = (b"", b"[DONE]")
_NAMELESS: Final = (UNSET, None)
_STATUSES: Final = range(100, 600)
_TYPE: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]{1,100})"')


def read_event(
    message: Message, *, end: int = 0, incomplete: bool = False
) -> tuple[Event, ...]:
    """Read one event of a stream: what it says, in the order of recording."""
    if is_delta(message.text):
        return ()
    return read_other(message, end=end, incomplete=incomplete)


def read_other(
    message: Message, *, end: int = 0, incomplete: bool = False
) -> tuple[Event, ...]:
    """Read one event that is known to be no delta."""
    if message.text.strip() in _SILENT:
        return ()
    events = _read(message, _Reader.event, end=end, incomplete=incomplete)
    return _broken_off(message, _Reader.event, events) if incomplete else events


def read_answer(message: Message, *, end: int = 0) -> tuple[Event, ...]:
    """Read a whole JSON answer: a Response, images, items of one, or an error."""
    events = _read(message, _Reader.answer, end=end, incomplete=False)
    return _broken_off(message, _Reader.answer, events)


def read_made(message: Message, *, end: int = 0) -> tuple[Event, ...] | None:
    """Read one line of a file that tells what a batch made; None for another one.

    Of a line that breaks off, or goes on for too long, the images are told as well.
    """
    if message.whole:
        with contextlib.suppress(ValueError, RecursionError):
            return _made(message, message.text, end, incomplete=False)
    lost = (
        Undecodable(reason="not_json", length=message.length, end=end)
        if message.whole
        else Unobservable(type=None, length=message.length, end=end)
    )
    for text in completions(message.text):
        with contextlib.suppress(ValueError, RecursionError):
            made = _made(message, text, end, incomplete=True)
            if made is not None:
                return (*made, lost)
    return None if message.whole else (lost,)


def _made(
    message: Message, text: bytes, end: int, *, incomplete: bool
) -> tuple[Event, ...] | None:
    of = read_line(text)
    if of is None:
        return None
    events = _Reader(message, of, end, incomplete).answer()
    named = [x.response_id for x in events if isinstance(x, ResponseEvent)]
    name = named[0] if named else None
    return tuple(
        structs.replace(
            event,
            type=_BATCH,
            response_id=name,
            # Its place in an answer is that of another in the next.
            output_index=None if event.item_id is None else event.output_index,
        )
        for event in events
        if isinstance(event, FinishedItem)
    )


def _broken_off(
    message: Message, reading: _Reading, events: tuple[Event, ...]
) -> tuple[Event, ...]:
    """Add the images of a text that breaks off, or goes on for too long.

    Whoever has been sent them may leave before the end, which says nothing of them.
    """
    first = events[0] if events else None
    if not isinstance(first, Undecodable | Unobservable):
        return events
    for text in completions(message.text):
        with contextlib.suppress(ValueError, RecursionError):
            top = members(read_members(text))
            begun = reading(_Reader(message, top, first.end, incomplete=True))
            return (*_made_in(begun), *events)
    return events


def _made_in(events: Sequence[Event]) -> Sequence[Event]:
    """Leave out all but images, and the name of what they belong to."""
    made = [each for each in events if isinstance(each, FinishedItem | PartialImage)]
    names = [event.response_id for event in events if isinstance(event, ResponseEvent)]
    if not made:
        return ()
    end, kind = made[0].end, "response"
    told = (
        ResponseEvent(type=kind, response_id=name, end=end, incomplete=True)
        for name in names
    )
    return (*made, *told)


def _read(
    message: Message,
    reading: _Reading,
    *,
    end: int,
    incomplete: bool,
) -> tuple[Event, ...]:
    if not message.whole:
        return _unobservable(message, end=end, incomplete=incomplete)
    reason: Literal["not_json", "not_an_object", "too_deep"] = "not_an_object"
    try:
        top = read_members(message.text)
        if top is not None:
            return reading(_Reader(message, top, end, incomplete))
    except ValueError:
        reason = "not_json"
    except RecursionError:
        reason = "too_deep"
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
    """Reads one text into events."""

    __slots__ = ("_end", "_incomplete", "_message", "_sequence_number", "_top")

    def __init__(
        self,
        message: Message,
        top: Members,
        end: int,
        incomplete: bool,  # noqa: FBT001 - by their places, as keywords cost
    ) -> None:
        self._message = message
        self._top = top
        self._end = end
        self._incomplete = incomplete
        self._sequence_number = number(top.sequence_number)

    def event(self) -> tuple[Event, ...]:
        top, kind = self._top, self._top.type
        if isinstance(kind, str) and kind in _RESPONSE:
            return self._response(kind, response(top.response))
        if isinstance(kind, str) and _matters(kind):
            return self._event(kind)
        if kind in _NAMELESS and isinstance(top.error, dict):
            # openai-python raises for any data with an error in it
            return (self._error(),)
        return self._untyped() if self._incomplete else ()

    def _untyped(self) -> tuple[Event, ...]:
        """Read what broke off before its type: some write members by the alphabet."""
        top = self._top
        if isinstance(top.b64_json, str):
            return (self._finished("images", top, top.b64_json, top),)
        return self._item_event(_DONE, members(top.item))

    def _event(self, kind: str) -> tuple[Event, ...]:
        top = self._top
        if kind in _PARTIAL:
            return (PartialImage(type=kind, **self._ids(), **self._place()),)
        if kind.startswith(_CALL):
            return (self._image_event(kind),)
        if kind in _ITEM:
            return self._item_event(kind, members(top.item))
        if kind in _FINAL:
            return (self._finished(kind, top, top.b64_json, top),)
        return (self._error(),)

    def answer(self) -> tuple[Event, ...]:
        top = self._top
        if top.object == "response":
            return self._response("response", top)
        if top.object == "list":
            return tuple(self._listed(top.data))
        if self._is_call(top):
            return (self._finished(_ITEMS, top, top.result, top),)
        if isinstance(top.error, dict):
            return (self._error(),)
        if isinstance(top.output, list):
            return tuple(self._listed(top.output))  # of a history, made compact
        drawn = top.created is not UNSET or isinstance(top.data, list)
        return self._images() if drawn else ()

    def _image_event(self, kind: str) -> ImageEvent:
        return ImageEvent(type=word(kind) or kind, **self._ids(), **self._place())

    def _place(self) -> Object:
        return {"end": self._end, "incomplete": self._incomplete}

    def _ids(self) -> Object:
        return {
            "sequence_number": self._sequence_number,
            "output_index": number(self._top.output_index),
            "item_id": identifier(self._top.item_id),
        }

    def _item_event(self, kind: str, item: Members) -> tuple[Event, ...]:
        if self._is_call(item) and kind == _DONE:
            index = number(self._top.output_index)
            return (self._finished(kind, item, item.result, item, index=index),)
        said = {**self._ids(), "item_id": identifier(item.id), **self._place()}
        if item.type == _IMAGE_CALL:
            return (ItemAdded(**said),)
        tools = echoed(item.tools)
        return (ToolsAdded(tools=tools, **said),) if tools else ()

    def _is_call(self, item: Members) -> bool:
        """Whether an item is an image call, if need be by a picture before its type."""
        if item.type == _IMAGE_CALL:
            return True
        begun = "" if item.type is UNSET else item.type
        broken = self._incomplete and isinstance(item.result, str)
        return broken and isinstance(begun, str) and _IMAGE_CALL.startswith(begun)

    def _finished(
        self,
        kind: str,
        item: Members,
        picture: object,
        settings: Members,
        *,
        index: int | None = None,
    ) -> FinishedItem:
        return FinishedItem(
            type=kind,
            sequence_number=self._sequence_number,
            output_index=index,
            item_id=identifier(item.id),
            status=word(item.status),
            action=word(item.action),
            image=self._payload(picture),
            elsewhere=bool(item.url) and isinstance(item.url, str),
            error_code=word(as_object(item.error).get("code")),
            usage=_usage(item.usage),
            **_settings(item, settings),
            **self._place(),
        )

    def _images(self) -> tuple[Event, ...]:
        """Read the Images API's answer: settings and tokens are said once for all."""
        top = self._top
        data = top.data if isinstance(top.data, list) else ()
        made = tuple(
            self._finished("images", entry, entry.b64_json, top, index=index)
            for index, entry in enumerate(map(members, data))
        )
        spent = _usage(top.usage)
        if spent is None:
            return made
        return (*made, ResponseEvent(type="images", usage=spent, **self._place()))

    def _listed(self, items: object) -> Iterator[FinishedItem]:
        """Read the items of a conversation, of which many are from earlier turns."""
        for index, item in enumerate(items if isinstance(items, list) else ()):
            of = members(item)
            if self._is_call(of):
                yield self._finished(_ITEMS, of, of.result, of, index=index)

    def _response(self, kind: str, of: Response) -> tuple[Event, ...]:
        usage, error, details = of.tool_usage, of.error, of.incomplete_details
        kinds, items, tools, made = self._output(kind, of.output)
        turn = ResponseEvent(
            type=kind,
            sequence_number=self._sequence_number,
            response_id=identifier(of.id),
            status=word(of.status),
            background=flag(of.background),
            model=word(of.model),
            tools=echoed(of.tools),
            output_tools=tools,
            output=kinds,
            items=items,
            usage=_usage(usage.get("image_gen")) if isinstance(usage, dict) else None,
            error_code=word(error.get("code")) if isinstance(error, dict) else None,
            incomplete_reason=(
                word(details.get("reason")) if isinstance(details, dict) else None
            ),
            end=self._end,
            incomplete=self._incomplete,
        )
        return (*made, turn)

    def _output(self, kind: str, output: object) -> _Output:
        """Read the items of a response: types, ids, image tools, and image calls."""
        if not isinstance(output, list):
            return None, (), (), ()
        if not output:
            return (), (), (), ()
        kinds: list[str] = []
        items: list[str] = []
        tools: list[EchoedTool] = []
        made: list[FinishedItem] = []
        for index, value in enumerate(output):
            item = members(value)
            kinds.append(word(item.type) or "")
            name = identifier(item.id)
            if name:
                items.append(name)
            if item.tools:
                tools += image_tools(
                    decode(bytes(item.tools)), f"output[{index}].tools"
                )
            if self._is_call(item):
                made.append(self._finished(kind, item, item.result, item, index=index))
        return tuple(kinds), tuple(items), tuple(tools), made

    def _error(self) -> StreamError:
        nested = self._top.error
        if isinstance(nested, dict):
            code, kind = nested.get("code"), nested.get("type")
        else:
            # In the flat form `type` says that this is an error, not which.
            code, kind = self._top.code, None
        status = number(self._top.status)
        return StreamError(
            sequence_number=self._sequence_number,
            status=status if status in _STATUSES else None,
            code=word(code),
            error_type=word(kind),
            **self._place(),
        )

    def _payload(self, value: object) -> Payload | None:
        if not isinstance(value, str):
            return None
        head, length = self._message.payload(value)
        return payload(head, length)


def _settings(of: Members, others: Members) -> Object:
    """Return the settings that an object says, or else another does."""
    return {
        "size": word(others.size if of.size is UNSET else of.size),
        "quality": word(others.quality if of.quality is UNSET else of.quality),
        "background": word(
            others.background if of.background is UNSET else of.background
        ),
        "output_format": word(
            others.output_format if of.output_format is UNSET else of.output_format
        ),
    }


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
