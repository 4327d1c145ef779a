"""Paths that belong to the application around which the middleware is put."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from imagegate.engine.surface import DOORS, FAMILIES, Lost, find_door

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

    def has(self, path: str, lost: Lost) -> bool:
        """Whether a path is one of these.

        One that leads to a door when it is read leniently, or with another method,
        is lost for another reason, and stays refused.
        """
        named = path in self._exact or path.startswith(self._below)
        return named and lost.code == "route_not_allowed"


def _leads_to_a_door(path: str) -> bool:
    here = path.removesuffix("*").rstrip("/") or "/"
    found = find_door("GET", here if here == path else f"{here}/x")
    if not isinstance(found, Lost) or found.code != "route_not_allowed":
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
