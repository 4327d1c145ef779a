"""In-process transports: the policy around the HTTP client that an SDK uses.

An application that calls an SDK itself is governed without an extra hop: the same
engine, the same refusals, the same records (`transport: in_process`).

    client = openai.OpenAI(
        http_client=openai.DefaultHttpxClient(
            transport=PolicyTransport(policy="standard", audit="trail")
        )
    )

The classes here are for httpx2, which the OpenAI SDK uses; `imagegate.transport.httpx`
has the same for httpx, and `imagegate.transport.azure` a policy for the pipelines of
azure-core, which is how `AIProjectClient` registers agents.

This is cooperative: an application that means to get round it makes another client.
Nor does the SDK's WebSocket mode (`responses.connect()`) pass through an HTTP client;
point `websocket_base_url` at a gateway, or do not use it.

Time-outs, proxies and retries stay the client's: what is not refused goes to the
wrapped transport as it came, with its time-outs, and what that raises is raised. A
client that is given a transport reads no proxy from the environment. Name a proxy to
the wrapped transport: `proxy` and `mounts` of a client lead past its transport.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Unpack, cast

import httpx2

from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.gates import Gates
from imagegate.transport.asynchronous import Asynchronous, AsyncPieces
from imagegate.transport.governing import Governing, Options
from imagegate.transport.synchronous import Synchronous, SyncPieces
from imagegate.transport.toolkit import Toolkit

__all__ = ["AsyncPolicyTransport", "Options", "PolicyTransport"]

_LIBRARY: Final = cast("Toolkit", httpx2)


class _Pieces(SyncPieces, httpx2.SyncByteStream):
    """The body of an answer."""


class _AsyncPieces(AsyncPieces, httpx2.AsyncByteStream):
    """The body of an answer."""


class PolicyTransport(httpx2.BaseTransport):
    """Holds the requests of an `httpx2.Client` against a policy."""

    def __init__(
        self,
        transport: httpx2.BaseTransport | None = None,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Wrap a transport.

        Args:
            transport: Sends what may go on; `httpx2.HTTPTransport()` unless told.
                It is closed with this one.
            policy: A file, a folder, the name of one that ships; or laid out, or
                what holds one (`imagegate.gates.Followed`).
            audit: A directory for a journal, opened with the first request and
                closed with the transport; or an audit that whoever opened it closes.
            **options: See `Options`.

        Raises:
            OSError: When there is no such policy.
            PolicyError: When the policy cannot be used; it says why, and where.
            TypeError: For an option that there is not.
            ValueError: When one of `own_paths` could lead to an image.
        """
        governing = Governing(policy, audit, **options)
        wrapped = transport or httpx2.HTTPTransport()
        self._core = Synchronous(wrapped, governing, _LIBRARY, _Pieces)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Judge a request, and send it if it may go on."""
        return self._core.handle(request, self)

    def close(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        self._core.close()


class AsyncPolicyTransport(httpx2.AsyncBaseTransport):
    """Holds the requests of an `httpx2.AsyncClient` against a policy, on asyncio."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport | None = None,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Wrap a transport.

        Args:
            transport: Sends what may go on; `httpx2.AsyncHTTPTransport()` unless
                told. It is closed with this one.
            policy: As of `PolicyTransport`.
            audit: Likewise.
            **options: See `Options`.

        Raises:
            OSError: When there is no such policy.
            PolicyError: When the policy cannot be used; it says why, and where.
            TypeError: For an option that there is not.
            ValueError: When one of `own_paths` could lead to an image.
        """
        governing = Governing(policy, audit, **options)
        wrapped = transport or httpx2.AsyncHTTPTransport()
        self._core = Asynchronous(wrapped, governing, _LIBRARY, _AsyncPieces)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Judge a request, and send it if it may go on."""
        return await self._core.handle(request, self)

    async def aclose(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        await self._core.close()
