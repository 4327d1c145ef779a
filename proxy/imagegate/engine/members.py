"""A JSON object of the provider's, by the few members of it that are ever read.

The decoder steps over all others, so an answer costs by what is read of it, and not
by how much it says. `tools` stays as it is written: it is known by its bytes.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from imagegate.engine.lenient import decode

# Every kind of JSON value has to be named where one of them is a struct.
_Plain: TypeAlias = str | int | float | bool | UnsetType | None
_Object: TypeAlias = "Members | list[Any] | _Plain"
_Objects: TypeAlias = "list[Members | list[Any] | _Plain] | dict[str, Any] | _Plain"


class Members(msgspec.Struct, kw_only=True, gc=False):
    """What is read of an object; a member may be of any kind, or `UNSET`.

    An object within it is one of these where more than a word of it is read, and a
    dictionary elsewhere.
    """

    type: Any = UNSET
    object: Any = UNSET
    created: Any = UNSET
    sequence_number: Any = UNSET
    output_index: Any = UNSET
    item_id: Any = UNSET
    id: Any = UNSET
    status: Any = UNSET
    action: Any = UNSET
    background: Any = UNSET
    size: Any = UNSET
    quality: Any = UNSET
    output_format: Any = UNSET
    model: Any = UNSET
    error: Any = UNSET
    code: Any = UNSET
    param: Any = UNSET
    usage: Any = UNSET
    tool_usage: Any = UNSET
    incomplete_details: Any = UNSET
    partial_image_index: Any = UNSET
    partial_image_b64: Any = UNSET
    b64_json: Any = UNSET
    result: Any = UNSET
    tools: Raw = Raw()
    response: _Object = UNSET
    item: _Object = UNSET
    output: _Objects = UNSET
    data: _Objects = UNSET


NO_MEMBERS: Final = Members()
_MEMBERS: Final = msgspec.json.Decoder(Members)


def read_members(text: bytes) -> Members | None:
    """Read an object as leniently as the clients do; None for another value.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    try:
        return _MEMBERS.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = decode(text)
        if not isinstance(value, dict):
            return None
        # Written again, it is JSON to the letter, with U+FFFD or `?` for the rest.
        clean = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return _MEMBERS.decode(clean)


def members(value: object) -> Members:
    """Return an object, or an empty one in place of anything else."""
    return value if isinstance(value, Members) else NO_MEMBERS
