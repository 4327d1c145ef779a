"""Windows so narrow that short texts have the ends of many.

What reads long bodies in pieces does the same with pieces of some bytes. So a text
of a few hundred bytes is cut at each of its places by some example or other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imagegate.engine import (
    conversation,
    fragment,
    hidden,
    opening,
    outline,
    reading,
    tools,
    walk,
)


@contextmanager
def narrow(near: int = 24) -> Iterator[None]:
    """Make all windows narrow for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (walk, outline, fragment):
            patch.setattr(module, "WINDOW", 128)
        for module in (opening, tools):
            patch.setattr(module, "SMALL", near)
        patch.setattr(walk, "NEAR", near)
        patch.setattr(walk, "_PIECE", 2 * near)
        patch.setattr(walk, "_CLEAN", 3 * near)
        patch.setattr(walk, "_PAUSE", 5 * near)
        patch.setattr(opening, "MAX_PASSES", 1_000)
        patch.setattr(conversation, "_SPAN", 3 * near)
        patch.setattr(reading, "_SHORT", 0)
        patch.setattr(reading, "_GLANCE", 0)
        patch.setattr(hidden, "_WINDOW", 2 * near)
        patch.setattr(hidden, "_PAUSE", 4 * near)
        yield


class Pairs(list[tuple[str, Any]]):
    """An object as all its members, duplicates too."""


def _refuse(word: str) -> None:
    raise ValueError(word)


_STRICT = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=_refuse)


def read_plainly(data: bytes) -> tuple[Any, int] | None:
    """Read the value that a text begins with, the slow and obvious way.

    Returns:
        The value, and where it ends; None when there is none.
    """
    try:
        value, end = _STRICT.raw_decode(data.decode())
        json.dumps(value, ensure_ascii=False).encode()  # no half of a character
    except ValueError:
        return None
    return value, len(data.decode()[:end].encode())


def count_plainly(value: Any) -> int:
    """Count opening brackets and commas the slow and obvious way."""
    if not isinstance(value, list):
        return 0
    inner = (entry[1] for entry in value) if isinstance(value, Pairs) else value
    commas = max(len(value) - 1, 0)
    return 1 + commas + sum(count_plainly(entry) for entry in inner)
