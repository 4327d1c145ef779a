"""The transports for clients that are still on httpx; the extra `imagegate[httpx]`.

The OpenAI SDK takes an httpx client too, and other SDKs have no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack, cast

import httpx

from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.gates import Gates
from imagegate.transport.asynchronous import Asynchronous, AsyncPieces
from imagegate.transport.governing import Governing, Options
from imagegate.transport.synchronous import Synchronous, SyncPieces
from imagegate.transport.toolkit import Toolkit

if TYPE_CHECKING:
    import httpx2

__all__ = ["AsyncPolicyTransport", "PolicyTransport"]

_LIBRARY: Final = cast("Toolkit", httpx)


class _Pieces(SyncPieces, httpx.SyncByteStream):
    """The body of an answer."""


class _AsyncPieces(AsyncPieces, httpx.AsyncByteStream):
    """The body of an answer."""


class PolicyTransport(httpx.BaseTransport):
    """Holds the requests of an `httpx.Client` against a policy."""

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Wrap a transport, as `imagegate.transport.PolicyTransport` does."""
        governing = Governing(policy, audit, **options)
        wrapped = cast("httpx2.BaseTransport", transport or httpx.HTTPTransport())
        self._core = Synchronous(wrapped, governing, _LIBRARY, _Pieces)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Judge a request, and send it if it may go on."""
        asked = cast("httpx2.Request", request)
        return cast("httpx.Response", self._core.handle(asked, self))

    def close(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        self._core.close()


class AsyncPolicyTransport(httpx.AsyncBaseTransport):
    """Holds the requests of an `httpx.AsyncClient` against a policy, on asyncio."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Wrap a transport, as `imagegate.transport.AsyncPolicyTransport` does."""
        governing = Governing(policy, audit, **options)
        wrapped = transport or httpx.AsyncHTTPTransport()
        inner = cast("httpx2.AsyncBaseTransport", wrapped)
        self._core = Asynchronous(inner, governing, _LIBRARY, _AsyncPieces)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Judge a request, and send it if it may go on."""
        asked = cast("httpx2.Request", request)
        return cast("httpx.Response", await self._core.handle(asked, self))

    async def aclose(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        await self._core.close()
