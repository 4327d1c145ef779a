"""`tool_choice`: what it names, and its repair when the tool it names has gone.

Upstream refuses a choice of a tool that is not there, so stripping a tool and
leaving the choice would turn a text request into an error.
"""

from __future__ import annotations

import msgspec

from imagegate.engine.body import IMAGE_TOOL, Body
from imagegate.engine.tools import looks_like_images
from imagegate.engine.value import DELETE, Edit, Value


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What is found in `tool_choice`, and what has to change.

    Attributes:
        names_image: It names the image tool.
        disguised: Pointers of types that somebody may take for the image tool's.
        settings: Pointers of what is said of the image tool besides its type, where
            no settings belong and none would be judged.
        edits: What makes it fit the tools that are left.
    """

    names_image: bool = False
    disguised: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()


def repair_choice(body: Body, pointer: str, *, stripped: bool, left: int) -> Repair:
    """Look at the choice of a tool.

    Args:
        body: The request.
        pointer: Where its `tool_choice` stands.
        stripped: Whether image tools are taken out of the request.
        left: How many tools remain.
    """
    choice = body.at(pointer)
    if choice is None:
        return Repair()
    entries = _entries(choice)
    disguised = tuple(
        f"{entry.pointer}/type" for entry, kind in entries if _looks_alike(kind)
    )
    images = [entry for entry, kind in entries if kind == IMAGE_TOOL]
    settings = tuple(
        member.pointer
        for image in images
        for name, member in image.members().items()
        if name != "type"
    )
    edits: tuple[Edit, ...] = ()
    if stripped and choice.text() == "required" and not left:
        edits = ((pointer, DELETE),)
    elif stripped and images:
        edits = _without(choice, pointer, images, len(entries))
    return Repair(
        names_image=bool(images), disguised=disguised, settings=settings, edits=edits
    )


def _entries(choice: Value) -> list[tuple[Value, str]]:
    """Return the objects that name a type: the choice, and what it allows."""
    allowed = choice.get("tools")
    values = [choice, *(allowed.elements() if allowed is not None else ())]
    named = [(value, value.get("type")) for value in values]
    return [(value, kind.text() or "") for value, kind in named if kind is not None]


def _without(
    choice: Value, pointer: str, images: list[Value], entries: int
) -> tuple[Edit, ...]:
    """Take the image tool out of the choice, or the choice away."""
    if choice in images or len(images) + 1 >= entries:
        return ((pointer, DELETE),)
    return tuple((image.pointer, DELETE) for image in images)


def _looks_alike(kind: str) -> bool:
    return kind != IMAGE_TOOL and looks_like_images(kind)
