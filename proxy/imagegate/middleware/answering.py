"""The provider's messages on a WebSocket: observed, recorded, then relayed."""

from __future__ import annotations

from typing import Final

from starlette.types import Message

from imagegate.audit import AuditUnavailableError
from imagegate.engine.connection import Heard
from imagegate.engine.exchange import Exchange
from imagegate.middleware.client_end import FULL, VIOLATED
from imagegate.middleware.denial import not_recorded
from imagegate.middleware.headers import Head
from imagegate.middleware.line import Unwanted
from imagegate.middleware.talk import Talk

_FORBIDDEN: Final = 403


class Answering:
    """The `send` of the inner application; one use.

    Args:
        talk: The WebSocket.
        exchange: The connection's own.

    Attributes:
        code: With which the application closed it.
    """

    def __init__(self, talk: Talk, exchange: Exchange) -> None:
        self.code: int | None = None
        self._talk = talk
        self._own = exchange

    async def __call__(self, message: Message) -> None:
        """Take one message of the application.

        Raises:
            Unwanted: When nobody wants more.
        """
        if self._talk.how is not None:
            raise Unwanted
        match message["type"]:
            case "websocket.send":
                await self._relay(message)
            case "websocket.accept" | "websocket.http.response.start":
                await self._say(self._headed(message))
            case "websocket.close":
                self.code = message.get("code", 1000)
                if not self._talk.client.accepted:
                    self._own.response(_FORBIDDEN, "")  # as servers answer it
                await self._say(message)
            case _:
                await self._say(message)

    def _headed(self, message: Message) -> Message:
        """Name the decision, by which a developer asks why."""
        headers = [*message.get("headers", ())]
        head = Head(headers)
        request_id = head.request_id()
        if "status" in message:
            kind = head.first("content-type") or ""
            self._own.response(message["status"], kind, request_id=request_id)
        else:
            self._own.opened(request_id)
        decision_id = self._talk.entries[self._own].journal.decision_id
        ours = (b"x-imagegate-decision", decision_id.encode())
        kept = [item for item in headers if item[0].lower() != ours[0]]
        return {**message, "headers": [*kept, ours]}

    async def _say(self, message: Message) -> None:
        try:
            await self._talk.client.say(message)
        except Unwanted:
            self._talk.stop("client_left", 1006)
            raise

    async def _relay(self, message: Message) -> None:
        """Observe a message, record what it says, and send it on."""
        heard = self._talk.connection.hear(_bytes_of(message))
        entry = self._talk.entries[heard.exchange]
        if entry.first_byte_ms is None:
            entry.first_byte_ms = entry.journal.elapsed()
        if entry.tally is not None:
            await entry.tally.began(heard.exchange.started)
        try:
            await entry.journal.write(heard.fed.records)
        except AuditUnavailableError:
            refusal = not_recorded(entry.journal.decision_id)
            entry.error_code = refusal.error["code"]
            await self._cut(FULL, refusal.message(heard.exchange.lane))
        items = heard.fed.items
        if entry.recall is not None and (entry.recall.listening or items):
            name = heard.exchange.response_id
            await entry.recall.take(name, items)
        await self._say(message)
        if heard.fed.cut is not None:
            await self._cut(VIOLATED, heard.fed.cut.error)
        await self._end(heard)

    async def _end(self, heard: Heard) -> None:
        for exchange in heard.over:
            await self._talk.close(exchange, "ended")

    async def _cut(self, code: int, error: bytes) -> None:
        """End the connection: no message ends a response alone."""
        try:
            await self._talk.client.close(code, error)
        finally:
            self._talk.stop("cut", code)
        raise Unwanted


def _bytes_of(message: Message) -> bytes:
    text: str | None = message.get("text")
    if text is None:
        return message.get("bytes") or b""
    return text.encode("utf-8", "replace")
