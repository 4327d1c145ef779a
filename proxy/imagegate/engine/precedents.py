"""What was decided about the same before; an application asks the same all day long.

A decision on an ordinary request depends on little of it: the door, the rules, its
image tools, and a few short members. All of that is the *case*, byte for byte. What
somebody says to the model is no part of it, and neither are credentials or
identities: those never speak in a decision, so they are not kept here either.

A request that refers to something, has tools in strange places, or is counted by a
quota is no ordinary one; it is decided anew.
"""

from __future__ import annotations

import re
from typing import Final, Generic, TypeAlias, TypeVar

from imagegate.engine.body import Body
from imagegate.engine.familiar import MAX_CASE
from imagegate.engine.interface import choosing
from imagegate.engine.quota import NOWHERE
from imagegate.engine.request import Request
from imagegate.engine.rulebook import Page
from imagegate.engine.state import REFERRING, refers

MAX_PRECEDENTS: Final = 512
"""How many are remembered."""

MAX_ITEMS: Final = 1_000
"""Items that are looked at; what has more of them takes longer to read anyway."""

_SCALARS: Final = frozenset({"background", "max_tool_calls", "model", "stream", "type"})
_LOOKED_AT: Final = (*sorted(_SCALARS), "tool_choice")
"""All that is looked at besides tools and references."""
_PLAIN_QUERY: Final = re.compile(r"api-version=[\w.-]{1,40}")
"""A query that chooses no more than a version; any other may hold a credential."""

Case: TypeAlias = tuple[object, ...]
_T = TypeVar("_T")


class Precedents(Generic[_T]):
    """What was found in each case."""

    def __init__(self) -> None:
        self._found: dict[Case, _T] = {}

    def get(self, case: Case | None) -> _T | None:
        """Return what was found in the same case, if it came before."""
        return None if case is None else self._found.get(case)

    def keep(self, case: Case | None, found: _T) -> None:
        """Remember what was found."""
        if case is None:
            return
        if len(self._found) >= MAX_PRECEDENTS:
            self._found.clear()
        self._found[case] = found


def case_of(page: Page, request: Request) -> Case | None:
    """Return all that a decision can depend on; None where that is not short.

    Args:
        page: The rules that hold.
        request: The request.
    """
    match, body, query = request.match, request.body, request.query
    if body is None or match.door.reading != "responses" or request.is_message:
        return None
    counted = request.standing is not NOWHERE
    if counted or match.params or (query and not _PLAIN_QUERY.fullmatch(query)):
        return None
    members, tools = _members(body), body.case
    if members is None or tools is None:
        return None
    headers = choosing(request.headers)
    size = sum(map(len, members)) + sum(map(len, tools))
    if size + sum([len(value) for _, value in headers]) > MAX_CASE:
        return None
    door, family = match.door.name, match.family.name
    return page, door, family, query, headers, members, tools


def _members(body: Body) -> tuple[bytes, ...] | None:
    """Spell the members that count; None where others may count as well.

    A member that nothing could be in stays as it came, whether it is looked at or
    not. Of the others the choice of a tool alone has been taken apart by now.
    """
    if not REFERRING.isdisjoint(body.names):
        return None
    if len(body.items) > MAX_ITEMS or any(map(refers, body.items)):
        return None
    return body.spelled(_LOOKED_AT) if _SCALARS.isdisjoint(body.inner) else None
