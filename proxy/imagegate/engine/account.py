"""What a record tells of a request besides its tools: enough to decide it again.

Whatever a policy can ask about is here, and nothing that only a reader of prompts
would want. What a client spelled is made fit to be shown; an identifier is told
where the gateway has seen it before, or where it has the shape of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from imagegate.engine.body import Body
from imagegate.engine.choice import repair_choice
from imagegate.engine.decision import Shown
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.interface import previews_of
from imagegate.engine.records import MAX_ENTRIES, ReferenceRecord, ident
from imagegate.engine.request import MESSAGES, Request
from imagegate.engine.scene import Scene
from imagegate.engine.state import references
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, Match
from imagegate.engine.value import Value

_KINDS: Final = "conv|resp|msg|rs|ig|pmpt|fc|cmp|at|tso"
_IDENT: Final = re.compile(rf"(?:{_KINDS})_[\w-]{{1,1000}}={{0,2}}")
"""The identifiers of the API: their kind, and what the provider made up."""


def response_in(match: Match) -> str | None:
    """Return the response that a path names; None for what may be a secret."""
    name = match.params.get("response_id", "")
    return name if _IDENT.fullmatch(name) else None


def account_of(request: Request, scene: Scene) -> dict[str, Any]:
    """Return the fields of the decision record that tell of a request.

    Args:
        request: The request.
        scene: What it is judged against; it knows which words may be shown.
    """
    previews = [scene.shown(preview) for _, preview in previews_of(request)]
    told: dict[str, Any] = {
        "image_deployment": _deployment(request, scene),
        "previews": tuple(map(str, previews[:MAX_ENTRIES])),
    }
    if request.message_type in MESSAGES and request.is_message:
        told["message_type"] = request.message_type
    if request.body is None:
        return told
    try:
        told |= _members(request, request.body, scene)
    except MalformedRequest:
        told["whole"] = False  # and so it was refused
    return told


def _members(request: Request, body: Body, scene: Scene) -> dict[str, Any]:
    def shown(key: str) -> Shown:
        value = body.get(key)
        return None if value is None else scene.shown(value.plain())

    found = list(_references(request, body, scene))
    images = request.match.door.reading == "images"
    others = sum(
        not tool.is_image
        for carrier in body.carriers
        if carrier.kind != "unknown"
        for tool in carrier.tools
    )
    return {
        "stream": _flag(body.get("stream")),
        "background": None if images else _flag(body.get("background")),
        "tool_choice": _choice(request, body),
        "other_tools": others,
        "max_tool_calls": None if images else shown("max_tool_calls"),
        "n": shown("n") if images else None,
        "references": tuple(found[:MAX_ENTRIES]),
        "references_count": len(found),
    }


def _flag(value: Value | None) -> bool | None:
    if value is None or value.kind != "boolean":
        return None
    return value.plain() is True


def _choice(request: Request, body: Body) -> str | None:
    """Tell of a choice that forces a tool, or forbids all; others say nothing."""
    root = "/definition" if request.match.door.reading == "agent" else ""
    pointer = f"{root}/tool_choice"
    if repair_choice(body, pointer, stripped=False, left=0).names_image:
        return "image_generation"
    choice = body.at(pointer)
    word = None if choice is None else choice.text()
    return word if word in {"required", "none"} else None


def _deployment(request: Request, scene: Scene) -> Shown:
    """Tell what names the image model besides the body: the path, or a header."""
    named = request.match.params.get("deployment")
    if named is None and request.match.family.provider == "azure":
        name = IMAGE_DEPLOYMENT_HEADER
        named = next((value for key, value in request.headers if key == name), None)
    return scene.shown(named)


def _references(
    request: Request, body: Body, scene: Scene
) -> Iterator[ReferenceRecord]:
    listed = scene.book.listed
    for _, stance, name in references(request, body):
        seen = bool(name) and name in request.seen
        stem = name.partition("@")[0]
        plain = seen or name in listed or stem in listed or _IDENT.fullmatch(name)
        yield ReferenceRecord(
            kind=stance.partition(".")[2],
            id=(ident(name) if plain else str(scene.shown(name))) if name else None,
            seen=seen,
        )
