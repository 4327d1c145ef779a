"""The application behind the policy: hands what was judged to the wrapped transport.

It is to the middleware what the forwarder is at the gateway, and relays each piece as
it comes. The transport's own exceptions go through as they are: the SDK knows them,
and retries after them as it always does.
"""

from __future__ import annotations

import httpx2
from starlette.types import Receive, Scope, Send

from imagegate.transport.crossing import EXTENSION, Crossing
from imagegate.upstream.outcome import note


async def forward(scope: Scope, receive: Receive, send: Send) -> None:
    """Send one request through the wrapped transport, and relay its answer."""
    crossing: Crossing = scope["extensions"][EXTENSION]
    body = await _body(receive)
    if body is None:
        return
    ours = crossing.went_on  # what the middleware asks behind the answer's end
    try:
        request = crossing.outgoing(scope, body)
        response = await crossing.hands.send(request, ours=ours)
        crossing.goes_on(response)
        await _relay(crossing, response, send, ours=ours)
    except crossing.toolkit.TimeoutException:
        note(scope, "timeout")
        raise


async def _relay(
    crossing: Crossing, response: httpx2.Response, send: Send, *, ours: bool
) -> None:
    """Send on each piece as it comes; while a piece is not taken, none is read."""
    try:
        headers = [(key.lower(), value) for key, value in response.headers.raw]
        start = {"status": response.status_code, "headers": headers}
        await send({"type": "http.response.start", **start})
        async for piece in crossing.hands.pieces(response, ours=ours):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await crossing.hands.close(response)


async def _body(receive: Receive) -> bytes | None:
    """Collect the body; None when the client left before its end.

    One that was judged is there in one piece. One that goes on unseen is held in
    memory too, as at the gateway.
    """
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)
