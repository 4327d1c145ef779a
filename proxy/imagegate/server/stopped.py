"""The last word to a client whose request is cancelled.

Only a server that ends does so, when it has waited as long as it may. uvicorn would
answer with some plain words of its own, and an SDK that reads them asks again: for an
image that may have been made, and is paid for.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_ERROR: Final = {
    "message": "this server stops, and has waited for the answer as long as it may; "
    "what was asked for may have been made",
    "type": "server_error",
    "param": None,
    "code": "shutting_down",
}
_BODY: Final = msgspec.json.encode({"error": _ERROR})
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"x-should-retry", b"false"),
)


async def say_stopped(cycle: RequestResponseCycle, send: Send) -> None:
    """Answer in the place of what was cancelled.

    Raises:
        asyncio.CancelledError: When an answer had begun: it must not end as if whole.
    """
    if cycle.response_started:
        raise asyncio.CancelledError
    start: Message = {"type": "http.response.start", "status": 503}
    await send({**start, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
