"""What is asked of an HTTP client, whichever it is, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

Headers = Sequence[tuple[bytes, bytes]]


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, ready to be written: nothing is added to it, nothing resolved."""

    method: str
    url: str
    headers: Headers
    body: bytes | None = None


class UpstreamAnswer(Protocol):
    """The head of an answer, and its body as it comes from the socket."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """The headers, as they were sent."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, undecoded, in the pieces in which it arrives."""

    async def close(self) -> None:
        """End the exchange; an unfinished answer ends the provider's work too."""


class Client(Protocol):
    """Sends requests. A request is never sent twice."""

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Send a request and return when the head of the answer is there."""

    async def close(self) -> None:
        """Close every connection."""


class UpstreamError(Exception):
    """No answer, or half of one.

    Attributes:
        code: Stable, for the answer and the record.
        status: What to answer instead.
        resendable: No byte of the request can have reached the provider.
    """

    def __init__(self, code: str, *, status: int, resendable: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.resendable = resendable
