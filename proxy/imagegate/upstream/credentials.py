"""With whose credential the provider is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from imagegate.upstream.client import Headers


class Credential(Protocol):
    """Says which header authenticates a request."""

    async def headers(self, client: Headers) -> Headers:
        """Return the headers to send, given what the client sent."""


class PassThrough:
    """The client's own credential goes on."""

    async def headers(self, client: Headers) -> Headers:
        """Return the client's credential headers."""
        names = (b"authorization", b"api-key")
        return [(key.lower(), value) for key, value in client if key.lower() in names]


class Injected(msgspec.Struct, frozen=True):
    """A key of the organisation's; the client's credential never goes on.

    Attributes:
        header: `authorization` or `api-key`.
        key: The key, kept out of every representation.
        file: Read at each request instead, so that a rotated key is used at once.
    """

    header: str
    key: str = ""
    file: Path | None = None

    def __repr__(self) -> str:
        """Name the header only."""
        return f"Injected(header={self.header!r})"

    async def headers(self, client: Headers) -> Headers:
        """Return the injected credential."""
        del client
        key = self.file.read_text("ascii").strip() if self.file else self.key
        value = f"Bearer {key}" if self.header == "authorization" else key
        return [(self.header.encode(), value.encode())]
