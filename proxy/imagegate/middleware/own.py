"""Paths that belong to the application around which the middleware is put."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from imagegate.engine.surface import DOORS, FAMILIES, Lost, Match, find_door
from imagegate.middleware.asked import Asked
from imagegate.middleware.paths import readings

_PLAIN = re.compile(r"/|(/(?!\.\.?(/|\Z))[A-Za-z0-9._~:@-]+)+(/\*)?|/\*")
_REST = "/*"


class OwnPaths:
    """Paths named by the one who embeds: exact, or with all that is below."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Take the names.

        Raises:
            ValueError: When one is no plain path, or could lead to an image.
        """
        for path in paths:
            if not _PLAIN.fullmatch(path) or _leads_to_a_door(path):
                raise ValueError(f"expected a plain path and no door: {path!r}")
        self._exact = frozenset(path for path in paths if not path.endswith(_REST))
        self._below = tuple(path[:-1] for path in paths if path.endswith(_REST))

    def has(self, asked: Asked) -> bool:
        """Whether what is asked for is one of these, however its path is read.

        One that leads to a door when it is read leniently, or with another method,
        is lost for another reason, and stays refused; and so does one of which the
        application may read another path than is judged.
        """
        if not _is_lost(asked.door):
            return False
        path, scope = asked.path, asked.scope
        named = path in self._exact or path.startswith(self._below)
        method = "WEBSOCKET" if asked.for_websocket else scope["method"]
        return named and all(
            _is_lost(find_door(method, each)) for each in readings(scope)
        )


def _is_lost(found: Match | Lost) -> bool:
    return isinstance(found, Lost) and found.code == "route_not_allowed"


def _leads_to_a_door(path: str) -> bool:
    here = path.removesuffix("*").rstrip("/") or "/"
    if not _is_lost(find_door("GET", here if here == path else f"{here}/x")):
        return True
    steps = [step for step in path.casefold().split("/")[1:] if step != "*"]
    routes = (
        (FAMILIES[name].base + door.route).split("/")[1:]
        for door in DOORS
        for name in door.families
    )
    return path.endswith(_REST) and any(
        all(
            step is None or step in {there, "*"} or there[:1] in {"{", "*"}
            for step, there in itertools.zip_longest(steps, route[: len(steps)])
        )
        for route in routes
    )
