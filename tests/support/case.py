"""One thing to try: what is sent, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any


@dataclass(kw_only=True)
class Case:
    """What is sent on one connection, and how it came about.

    `whole` says that the framing is beyond doubt: exactly one answer must come.
    `requests` is how many requests a reader may see at most. `expect` says what is
    wrong with what arrived, for requests that are allowed.
    """

    kind: str
    wire: bytes
    whole: bool = True
    requests: int = 1
    method: str = "POST"
    story: list[str] = field(default_factory=list)
    expect: Callable[[bytes], str | None] | None = None

    def __str__(self) -> str:
        return f"{self.kind} [{', '.join(self.story)}]\n{self.wire[:3_000]!r}"


@dataclass(kw_only=True)
class Draft:
    """A request before it is put into bytes.

    `plain` says that its head and its framing are to be ordinary: what is odd about
    it is elsewhere, and shall not be refused for something else.
    """

    random: Random
    method: str = "POST"
    path: str = "/v1/responses"
    query: str = ""
    body: object = ""
    text: str = ""
    data: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    plain: bool = False

    def maybe(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, choices: list[Any], what: str) -> Any:
        chosen = self.random.choice(choices)
        name = getattr(chosen, "__name__", None) or repr(chosen)[:40]
        self.story.append(f"{what} {name.strip('_')}")
        return chosen
