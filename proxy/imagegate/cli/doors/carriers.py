"""A place that can carry the tool, and what becomes of it under a policy."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from imagegate.engine.surface import Door, Match, find_door, stance_of


class Carrier(msgspec.Struct, frozen=True, order=True):
    """A place that can hold a definition of the tool, or name it, or be one.

    Attributes:
        method: As on the wire; `WEBSOCKET` for a message of a connection.
        path: With a stand-in for each parameter.
        pointer: A JSON pointer, `*` for any index; empty for the body itself.
    """

    method: str
    path: str
    pointer: str


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a carrier.

    Attributes:
        fine: False for one that is open and not looked at.
    """

    method: str
    path: str
    pointer: str
    what: str
    fine: bool


def fate_of(carrier: Carrier, surface: Mapping[str, str]) -> Fate:
    """Say what becomes of a carrier under a policy's `surface`."""
    what, fine = _fate(carrier, surface)
    return Fate(**msgspec.structs.asdict(carrier), what=what, fine=fine)


def _fate(carrier: Carrier, surface: Mapping[str, str]) -> tuple[str, bool]:
    found = find_door(carrier.method, carrier.path)
    if not isinstance(found, Match):
        return "refused: no such route", True
    door, stance = found.door, stance_of(found.door, surface)
    if stance == "refuse":
        return f"refused at {door.name}", True
    if stance == "pass":
        return f"PASSES UNSEEN at {door.name}", bool(surface.get(door.group))
    if _judged(door, carrier.pointer):
        return f"enforced at {door.name}", True
    return f"NOT LOOKED AT by {door.name}", False


def _judged(door: Door, pointer: str) -> bool:
    """Tell whether a door looks at a place."""
    if not pointer:
        return door.reading == "images"
    if pointer.startswith("/tool_choice"):
        return door.reading == "responses"
    if pointer == "/definition/tool_choice":
        return door.reading == "agent"
    return pointer in {f"{place}/*" for place in door.places}
