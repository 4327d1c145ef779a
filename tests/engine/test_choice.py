"""`tool_choice`: what it names, and how it is repaired when that has gone."""

from __future__ import annotations

from typing import Any

import pytest
from asking import body

from imagegate.engine.choice import Repair, repair_choice
from imagegate.engine.value import DELETE

AT = "/tool_choice"
IMAGE = {"type": "image_generation"}
OTHER = {"type": "function", "name": "f"}


def allowed(*tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": "auto", "tools": list(tools)}


def repair(choice: object, *, stripped: bool = True, left: int = 1) -> Repair:
    read = body({"input": "x", "tool_choice": choice})
    return repair_choice(read, AT, stripped=stripped, left=left)


def test_no_choice_needs_no_repair() -> None:
    """Nothing is invented."""
    assert repair_choice(body({"input": "x"}), AT, stripped=True, left=0) == Repair()


@pytest.mark.parametrize(
    "choice", ["auto", "none", "required", None, OTHER, allowed(OTHER), allowed()]
)
def test_a_choice_of_something_else_stays(choice: object) -> None:
    """As long as there is a tool to choose."""
    assert repair(choice) == Repair()


@pytest.mark.parametrize(
    ("choice", "left", "expected"),
    [
        (IMAGE, 1, [AT]),
        ("required", 0, [AT]),
        ("required", 1, []),
        ("auto", 0, []),
        (allowed(IMAGE), 1, [AT]),
        (allowed(IMAGE, IMAGE), 1, [AT]),
        (allowed(IMAGE, OTHER), 1, [f"{AT}/tools/0"]),
        (allowed(OTHER, IMAGE, IMAGE), 1, [f"{AT}/tools/1", f"{AT}/tools/2"]),
    ],
)
def test_what_named_the_tool_goes_with_it(
    choice: object, left: int, expected: list[str]
) -> None:
    """The entry, or the whole choice where nothing else is left in it."""
    found = repair(choice, left=left)

    assert found.edits == tuple((pointer, DELETE) for pointer in expected)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [(IMAGE, True), (allowed(OTHER, IMAGE), True), (OTHER, False), ("required", False)],
)
def test_a_tool_that_stays_is_only_noticed(choice: object, *, expected: bool) -> None:
    """Nothing is repaired where nothing is stripped."""
    found = repair(choice, stripped=False, left=0)

    assert found == Repair(names_image=expected)


@pytest.mark.parametrize(
    "name",
    [
        "Image_Generation",
        "image_generation\n",
        "imageGeneration",
        "image_generation_preview",
        "image_generation_2025_04_16",
        "ｉmage_generation",
        "i\u115fmage_generation",
        "image-gen",
    ],
)
def test_a_disguised_type_is_pointed_at(name: str) -> None:
    """Alone or among what is allowed."""
    alone = repair({"type": name}, stripped=False)
    among = repair(allowed(OTHER, {"type": name}), stripped=False)

    assert alone.disguised == (f"{AT}/type",)
    assert among.disguised == (f"{AT}/tools/1/type",)
    assert not alone.names_image


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        ({"type": "image_generation"}, ()),
        ({"type": "image_generation", "model": "x"}, (f"{AT}/model",)),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [
                {"type": "image_generation", "quality": "high"},
                {"type": "function", "name": "f"},
            ]},
            (f"{AT}/tools/0/quality",),
        ),
    ],
)  # fmt: skip
def test_settings_in_a_choice_are_pointed_at(
    choice: dict[str, object], places: tuple[str, ...]
) -> None:
    """They would be judged by nobody."""
    assert repair(choice, stripped=False).settings == places
