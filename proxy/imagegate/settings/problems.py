"""What can be wrong with the configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

import msgspec

Found = Iterator[tuple[str, str, str]]
"""Of each problem: its id, the path of the setting, and a sentence."""


class SettingsProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, and what would be right.

    Attributes:
        id: Stable, for tests and for searching: `unknown-setting`.
        path: Which setting: `listen.port`.
        origin: Where it was said: `gateway.toml:12`, `IMAGEGATE_LISTEN_PORT`,
            `--port`; empty where nobody said anything.
        message: One sentence. It quotes a value only where that cannot be a secret.
    """

    id: str
    path: str
    origin: str
    message: str


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to put behind a sentence, or nothing.

    The name of a setting without its section is the likeliest mistake.
    """
    candidates = list(known)
    bare = name.removeprefix("IMAGEGATE_")
    inner = [each for each in candidates if each.endswith((f".{bare}", f"_{bare}"))]
    near = inner or difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""
