"""The image tools that an answer shows, as the provider understood them.

They are the same all day long, and are remembered by a digest of the array in which
they stood: what else was in it, such as a credential, is not kept.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from imagegate.engine.events import EchoedTool
from imagegate.engine.lenient import DEPTH, WORD, Cut, as_array, as_object, decode
from imagegate.engine.tools import IMAGE_TOOL, looks_like_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msgspec import Raw

MAX_ECHOES: Final = 256
"""How many echoes are remembered."""
MAX_REMEMBERED: Final = 2_048
"""Bytes of the image tools in one; what is longer is read each time."""

_known: Final[dict[bytes, tuple[EchoedTool, ...]]] = {}


def echoed(tools: Raw) -> tuple[EchoedTool, ...] | None:
    """Find the image tools of an echo; None where no array is."""
    text = bytes(tools)
    if not text.startswith(b"["):
        return None
    key = hashlib.sha256(text).digest()
    found = _known.get(key)
    if found is None:
        found = tuple(image_tools(decode(text), "tools"))
        if _is_plain(found):
            if len(_known) >= MAX_ECHOES:
                forget()
            _known[key] = found
    return found


def forget() -> None:
    """Remember no echo any more."""
    _known.clear()


def _is_plain(tools: tuple[EchoedTool, ...]) -> bool:
    """Whether nothing in tools can be a picture, or a text."""
    flat = not any(
        isinstance(value, dict | list)
        for tool in tools
        for value in tool.settings.values()
    )
    return flat and len(msgspec.msgpack.encode(tools)) <= MAX_REMEMBERED


def image_tools(tools: object, at: str, depth: int = DEPTH) -> Iterator[EchoedTool]:
    """Find image tools, also inside tools that hold tools.

    Args:
        tools: What stands where tools are expected.
        at: Where that is.
        depth: How deep tools may hold tools.
    """
    for index, value in enumerate(as_array(tools)):
        tool = as_object(value)
        kind = tool.get("type")
        if isinstance(kind, str) and looks_like_images(kind[:WORD]):
            cut = Cut()
            yield EchoedTool(
                at=f"{at}[{index}]",
                settings=cut.object(tool),
                exact=kind == IMAGE_TOOL,
                whole=cut.whole,
            )
        if depth and "tools" in tool:
            yield from image_tools(tool["tools"], f"{at}[{index}].tools", depth - 1)
