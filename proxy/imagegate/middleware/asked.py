"""What is asked, as far as the head of a request tells: which door, and how."""

from __future__ import annotations

import msgspec
from starlette.types import Scope

from imagegate.engine.surface import Lost, Match, find_door
from imagegate.middleware.headers import Head
from imagegate.middleware.paths import judged_path


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a request, read once.

    Attributes:
        scope: Of an HTTP request, or of one for a WebSocket, as it came.
        head: Its headers.
        path: As it is judged.
        door: What there is at that path.
        for_websocket: A WebSocket is asked for, by a scope of its own or in HTTP.
    """

    scope: Scope
    head: Head
    path: str
    door: Match | Lost
    for_websocket: bool


def asked_in(scope: Scope) -> Asked:
    """Read the head of a request."""
    head, path = Head(scope["headers"]), judged_path(scope)
    websocket = scope["type"] == "websocket" or _offers_websocket(head)
    door = find_door("WEBSOCKET" if websocket else scope["method"], path)
    return Asked(scope=scope, head=head, path=path, door=door, for_websocket=websocket)


def query_of(scope: Scope) -> str:
    """Return the query as it came; what may follow the path, some servers leave out."""
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")


def _offers_websocket(head: Head) -> bool:
    return "upgrade" in head and any(
        word.strip(" \t") == "websocket"
        for value in head.tokens("upgrade")
        for word in value.split(",")
    )
