"""A JSON object of the provider's, by the few members of it that are ever read.

The decoder steps over all others, so an answer costs by what is read of it, and not
by how much it says. `tools` stays as it is written: it is known by its bytes.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from imagegate.engine.lenient import decode

_T = TypeVar("_T")
# Every kind of JSON value has to be named where one of them is a struct.
_Plain: TypeAlias = str | int | float | bool | UnsetType | None
_Object: TypeAlias = "Members | list[Any] | _Plain"
_Response: TypeAlias = "Response | list[Any] | _Plain"
_Objects: TypeAlias = "list[Members | list[Any] | _Plain] | dict[str, Any] | _Plain"


class Response(msgspec.Struct, kw_only=True, gc=False):
    """What is read of a response within an event; a member may be of any kind.

    What is absent is `UNSET`. The decoder looks for the next member behind the last, so
    they stand in the order in which they come.
    """

    id: Any = UNSET
    status: Any = UNSET
    background: Any = UNSET
    error: Any = UNSET
    incomplete_details: Any = UNSET
    model: Any = UNSET
    output: _Objects = UNSET
    tool_usage: Any = UNSET
    tools: Raw = Raw()


class Members(Response, kw_only=True, gc=False):
    """What is read of any other object, or of a response that is no part of one.

    An object within it is one of these where more than a word of it is read, and a
    dictionary elsewhere.
    """

    type: Any = UNSET
    sequence_number: Any = UNSET
    output_index: Any = UNSET
    item_id: Any = UNSET
    response: _Response = UNSET
    item: _Object = UNSET
    object: Any = UNSET
    created: Any = UNSET
    action: Any = UNSET
    usage: Any = UNSET
    output_format: Any = UNSET
    quality: Any = UNSET
    result: Any = UNSET
    size: Any = UNSET
    b64_json: Any = UNSET
    url: Any = UNSET
    data: _Objects = UNSET
    code: Any = UNSET


class _Answered(msgspec.Struct, gc=False):
    body: _Object = UNSET


class _Line(msgspec.Struct, gc=False):
    custom_id: Any = UNSET
    response: _Answered | list[Any] | _Plain = UNSET


NO_MEMBERS: Final = Members()
_NO_RESPONSE: Final = Response()
_MEMBERS: Final = msgspec.json.Decoder(Members)
_LINE: Final = msgspec.json.Decoder(_Line)


def read_members(text: bytes) -> Members | None:
    """Read an object as leniently as the clients do; None for another value.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    return _read(_MEMBERS, text)


def read_line(text: bytes) -> Members | None:
    """Read a line of what a batch made, and return the answer that it holds.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    line = _read(_LINE, text)
    if line is None or line.custom_id is UNSET:
        return None
    answer = line.response
    return members(answer.body) if isinstance(answer, _Answered) else NO_MEMBERS


def _read(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T | None:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = decode(text)
        if not isinstance(value, dict):
            return None
        # Written again, it is JSON to the letter, with U+FFFD or `?` for the rest.
        clean = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return decoder.decode(clean)


def members(value: object) -> Members:
    """Return an object, or an empty one in place of anything else."""
    return value if isinstance(value, Members) else NO_MEMBERS


def response(value: object) -> Response:
    """Return a response, or an empty one in place of anything else."""
    return value if isinstance(value, Response) else _NO_RESPONSE
