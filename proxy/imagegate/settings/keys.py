"""The table of what can be set: each key with its names and its values.

It is drawn from the types, so that a room which gets another field gets another
key, another variable and another line in `--print-config` without a word here.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args, get_origin, get_type_hints

import msgspec

from imagegate.settings.model import Settings

PREFIX = "IMAGEGATE_"
OPTIONS: Mapping[str, str] = {
    "policy": "--policy",
    "candidate": "--candidate",
    "upstreams": "--upstream",
    "credential": "--credential",
    "listen.host": "--host",
    "listen.port": "--port",
    "listen.workers": "--workers",
    "listen.grace": "--grace",
    "listen.tls_certificate": "--tls-certificate",
    "listen.tls_key": "--tls-key",
    "listen.unauthenticated": "--unauthenticated",
    "identity.keys.file": "--keys",
    "pool.client": "--client",
    "audit.directory": "--audit",
    "audit.mode": "--audit-mode",
    "metrics.port": "--metrics-port",
}
"""The settings that have an option; the others are not for typing."""

SHORT: Mapping[str, str] = {
    "upstreams": "IMAGEGATE_UPSTREAM",
    "credential": "IMAGEGATE_CREDENTIAL",
}
"""Tables of a file that are one line in the environment and in options."""

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "identity.jwt.leeway_seconds": (0, 300),
    "listen.port": (0, 65_535),
    "listen.grace": (0, 86_400),
    "listen.workers": (1, 256),
    "metrics.port": (0, 65_535),
}
_DERIVED = ("limits.headers", "limits.head")
"""Where a guard stands in front, these are what `head` says."""

_MOST = 2**40
_WORDS = {"true": True, "1": True, "false": False, "0": False}
_LONG = 40


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be set.

    Attributes:
        path: As it stands in a file: `listen.port`.
        kind: The type of its value, without the None that stands for "not set".
        default: What holds when nothing is said; empty where something must be.
    """

    path: str
    kind: Any
    default: Any

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return PREFIX + self.path.replace(".", "_").upper()

    def read(self, value: object) -> Any:  # noqa: ANN401 - of the key's type
        """Read a value out of a file, or a text from elsewhere.

        Raises:
            ValueError: With what would be right.
        """
        found = self._read(value)
        if found is None:
            shown = repr(value) if len(repr(value)) < _LONG else "this"
            raise ValueError(f"expected {self.expected}, not {shown}")
        return found

    @property
    def expected(self) -> str:
        """What would be right, in words."""
        if self.kind is bool:
            return "true or false"
        if get_origin(self.kind) is tuple:
            return "a list of texts"
        if get_origin(self.kind) is Literal:
            return " or ".join(f"`{word}`" for word in get_args(self.kind))
        if self.kind in (int, float):
            low, high = self._bounds
            least = "more than 0" if self.kind is float else f"from {low:g}"
            most = f" to {high:g}" if high < _MOST else ""
            return f"a {'whole ' if self.kind is int else ''}number {least}{most}"
        return "a text"

    @property
    def _bounds(self) -> tuple[float, float]:
        return _BOUNDS.get(self.path, (1 if self.kind is int else 0, _MOST))

    def _read(self, value: object) -> Any:  # noqa: ANN401 - of the key's type
        if self.kind is bool:
            return value if isinstance(value, bool) else _WORDS.get(str(value))
        if self.kind in (int, float):
            return self._number(value)
        if get_origin(self.kind) is tuple:
            return _words(value)
        if not isinstance(value, str) or not value or not value.isprintable():
            return None
        if get_origin(self.kind) is Literal:
            return value if value in get_args(self.kind) else None
        return self.kind(value)

    def _number(self, value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        if self.kind is int and isinstance(value, float):
            return None
        try:
            number: float = self.kind(value)
        except ValueError:
            return None
        low, high = self._bounds
        fits = low <= number <= high and (self.kind is int or number > 0)
        return number if fits else None


def _words(value: object) -> tuple[str, ...] | None:
    """Read a list; in a variable, with spaces or commas between."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list):
        return None
    fine = all(isinstance(each, str) and each.isprintable() for each in words)
    return tuple(words) if fine and all(words) else None


@functools.cache
def keys() -> Mapping[str, Key]:
    """Return every key by its path, in the order in which they are shown."""
    return {key.path: key for key in _keys_of(Settings, "")}


def _keys_of(struct: type[msgspec.Struct], above: str) -> Iterator[Key]:
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        kind, path = hints[field.name], above + field.name
        if is_section(kind):
            yield from _keys_of(kind, f"{path}.")
        elif path != "upstreams" and path not in _DERIVED:
            default = "" if field.required else field.default
            yield Key(path=path, kind=_bare(kind), default=default)


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type
    """Take the None out of a type."""
    if get_origin(kind) is not types.UnionType:
        return kind
    return next(each for each in get_args(kind) if each is not types.NoneType)


def is_section(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    """Tell whether a type is a table of settings."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_path(kind: object) -> bool:
    """Tell whether values of a type are relative to where they are written."""
    return isinstance(kind, type) and issubclass(kind, Path)
