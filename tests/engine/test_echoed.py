"""The image tools that an answer shows."""

from __future__ import annotations

import pytest

from imagegate.engine.echoed import image_tools
from imagegate.engine.events import TOO_LONG, EchoedTool

IMAGE: dict[str, object] = {"type": "image_generation"}


def echoed(*tools: object) -> list[EchoedTool]:
    return list(image_tools([*tools], "tools"))


def test_image_tools_are_found_among_others() -> None:
    """With all that was said about them, and where."""
    tool = IMAGE | {"quality": "low", "n": 1, "size": None}

    assert echoed({"type": "function"}, tool, {}, "x", None, {"type": 1}) == [
        EchoedTool(at="tools[1]", settings=tool)
    ]


@pytest.mark.parametrize("tools", [None, {}, "image_generation", 1, []])
def test_what_is_no_list_has_no_tools(tools: object) -> None:
    """The wrong kind of value reads as absent."""
    assert list(image_tools(tools, "tools")) == []


@pytest.mark.parametrize(
    "kind",
    ["Image_Generation", "image-generation", "IMAGE_GENERATION\n", "imageGeneration",
     "image_generation_preview", "ｉmage_generation"],
)  # fmt: skip
def test_a_look_alike_is_echoed_as_such(kind: str) -> None:
    """It may be what the provider takes for the tool."""
    assert echoed({"type": kind}) == [
        EchoedTool(at="tools[0]", settings={"type": kind}, exact=False)
    ]


def test_tools_inside_tools_are_found() -> None:
    """A namespace may hold them, against the contract."""
    space = {
        "type": "namespace",
        "tools": [{}, {"type": "namespace", "tools": [IMAGE]}],
    }

    assert echoed("x", space) == [
        EchoedTool(at="tools[1].tools[1].tools[0]", settings=IMAGE)
    ]


def test_the_search_for_tools_ends() -> None:
    """A hostile nesting costs nothing."""
    nested: dict[str, object] = IMAGE
    for _ in range(20):
        nested = {"tools": [nested]}

    assert echoed(nested) == []


def test_an_echoed_tool_has_bounds() -> None:
    """A mask is not kept, and what was left out is told."""
    mask = {"image_url": "data:image/png;base64," + "A" * 9000}
    many = {str(number): number for number in range(100)}

    assert echoed(IMAGE | {"input_image_mask": mask}) == [
        EchoedTool(
            at="tools[0]",
            settings=IMAGE | {"input_image_mask": {"image_url": TOO_LONG}},
        )
    ]
    (found,) = echoed(IMAGE | many)
    assert (len(found.settings), found.whole) == (64, False)
