"""Stepping into a decoded tool: a path is a tuple of names, never a dotted text.

`{"svg.model": …}` and `{"svg": {"model": …}}` are two different things, and only
one of them is the setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]


def copy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an object as deep as paths can step."""
    return {
        name: copy(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def get(values: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401 - JSON
    """Return what stands at a path; None where nothing does."""
    here: Any = values
    for step in path:
        if not isinstance(here, Mapping):
            return None
        here = here.get(step)
    return here


def put(values: dict[str, Any], path: Path, value: object) -> None:
    """Put a value at a path, making the objects on the way."""
    *steps, last = path
    for step in steps:
        below = values.get(step)
        if not isinstance(below, dict):
            below = values[step] = {}
        values = below
    values[last] = value


def remove(values: dict[str, Any], path: Path) -> None:
    """Take away what stands at a path, if anything does."""
    *steps, last = path
    here: Any = values
    for step in steps:
        here = here.get(step) if isinstance(here, dict) else None
    if isinstance(here, dict):
        here.pop(last, None)
