"""Cancelling what the provider goes on with in the background.

The answer that said so is judged and over; this is a request of our own, through
the same application. What becomes of it is for the program's log, and never for
the client.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Scope

from imagegate import log
from imagegate.engine.surface import Lost, find_door
from imagegate.middleware.headers import Head, describing
from imagegate.middleware.paths import judged_path

_SECONDS: Final = 30.0
_ERROR: Final = 400
_CANCELLED: Final = "imagegate.background_cancelled"
_FAILED: Final = "imagegate.background_not_cancelled"


async def cancel_response(
    app: ASGIApp, scope: Scope, response_id: str, decision_id: str
) -> None:
    """Ask for a background response to be cancelled.

    Args:
        app: The application that forwarded the request.
        scope: What it was given for that. The query goes along: Azure's version is
            in it.
        response_id: As the provider named it.
        decision_id: For the log.
    """
    step = f"/{response_id}/cancel"
    if isinstance(find_door("POST", judged_path(scope) + step), Lost):
        log.error(_FAILED, decision_id=decision_id, reason="no such door")
        return
    raw = scope.get("raw_path")
    told = {
        **scope,
        "path": scope["path"] + step,
        "raw_path": raw and raw + step.encode(),
        "headers": describing(Head(scope["headers"]), 0, {}),
    }
    try:
        async with asyncio.timeout(_SECONDS):
            status = await _status(app, told)
    except Exception as error:  # noqa: BLE001 - whatever it was, the answer is over
        log.error(_FAILED, decision_id=decision_id, **log.place_of(error))
        return
    if status is None or status >= _ERROR:
        log.error(_FAILED, decision_id=decision_id, status=status)
    else:
        log.info(_CANCELLED, decision_id=decision_id, status=status)


async def _status(app: ASGIApp, scope: Scope) -> int | None:
    """Make a request without a body, and return the status of its answer."""
    status: int | None = None
    body: Message | None = {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> Message:
        nonlocal body
        given, body = body, None
        if given is None:
            await asyncio.Event().wait()  # this client does not leave
        return given or {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(scope, receive, send)
    return status
