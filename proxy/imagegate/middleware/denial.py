"""Answering in the provider's place: what this room itself refuses, and how."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.refusal import Refusal

NO_WEBSOCKET = MalformedRequest(
    "upgrade_required",
    "this is no WebSocket handshake of HTTP/1.1; use POST on the same path",
    status=426,
)
FAILED = MalformedRequest(
    "internal_error", "the gateway failed, so the request is not passed on", status=500
)
# These two are for the records: nobody is there to read them. 499 is nginx's.
CLIENT_LEFT = MalformedRequest(
    "client_left", "the client left before its request was whole", status=499
)
SHUTDOWN = MalformedRequest(
    "shutdown", "the server stopped before the request was whole", status=503
)

STOPPING = MalformedRequest(
    "shutting_down", "this server stops; connect anew and ask again", status=503
)

_UNTAKEN: Final = "imagegate.untaken"
"""By this extension our own server is known. It sees by itself whether something of a
request is left unread, as of a short one nothing is, and ends the connection then."""
_UNAUTHORIZED = 401
_UNAVAILABLE = 503
_SOON = (429, _UNAVAILABLE)
_POLICY_VIOLATION = 1008
_REST: Final = 1 << 20
_REST_SECONDS: Final = 1.0
"""How much is taken of a body that nobody wants, where others share its connection."""


def not_recorded(decision_id: str) -> Refusal:
    """Say that nothing goes on that cannot be written down first."""
    error: dict[str, Any] = {
        "message": "this cannot be recorded, so it is not passed on; try again later",
        "type": "server_error",
        "param": None,
        "code": "audit_unavailable",
        "decision_id": decision_id,
    }
    return Refusal(status=_UNAVAILABLE, error=error, decision_id=decision_id)


async def deny(
    refusal: Refusal, scope: Scope, receive: Receive, send: Send, *, whole: bool = True
) -> None:
    """Answer with a refusal.

    Args:
        refusal: The answer.
        scope: Of an HTTP request, or of one for a WebSocket.
        receive: The server's.
        send: The server's.
        whole: Nothing of the request is left unread. Of what is, some servers would
            read any amount before the next request.
    """
    headers = dict(refusal.headers)
    if refusal.status in _SOON and "retry-after" not in headers:
        headers |= {"x-should-retry": "true", "retry-after": "1"}
    if refusal.status == _UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="imagegate"'
    left = not whole and _UNTAKEN not in (scope.get("extensions") or {})
    if left and scope.get("http_version", "1.1").startswith("1"):
        headers["connection"] = "close"
    elif left and scope["type"] == "http":
        await _take_rest(receive)
    if scope["type"] == "http":
        await _answer("http.response", refusal, headers, send)
    elif (await receive())["type"] == "websocket.connect":
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await _answer("websocket.http.response", refusal, headers, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


async def _take_rest(receive: Receive) -> None:
    """Let what is on its way of a body come, within limits.

    In HTTP/2 it shares its connection. hypercorn ends that, and all that is under way
    on it, when data come for a request that is answered.
    """
    rest = _REST
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REST_SECONDS):
            while rest > 0:
                message = await receive()
                rest -= len(message.get("body", b"")) + 1
                if not message.get("more_body", False):
                    return


async def _answer(
    kind: str, refusal: Refusal, headers: dict[str, str], send: Send
) -> None:
    body = refusal.body
    headers["content-length"] = str(len(body))
    start: Message = {
        "type": f"{kind}.start",
        "status": refusal.status,
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    await send(start)
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
