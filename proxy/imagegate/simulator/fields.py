"""The kinds of values that a field takes, and how each of them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from imagegate.simulator.refusal import (
    invalid_type,
    invalid_value,
    out_of_range,
    unknown_parameter,
)


class Kind(Protocol):
    """Something that a value can be held against."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise the refusal that the provider would answer."""


class Words(msgspec.Struct, frozen=True):
    """One of a closed list."""

    words: tuple[str, ...]
    nullable: bool = False

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is one of the words."""
        if value is None and self.nullable:
            return
        if not isinstance(value, str):
            expected = f"one of {', '.join(map(repr, self.words))}"
            raise invalid_type(param, value, expected=expected)
        if value not in self.words:
            raise invalid_value(param, value, supported=self.words)


class Whole(msgspec.Struct, frozen=True):
    """An integer between two others."""

    minimum: int
    maximum: int

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is an integer in the range."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid_type(param, value, expected="an integer")
        if value > self.maximum:
            raise out_of_range(param, value, bound=self.maximum)
        if value < self.minimum:
            raise out_of_range(param, value, bound=self.minimum)


class Text(msgspec.Struct, frozen=True):
    """Any string."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is a string."""
        if not isinstance(value, str):
            raise invalid_type(param, value, expected="a string")


class Truth(msgspec.Struct, frozen=True):
    """True or false."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is a boolean."""
        if not isinstance(value, bool):
            raise invalid_type(param, value, expected="a boolean")


class Strings(msgspec.Struct, frozen=True):
    """An object of strings."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is an object that holds strings only."""
        if not isinstance(value, dict):
            raise invalid_type(param, value, expected="an object")
        for key, item in value.items():
            Text().check(item, f"{param}.{key}")


class Items(msgspec.Struct, frozen=True):
    """A string, or a list of objects."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise unless it is what a model can be given."""
        if not isinstance(value, str | list):
            expected = "one of a string or array of objects"
            raise invalid_type(param, value, expected=expected)
        for place, item in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(item, dict):
                raise invalid_type(f"{param}[{place}]", item, expected="an object")


class Anything(msgspec.Struct, frozen=True):
    """A value that nobody looks at."""

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Accept it."""


class Table(msgspec.Struct, frozen=True):
    """An object of which every key is known."""

    fields: Mapping[str, Kind]

    def check(self, value: Any, param: str) -> None:  # noqa: ANN401 - JSON
        """Raise at the first key that is unknown or holds what it must not."""
        if not isinstance(value, dict):
            raise invalid_type(param, value, expected="an object")
        for key, item in value.items():
            kind = self.fields.get(key)
            if kind is None:
                raise unknown_parameter(f"{param}.{key}")
            kind.check(item, f"{param}.{key}")
