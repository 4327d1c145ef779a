"""The client's end of a WebSocket: one message after another, until it is closed."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Message, Send

from imagegate.middleware.line import Unwanted

VIOLATED: Final = 1008
RESTART: Final = 1012
FULL: Final = 1013
"""Close codes: the policy; the server stops; try again later. For the last two SDKs
connect anew."""


class ClientEnd:
    """Sends to the client; one use.

    Attributes:
        accepted: The WebSocket is open, or was.
        over: Nothing more is sent.
    """

    def __init__(self, send: Send) -> None:
        self.accepted = False
        self.over = False
        self._send = send
        # Errors of ours go between two messages of the provider's.
        self._turn = asyncio.Lock()

    async def say(self, message: Message) -> None:
        """Send a message.

        Raises:
            Unwanted: When the client has left, or was cut off.
        """
        async with self._turn:
            if self.over:
                raise Unwanted
            kind = message["type"]
            self.accepted |= kind == "websocket.accept"
            denied = kind == "websocket.http.response.body"
            denied &= not message.get("more_body", False)
            self.over |= denied or kind == "websocket.close"
            try:
                await self._send(message)
            except OSError:
                self.over = True
                raise Unwanted from None

    async def say_text(self, text: bytes) -> None:
        """Send a message of our own."""
        await self.say({"type": "websocket.send", "text": text.decode()})

    async def close(self, code: int, *last: bytes) -> None:
        """Say some last words, and close."""
        for text in last:
            await self.say_text(text)
        await self.say({"type": "websocket.close", "code": code})
