"""What is asked of an HTTP client, whichever it is, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, Self, TypeAlias
from urllib.parse import SplitResult

import msgspec

Headers = Sequence[tuple[bytes, bytes]]
Body: TypeAlias = bytes | Sequence[bytes | memoryview]
"""A body in one piece, or in several that are sent one after the other.

A view is one of bytes, whose length is their number; what is big is sent from where
it lies.
"""
PORTS: Final = {"http": 80, "https": 443}
"""Where a provider is found by each scheme, unless it is said."""


class Origin(msgspec.Struct, frozen=True):
    """Where a provider is: known from configuration before any request.

    Attributes:
        scheme: `http` or `https`.
        host: A name or an address, an IPv6 address without brackets.
        port: The port.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, parts: SplitResult) -> Self:
        """Return whose address this is, of a scheme that is known here."""
        port = parts.port or PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname or "", port)

    @property
    def authority(self) -> bytes:
        """Spell the origin as `Host` does."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == PORTS[self.scheme]
        return (host if usual else f"{host}:{self.port}").encode("ascii")


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, ready to be written: nothing is added to it, nothing resolved.

    Attributes:
        method: The method.
        origin: Whom to connect to.
        target: Path and query, for the request line; never read as an address.
        headers: All of them, framing and `host` included, the names in lower case.
        body: The body.
    """

    method: str
    origin: Origin
    target: bytes
    headers: Headers
    body: Body = b""

    @property
    def pieces(self) -> Sequence[bytes | memoryview]:
        """The body as pieces, none of them empty."""
        if isinstance(self.body, bytes):
            return (self.body,) if self.body else ()
        return [piece for piece in self.body if piece]


class UpstreamAnswer(Protocol):
    """The head of an answer, and its body as it comes from the socket."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """The headers, as they were sent."""

    @property
    def ended(self) -> bool:
        """Whether it is known by now that `read` gives nothing more: it ended well."""

    async def read(self) -> bytes:
        """Return the next piece of the body as it has come, undecoded.

        Empty at the end of the body alone: one cut short raises `UpstreamError`.
        """

    async def close(self) -> None:
        """End the exchange; an unfinished answer ends the provider's work too.

        Waits for nothing, so that no cancellation can come in between.
        """


class Client(Protocol):
    """Sends requests. A request is never sent twice."""

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Send a request and return when the head of the answer is there.

        Cancelled at any time, it leaves no connection and no slot behind.
        """

    async def close(self) -> None:
        """Close every connection."""


class UpstreamError(Exception):
    """No answer, or half of one.

    Attributes:
        code: Stable, for the answer and the record.
        status: What to answer instead.
        resendable: No byte of the request can have reached the provider.
        cause: What was found, for the log; no word of a request or of an answer.
    """

    def __init__(
        self, code: str, *, status: int, resendable: bool = False, cause: str = ""
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.resendable = resendable
        self.cause = cause
