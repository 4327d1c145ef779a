"""What two policies make of one request, place by place."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from imagegate.engine.catalogue import Provider
from imagegate.engine.decision import Block, Change, Forward, Rewrite, Violation
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import SETTINGS
from imagegate.engine.sizes import parse_size, within
from imagegate.engine.surface import Lost
from imagegate.policycases.question import Answer

Way: TypeAlias = Literal["looser", "tighter", "different"]
Leaves: TypeAlias = Mapping[str, Any]

GONE = "left out"
"""What is told of a setting that does not go on."""
PASSES = "goes on"
REFUSED = "refused"
_TOOL = "the tool"
_DOOR = "surface."
_TEXT = ("model", "input")
"""Members of a request that no policy changes; the model is that of the text."""
_COUNTS = ("max_tool_calls", "tools", "n")
_ENDLESS = {"max_tool_calls": sys.maxsize}
"""What a limit that is left out comes to."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a request of which two policies make something else.

    Attributes:
        way: Whether the newer one lets more pass, or less, or something else.
        place: The setting, or what else it is.
        asked: What was asked for there; None where nothing was said.
        before: What the older policy makes of it.
        now: What the newer one makes of it.
    """

    way: Way
    place: str
    asked: Any
    before: str | int
    now: str | int


Told: TypeAlias = tuple[Difference, tuple[str, ...]]
"""A difference, and the rules of both policies that speak of it."""


def differences(
    asked: Mapping[str, Any], old: Answer, new: Answer, meant: Leaves = _ENDLESS
) -> Iterator[Told]:
    """Say in which places two answers to one request differ.

    Two refusals are the same, whatever they say.

    Args:
        asked: The body, and what is asked by headers and the query.
        old: What the older policy makes of it.
        new: What the newer one makes of it.
        meant: What settings come to that are left out.
    """
    if new.sent is None:
        yield from () if old.sent is None else _refusals(asked, new, "tighter")
    elif old.sent is None:
        yield from _refusals(asked, old, "looser")
    else:
        yield from _changes(asked, old, new, meant)


def _refusals(asked: Mapping[str, Any], answer: Answer, way: Way) -> Iterator[Told]:
    """Tell what only one of two policies refuses, by its own words.

    That a door is closed is told once, and not of every request.
    """
    before, now = (PASSES, REFUSED) if way == "tighter" else (REFUSED, PASSES)
    leaves = _leaves(asked)
    for place, rule in dict.fromkeys(_refused(answer)):
        if rule.startswith(_DOOR):
            continue
        said = leaves.get(place)
        yield _difference(way, place, said, before, now), (rule,)


def _refused(answer: Answer) -> Iterator[tuple[str, str]]:
    match answer.outcome:
        case Block(violations=violations):
            yield from ((_named(each), each.by.rule) for each in violations)
        case MalformedRequest(code=code) | Lost(code=code):
            yield "the request", code


def meant_by(provider: Provider) -> Leaves:
    """Say what settings come to at a provider that are left out, as far as known."""
    fields = provider.fields.items()
    known = {name: field.default for name, field in fields if name in SETTINGS}
    return _ENDLESS | {
        name: value for name, value in known.items() if isinstance(value, str | int)
    }


def _changes(
    asked: Mapping[str, Any], old: Answer, new: Answer, meant: Leaves
) -> Iterator[Told]:
    was, holds, said = _sent(old), _sent(new), _leaves(asked)
    rules = [_rules(answer) for answer in (old, new)]
    if (_TOOL in was) != (_TOOL in holds):
        spoke = tuple(each["type"] for each in rules if "type" in each)
        taken = _TOOL in was
        before, now = (PASSES, GONE) if taken else (GONE, PASSES)
        yield (
            _difference("tighter" if taken else "looser", _TOOL, None, before, now),
            spoke,
        )
        return
    for place in dict.fromkeys((*was, *holds)):
        before, now = was.get(place, GONE), holds.get(place, GONE)
        if before != now:
            way = _way(place, said.get(place), before, now, meant)
            spoke = tuple(each[place] for each in rules if place in each)
            yield _difference(way, place, said.get(place), before, now), spoke


def _difference(
    way: Way, place: str, asked: object, before: str | int, now: str | int
) -> Difference:
    return Difference(way=way, place=place, asked=asked, before=before, now=now)


def _named(item: Change | Violation) -> str:
    """Name the place of a change or refusal as its own words do."""
    return item.field or "the route"


def _rules(answer: Answer) -> dict[str, str]:
    outcome = answer.outcome
    changes = outcome.changes if isinstance(outcome, Rewrite) else ()
    return {_named(change): change.by.rule for change in changes}


def _sent(answer: Answer) -> dict[str, Any]:
    """Read what goes on as anybody would, and the headers that were set."""
    outcome = answer.outcome
    headers = outcome.headers if isinstance(outcome, Rewrite) else {}
    named = {name: value or GONE for name, value in headers.items()}
    if isinstance(outcome, Forward) and not outcome.inspected:
        named["the route"] = "unseen"
    return _leaves(json.loads(answer.sent or b"{}")) | named


def _leaves(body: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a request flat: the settings of its first tool, and what is around it."""
    flat: dict[str, Any] = {}
    rest = {key: value for key, value in body.items() if key not in _TEXT}
    tools = rest.pop("tools", None) or _brought_in(body.get("input"))
    if tools:
        flat |= {_TOOL: PASSES, "tools": len(tools)}
        rest = tools[0] | rest
    elif "input" not in body and "model" in body:
        rest["model"] = body["model"]  # of the Images API it is the image's
    _lay(flat, "", rest)
    return flat


def _brought_in(items: object) -> list[Any]:
    """Return the tools that an item of the input brings in."""
    found = [item.get("tools") for item in items] if isinstance(items, list) else []
    return next(filter(None, found), [])


def _lay(flat: dict[str, Any], above: str, members: Mapping[str, Any]) -> None:
    for name, value in members.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and path.partition(".")[0] == "svg":
            _lay(flat, f"{path}.", value)
        else:
            plain = isinstance(value, str | int)
            flat[path] = value if plain else json.dumps(value, separators=(",", ":"))


def _way(place: str, asked: object, before: object, now: object, meant: Leaves) -> Way:
    """Tell which of two values lets more pass."""
    was, holds = (meant.get(place) if x == GONE else x for x in (before, now))
    one, other = _height(place, was), _height(place, holds)
    if one is not None and other is not None and one != other:
        return "looser" if other > one else "tighter"
    if place == "size" and (way := _larger(was, holds)):
        return way
    if asked is not None and asked in (before, now):  # one of them takes it as it is
        return "looser" if asked == now else "tighter"
    return "different"


def _larger(before: object, now: object) -> Way | None:
    """Tell which of two sizes the other is within, if one is."""
    was, holds = parse_size(str(before)), parse_size(str(now))
    if was is None or holds is None or within(was, holds) == within(holds, was):
        return None
    return "tighter" if within(holds, was) else "looser"


def _height(place: str, value: object) -> float | None:
    """Say how much a value lets pass; the strictest word of moderation is its last.

    What leaves the choice to the provider is above all that can be chosen.
    """
    setting = SETTINGS.get(place)
    if isinstance(value, int):
        return value if setting is not None or place in _COUNTS else None
    if setting is None or setting.kind == "word":
        return None
    if value == "auto" and setting.auto:
        return math.inf
    if setting.kind == "size":
        return 0 if parse_size(str(value)) else None
    if value not in setting.order:
        return None
    here = setting.order.index(str(value))
    return -here if place == "moderation" else here
