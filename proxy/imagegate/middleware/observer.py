"""What the exchange gets to see of an answer: its bytes, decoded if they are encoded.

The encoded bytes themselves go on as they came. What a coding hides, because it is
unknown, broken, or says more than an answer can, is not observed, and the completion
record says so.
"""

from __future__ import annotations

import asyncio
from typing import Final

from imagegate.engine.exchange import NOTHING, Exchange, Fed
from imagegate.middleware.encoding import CODINGS, BrokenCodingError, Decoding
from imagegate.middleware.headers import Head

_ALIASES: Final = {"x-gzip": "gzip"}


class Observer:
    """Shows an answer to its exchange; one use.

    Args:
        exchange: The exchange.
        limit: How many bytes of an encoded answer are decoded.

    Attributes:
        encoded: What is read and what is sent are different bytes.
    """

    def __init__(self, exchange: Exchange, limit: int) -> None:
        self._exchange = exchange
        self._limit = limit
        self.encoded = False
        self._decoding: Decoding | None = None
        self._decoded = 0

    def begin(self, status: int, head: Head) -> None:
        """Take the head of the answer."""
        said = ",".join(head.tokens("content-encoding"))
        coding = _ALIASES.get(said, said)
        known = coding in CODINGS
        self._exchange.response(
            status,
            ", ".join(head.get("content-type")),
            content_encoding="" if known else coding,
            request_id=head.request_id(),
        )
        if known and self._exchange.observing:
            self._decoding = Decoding(coding)
            self.encoded = True

    async def take(self, chunk: bytes, *, last: bool) -> Fed:
        """Take the next bytes; the cut of an encoded answer says nothing of where."""
        if self._decoding is None:
            return self._exchange.feed(chunk, last=last)
        found = await self._read(self._decoding, chunk)
        if last and found.cut is None:
            found = _joined(found, self._exchange.feed(b"", last=True))
        return found

    async def _read(self, decoding: Decoding, chunk: bytes) -> Fed:
        found = NOTHING
        try:
            for part in decoding.feed(chunk):
                self._count(part)
                found = _joined(found, self._exchange.feed(part))
                if found.cut is not None:
                    break
                if len(part) > len(chunk):
                    await asyncio.sleep(0)  # it may be a bomb
        except BrokenCodingError:
            self._exchange.blind()
            self._decoding = None
        return found

    def _count(self, part: bytes) -> None:
        self._decoded += len(part)
        if self._decoded > self._limit:
            raise BrokenCodingError


def _joined(one: Fed, other: Fed) -> Fed:
    """Join what followed from two pieces of one chunk."""
    return Fed(
        records=one.records + other.records,
        items=other.items or one.items,
        cut=other.cut,
        cancel=other.cancel or one.cancel,
    )
