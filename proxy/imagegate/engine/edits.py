"""Changes to a document, by the places in it, and the pieces it is written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

Piece: TypeAlias = bytes | memoryview | Raw

# From here on, sending a view is cheaper than copying.
_LARGE: Final = 1 << 16
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_.$ -]*")


class Delete(Enum):
    """The edit that removes a member or an element."""

    DELETE = "delete"


DELETE: Final = Delete.DELETE
# Where (a pointer into the body as it came), and the new JSON or `DELETE`.
Edit: TypeAlias = tuple[str, bytes | Delete]


class Changes:
    """The edits below one place, by the next token of their pointers."""

    __slots__ = ("below", "here")

    def __init__(self) -> None:
        self.here: bytes | Delete | None = None
        self.below: dict[str, Changes] = {}

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> Changes:
        """Gather edits.

        Of two at one place the later counts; of an edit at a place and one below
        it, the upper.
        """
        root = cls()
        for pointer, value in edits:
            node = root
            for token in split(pointer):
                below = node.below.get(token)
                if below is None:
                    below = node.below[token] = cls()
                node = below
            node.here = value
        return root

    def created(self) -> bytes | None:
        """The object that the edits make where there was none, if they make any."""
        if self.here is not None:
            return None if self.here is DELETE else self.here
        made = ((key, changes.created()) for key, changes in self.below.items())
        members = [spell_key(key) + value for key, value in made if value is not None]
        return b"{%b}" % b"".join(members)[1:] if members else None


class Pieces:
    """A body in the pieces in which it is sent.

    It is no iterable: its length is that of the body, and `list` would believe it.

    Attributes:
        parts: Their join is the body; large members are views of what came in.
    """

    __slots__ = ("parts",)

    def __init__(self, out: Sequence[Piece]) -> None:
        parts: list[bytes | memoryview] = []
        start = 0
        if sum(map(len, out)) >= _LARGE:
            for index, piece in enumerate(out):
                if len(piece) >= _LARGE:
                    parts += (b"".join(out[start:index]), memoryview(piece))
                    start = index + 1
        parts.append(b"".join(out[start:]))
        self.parts: Sequence[bytes | memoryview] = tuple(filter(len, parts))

    def __len__(self) -> int:
        """How many bytes the body has, for `Content-Length`."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


@lru_cache(1_000)
def spell_key(key: str) -> bytes:
    """Write a comma, a member's name and its colon."""
    if _BARE_KEY.fullmatch(key):
        return b',"%b":' % key.encode()
    return b",%b:" % msgspec.json.encode(key)


def split(pointer: str) -> list[str]:
    """Take a JSON pointer apart into its tokens."""
    tokens = pointer.split("/")[1:]
    if "~" not in pointer:
        return tokens
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]
