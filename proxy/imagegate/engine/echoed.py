"""The image tools that an answer shows, as the provider understood them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from imagegate.engine.events import EchoedTool
from imagegate.engine.lenient import DEPTH, WORD, Cut, as_array, as_object

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMAGE_GENERATION: Final = "image_generation"


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
        if isinstance(kind, str) and _looks_like_image_generation(kind):
            cut = Cut()
            yield EchoedTool(
                at=f"{at}[{index}]",
                settings=cut.object(tool),
                exact=kind == _IMAGE_GENERATION,
                whole=cut.whole,
            )
        if depth and "tools" in tool:
            yield from image_tools(tool["tools"], f"{at}[{index}].tools", depth - 1)


def _looks_like_image_generation(kind: str) -> bool:
    if kind == _IMAGE_GENERATION:
        return True
    folded = unicodedata.normalize("NFKC", kind[:WORD]).casefold()
    return "".join(filter(str.isalnum, folded)).startswith("imagegen")
