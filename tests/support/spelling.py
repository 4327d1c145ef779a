"""JSON written as nobody would write it: one value in any of its spellings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random


class Text(str):
    """JSON text that is put in as it stands: a number, or something that is none."""

    __slots__ = ()


class Pairs(list[tuple[str, object]]):
    """An object in its order, keys as often as they come."""


@dataclass(kw_only=True)
class Pen:
    """Writes JSON; `mess` is how often a token is spelled in an unusual way."""

    random: Random
    mess: float = 0.0
    ascii_only: bool = field(default=False)

    def write(self, value: object) -> str:
        match value:
            case Text():
                return str(value)
            case str():
                return self.string(value)
            case Pairs():
                members = [
                    f"{self.string(key)}{self._gap()}:{self._gap()}{self.write(each)}"
                    for key, each in value
                ]
                return self._listed("{", members, "}")
            case dict():
                return self.write(Pairs(value.items()))
            case list():
                return self._listed("[", [self.write(each) for each in value], "]")
            case _:
                return json.dumps(value)

    def string(self, value: str) -> str:
        return f'"{"".join(map(self._character, value))}"'

    def _listed(self, begin: str, members: list[str], end: str) -> str:
        comma = f"{self._gap()},"
        parts = comma.join(f"{self._gap()}{each}" for each in members)
        return f"{begin}{parts}{self._gap()}{end}"

    def _gap(self) -> str:
        if self.random.random() >= self.mess:
            return ""
        return self.random.choice([" ", "\t", "\n", "\r\n", "  ", " \n "])

    def _character(self, character: str) -> str:
        plain = character >= " " and character not in '"\\'
        if plain and self.random.random() >= self.mess / 4:
            return character
        if character == "/" and plain:
            return "\\/"
        units = character.encode("utf-16-be", "surrogatepass")
        style = self.random.choice(["\\u%02x%02x", "\\u%02X%02X"])
        return "".join(
            style % (units[at], units[at + 1]) for at in range(0, len(units), 2)
        )
