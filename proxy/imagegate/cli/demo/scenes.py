"""What the demo asks for, and what becomes of it, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Tool = Mapping[str, Any]
Record = Mapping[str, Any]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        title: What it is; the policy says what becomes of it.
        tool: The settings of its image tool.
        stream: Whether the answer is streamed.
    """

    title: str
    tool: Tool
    stream: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream, as the client saw it.

    Attributes:
        type: Its type.
        seconds: Since the request.
        size: Bytes of the image in it.
        recorded: Whether it was on record already.
    """

    type: str
    seconds: float
    size: int = 0
    recorded: bool = False


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what became of it.

    Attributes:
        asked: The settings that the client sent.
        sent: Those that reached the provider, if any did; None when no byte did.
        answer: What the client got, in words.
        records: What was written down.
    """

    asked: Tool
    sent: Tool | None
    answer: str
    records: Sequence[Record]


Watch = Callable[[Event], None]

SCENES: Sequence[Scene] = (
    Scene(
        title="A modest request",
        tool={
            "model": "gpt-image-1-mini",
            "quality": "low",
            "size": "1024x1024",
            "moderation": "auto",
            "output_format": "png",
            "partial_images": 0,
        },
    ),
    Scene(
        title="A request that asks for more",
        tool={"model": "gpt-image-2", "quality": "high", "size": "2000x1120"},
    ),
    Scene(
        title="A request that nobody can judge",
        tool={"quality": "ultra"},
    ),
    Scene(
        title="A stream, relayed as it comes",
        tool={"quality": "medium", "partial_images": 2},
        stream=True,
    ),
)
