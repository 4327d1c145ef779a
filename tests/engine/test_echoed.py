"""The image tools that an answer shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from imagegate.engine.echoed import MAX_ECHOES, echoed, forget, image_tools
from imagegate.engine.events import TOO_LONG, EchoedTool

IMAGE: dict[str, object] = {"type": "image_generation"}


def found_in(*tools: object) -> list[EchoedTool]:
    return list(image_tools([*tools], "tools"))


def test_image_tools_are_found_among_others() -> None:
    """With all that was said about them, and where."""
    tool = IMAGE | {"quality": "low", "n": 1, "size": None}

    assert found_in({"type": "function"}, tool, {}, "x", None, {"type": 1}) == [
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
    assert found_in({"type": kind}) == [
        EchoedTool(at="tools[0]", settings={"type": kind}, exact=False)
    ]


def test_tools_inside_tools_are_found() -> None:
    """A namespace may hold them, against the contract."""
    space = {
        "type": "namespace",
        "tools": [{}, {"type": "namespace", "tools": [IMAGE]}],
    }

    assert found_in("x", space) == [
        EchoedTool(at="tools[1].tools[1].tools[0]", settings=IMAGE)
    ]


def test_the_search_for_tools_ends() -> None:
    """A hostile nesting costs nothing."""
    nested: dict[str, object] = IMAGE
    for _ in range(20):
        nested = {"tools": [nested]}

    assert found_in(nested) == []


def test_an_echoed_tool_has_bounds() -> None:
    """A mask is not kept, and what was left out is told."""
    mask = {"image_url": "data:image/png;base64," + "A" * 9000}
    many = {str(number): number for number in range(100)}

    assert found_in(IMAGE | {"input_image_mask": mask}) == [
        EchoedTool(
            at="tools[0]",
            settings=IMAGE | {"input_image_mask": {"image_url": TOO_LONG}},
        )
    ]
    (found,) = found_in(IMAGE | many)
    assert (len(found.settings), found.whole) == (64, False)


def raw(*tools: object) -> Raw:
    return Raw(msgspec.json.encode(tools))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["image_generation", "function", "imagegen"])},
            optional={
                "quality": st.sampled_from(["low", "high", None, 1, 1.0, True]),
                "tools": st.just([IMAGE]),
                "input_image_mask": st.just({"image_url": "x"}),
                "user": st.text(max_size=3000),
            },
        ),
        max_size=3,
    )
)
def test_an_echo_that_came_before_is_read_as_the_first_time(tools: list[Any]) -> None:
    """To the letter: 1 is not true, and neither is 1.0."""
    before = [echoed(raw(*tools)) for _ in range(2)]
    forget()

    assert repr(before) == repr([echoed(raw(*tools))] * 2)
    assert repr(before[0]) == repr(tuple(image_tools(tools, "tools")))


@pytest.mark.parametrize("text", [b"", b"null", b"{}", b'"[]"', b"1"])
def test_what_is_no_array_is_no_echo(text: bytes) -> None:
    """An empty one is."""
    assert echoed(Raw(text)) is None
    assert echoed(raw()) == ()


def test_an_echo_is_remembered() -> None:
    """So the same costs less."""
    assert echoed(raw(IMAGE)) is echoed(raw(IMAGE))


@pytest.mark.parametrize(
    "tool",
    [{"input_image_mask": {"image_url": "x"}}, {str(n): "x" * 256 for n in range(9)}],
)
def test_what_can_be_a_picture_or_a_text_is_not_remembered(tool: Any) -> None:
    """Not even its beginning."""
    forget()
    first = echoed(raw(IMAGE | tool))

    assert first == echoed(raw(IMAGE | tool))
    assert first is not echoed(raw(IMAGE | tool))


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    """Then all is forgotten."""
    first = echoed(raw(IMAGE))
    for number in range(MAX_ECHOES):
        echoed(raw(IMAGE | {"n": number}))

    assert echoed(raw(IMAGE)) is not first
