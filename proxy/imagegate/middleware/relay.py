"""The answer on its way back: observed, recorded, and only then relayed.

A piece goes on as it came, one for one: never held back, joined or split. Where an
answer has to end before its own end, a stream in plain text ends with an error event
of the API, at the boundary of an event. Everything else that has to end early is
broken off, for which ASGI has one way, an exception that reaches the server: a JSON
text, a stream whose last event is half sent, and an encoded stream, of which no
valid end can be written without the encoder's state.
"""

from __future__ import annotations

import math
import re
from typing import Final, NoReturn

from starlette.types import Message, Send

from imagegate import log
from imagegate.audit import AuditUnavailableError
from imagegate.engine.exchange import NOTHING, Exchange, Fed
from imagegate.middleware.denial import not_recorded
from imagegate.middleware.headers import Head
from imagegate.middleware.journal import Journal
from imagegate.middleware.line import Line, Unwanted
from imagegate.middleware.observer import Observer
from imagegate.middleware.recall import Recall
from imagegate.middleware.tally import Tally

_PAST_THE_OBSERVER: Final = ("http.response.pathsend", "http.response.zerocopysend")
"""Messages by which the server sends bytes that were never here."""
_MADE: Final = range(200, 300)
"""Statuses of an answer that tells what was made; no other is believed in that."""
_SSE: Final = "text/event-stream"
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)\Z")
_TAIL: Final = 4  # bytes that such an end may have


class BrokenOff(log.Told):
    """Reaches the server, which then ends the connection: the answer is incomplete."""


class Relay:
    """The `send` of the inner application; one use.

    Args:
        exchange: The exchange.
        journal: Its records.
        line: The client's end.
        send: The server's.
        recall: What the answer is remembered by.
        tally: What it uses up.
        limit: How many bytes of an encoded answer are decoded.

    Attributes:
        complete: All of the answer was sent, or all that will be.
        cut: It was ended here, before its own end.
        broken: The server has to break the connection off.
        error_code: Why it was cut, if it was not for what it says.
        cancel: A background response to be cancelled.
        bytes_out: What was sent of the body.
        first_byte_ms: When the first piece of the body came.
    """

    def __init__(  # noqa: PLR0913 - what an answer passes on its way
        self,
        exchange: Exchange,
        journal: Journal,
        line: Line,
        send: Send,
        recall: Recall | None = None,
        *,
        tally: Tally | None = None,
        limit: int,
    ) -> None:
        self.complete = False
        self.cut = False
        self.broken = False
        self.error_code: str | None = None
        self.cancel: str | None = None
        self.bytes_out = 0
        self.first_byte_ms: float | None = None
        self._exchange = exchange
        self._journal = journal
        self._line = line
        self._send = send
        self._recall = recall
        self._tally = tally
        self._observer = Observer(exchange, limit)
        self._begun = False
        self._streams = False
        self._reading = False  # what the answer is remembered by wants all of it
        self._length = math.inf
        self._tail = b""

    async def __call__(self, message: Message) -> None:
        """Take one message of the application.

        Raises:
            Unwanted: When nobody wants more.
        """
        line = self._line
        if line.left or self.cut:
            raise Unwanted
        line.telling += 1
        try:
            kind = message["type"]
            if kind == "http.response.body":
                await self._body(message)
            elif kind == "http.response.start":
                await self._sent(self._started(message))
            elif kind in _PAST_THE_OBSERVER:
                raise RuntimeError(f"{kind!r} was not offered")
            else:
                await self._sent(message)
        finally:
            line.telling -= 1
        if line.left or self.cut:  # type: ignore[redundant-expr] # it may be by now
            raise Unwanted

    async def _sent(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._lost()

    def _lost(self) -> NoReturn:
        """Take what newer servers raise when the client has left."""
        self._line.answered = False
        self._line.client_left()
        raise Unwanted from None

    # -- pieces -----------------------------------------------------------------

    def _started(self, message: Message) -> Message:
        if self._begun:
            raise RuntimeError("the answer has begun already")
        self._begun = True
        self._line.gone()
        headers: list[tuple[bytes, bytes]] = [*message.get("headers", ())]
        head = Head(headers)
        self._observer.begin(message["status"], head)
        kind = (head.first("content-type") or "").lower()
        self._streams = self._exchange.observing and kind.startswith(_SSE)
        if self._recall is not None:
            self._recall.listening &= message["status"] in _MADE
            self._reading = self._recall.reading
        self._length = _length_of(head)
        ours = {b"x-imagegate-decision"}
        if self._streams:
            # It may end early, and then its length would be a lie.
            ours.add(b"content-length")
        kept = [item for item in headers if item[0].lower() not in ours]
        said = (b"x-imagegate-decision", self._journal.decision_id.encode())
        return {**message, "headers": [*kept, said]}

    async def _body(self, message: Message) -> None:
        """Observe a piece, record what it says, and relay it."""
        data = bytes(message.get("body", b""))  # it is copied if it is a view
        size, over = self.bytes_out + len(data), not message.get("more_body", False)
        if self.first_byte_ms is None and data:
            self.first_byte_ms = self._journal.elapsed()
        # Whether the client has a whole answer behind this piece.
        last = over or size >= self._length
        if self._observer.encoded:
            fed = await self._observer.take(data, last=last)
        else:  # almost always, and a piece costs little more than its calls
            fed = self._exchange.feed(data, last=last)
        if self._reading and self._recall is not None:
            await self._recall.read(data, last=last)
        if fed is not NOTHING and not await self._followed(fed):
            return
        if self._line.left:
            return
        # Before, for behind it servers say that the client is gone.
        self._line.answered = over
        try:
            await self._send(message)
        except OSError:
            self._lost()
        self.bytes_out, self.complete = size, over
        if self._streams:
            self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]

    async def _followed(self, fed: Fed) -> bool:
        """Do what follows from a piece; tell whether it goes on."""
        if fed.cancel is not None:
            self.cancel = fed.cancel
        if self._recall is not None and (self._recall.listening or fed.items):
            await self._recall.take(self._exchange.response_id, fed.items)
        if self._tally is not None:
            await self._tally.began(self._exchange.started)
        if fed.records and not await self._recorded(fed):
            return False
        if fed.cut is not None:
            await self._cut(fed.cut.relay + fed.cut.error if self._writable else None)
        return not self.cut

    async def _recorded(self, fed: Fed) -> bool:
        """Write records down; end the answer if that cannot be done."""
        try:
            await self._journal.write(fed.records)
        except AuditUnavailableError:
            refusal = not_recorded(self._journal.decision_id)
            self.error_code = refusal.error["code"]
            await self._cut(refusal.sse if self._is_between() else None)
            return False
        return True

    @property
    def _writable(self) -> bool:
        """Whether this is a stream in plain text, in which we can write too."""
        return self._streams and not self._observer.encoded

    def _is_between(self) -> bool:
        """Whether an event of ours can follow right here, behind another's end."""
        between = not self._tail or _BLANK_LINE.search(self._tail) is not None
        return between and self._writable

    async def _cut(self, last: bytes | None) -> None:
        """End the answer here, with some last bytes or by breaking it off."""
        self.cut, self.broken = True, last is None
        try:
            if last is not None:
                await self._sent({"type": "http.response.body", "body": last})
                self.bytes_out += len(last)
                self.complete = True
        finally:
            self._line.hang_up()


def _length_of(head: Head) -> float:
    """Return what the answer says of its length; infinite where it does not."""
    said = head.first("content-length")
    return int(said) if said and said.isascii() and said.isdecimal() else math.inf
