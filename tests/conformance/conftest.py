"""The ways, each set up once, and what the first of them made of each request."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from ways import WAYS, Outcome, Way

Ways = Callable[[str], Way]
Reference = Callable[[str, Callable[[Way], Outcome]], Outcome]


@pytest.fixture(scope="session")
def ways() -> Iterator[Ways]:
    with contextlib.ExitStack() as stack:
        made: dict[str, Way] = {}

        def way(name: str) -> Way:
            if name not in made:
                made[name] = stack.enter_context(WAYS[name]())
            return made[name]

        yield way


@pytest.fixture(scope="session")
def reference(ways: Ways) -> Reference:
    """Return what the proxy makes of a request, which is asked once."""
    known: dict[str, Outcome] = {}

    def find(name: str, ask: Callable[[Way], Outcome]) -> Outcome:
        if name not in known:
            known[name] = ask(ways("proxy"))
        return known[name]

    return find
