"""The client on httpcore2, which is the transport of httpx2.

httpx2 itself would resolve dots in the path, add headers, keep cookies that all
users share, read proxies from the environment and follow redirects.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpcore2

from imagegate.upstream.client import Headers, Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.network import Network
from imagegate.upstream.trust import Trust
from imagegate.upstream.tunnel import Proxy
from imagegate.upstream.wire import UntrustedError, Wire


class Httpx2Answer:
    """An answer of httpcore2's.

    Attributes:
        status: The HTTP status.
        headers: The headers, as they were sent.
        ended: Its end was read; httpcore2 does not tell before.
    """

    def __init__(self, response: httpcore2.Response) -> None:
        self.ended = False
        self.status = response.status
        self.headers: Headers = response.headers
        self._response = response
        self._pieces = response.aiter_stream()

    async def read(self) -> bytes:
        """Return the next piece of the body; empty at its end."""
        with _translated(malformed="answer_broken", closed="answer_broken"):
            piece = await anext(self._pieces, b"")
        self.ended = not piece
        return piece

    async def close(self) -> None:
        """End the exchange."""
        await self._pieces.aclose()
        await self._response.aclose()


class Httpx2Client:
    """Sends requests over connections that are kept, one pool for each provider."""

    def __init__(  # noqa: PLR0913 - an operator's choices
        self,
        *,
        connections: int = 1_000,
        connect_seconds: float = 10.0,
        pool_seconds: float = 5.0,
        write_seconds: float = 60.0,
        idle_seconds: float = 30.0,
        authorities: Path | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Make a client; `FastClient` says what each choice is."""
        self._connections = connections
        self._idle_seconds = idle_seconds
        self._proxy = proxy
        self._timeouts = {
            "connect": connect_seconds,
            "pool": pool_seconds,
            "write": write_seconds,
        }
        self._trust = Trust(authorities)
        self._pools: dict[Origin, _Pool] = {}

    async def send(self, request: UpstreamRequest) -> Httpx2Answer:
        """Send a request and return when the head of the answer is there."""
        origin = request.origin
        outgoing = httpcore2.Request(
            request.method,
            httpcore2.URL(
                scheme=origin.scheme,
                host=origin.host,
                port=origin.port,
                target=request.target,
            ),
            headers=request.headers,
            content=_content(request),
            extensions={"timeout": self._timeouts},
        )
        with _translated(malformed="answer_malformed", closed="no_answer"):
            response = await self._pool(origin).handle_async_request(outgoing)
        wire: Wire = response.extensions["network_stream"]
        wire.head_ended()
        return Httpx2Answer(response)

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, origin: Origin) -> _Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = _Pool(
                ssl_context=self._trust.context_for(origin),
                max_connections=self._connections,
                keepalive_expiry=self._idle_seconds,
                network_backend=Network(self._proxy, idle_seconds=self._idle_seconds),
            )
            self._pools[origin] = pool
        return pool


def _content(request: UpstreamRequest) -> bytes | AsyncIterator[bytes]:
    """Return the body as httpcore2 takes it; pieces go out one by one."""
    if isinstance(request.body, bytes):
        return request.body

    async def pieces() -> AsyncIterator[bytes]:
        for piece in request.pieces:
            yield bytes(piece)

    return pieces()


class _Pool(httpcore2.AsyncConnectionPool):
    """httpcore2's pool, which asks more of a connection before it is used again."""

    def create_connection(
        self, origin: httpcore2.Origin
    ) -> httpcore2.AsyncConnectionInterface:
        """Make a connection; it connects with its first request."""
        return _Connection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            network_backend=self._network_backend,
        )


class _Connection(httpcore2.AsyncHTTPConnection):
    """A connection that is not used again when there was more than an answer on it.

    httpcore2 would read what is left over as the answer to the next request, which
    may be another user's. Bytes that come only after that request began to be sent
    cannot be told from an answer, by anybody.
    """

    def has_expired(self) -> bool:
        """Whether the connection must not be used again."""
        return super().has_expired() or self._left_over()

    def _left_over(self) -> bool:
        # Only the parser knows what it has not used, and only so can it be asked.
        inner = self._connection
        return isinstance(inner, httpcore2.AsyncHTTP11Connection) and bool(
            inner._h11_state.trailing_data[0]  # noqa: SLF001 - nothing public tells
        )


_ERRORS: tuple[tuple[type[Exception], str, int, bool], ...] = (
    (httpcore2.PoolTimeout, "upstream_busy", 503, True),
    (httpcore2.ConnectTimeout, "connect_timeout", 504, True),
    (UntrustedError, "untrusted_certificate", 502, True),
    (httpcore2.ConnectError, "cannot_connect", 502, True),
    (httpcore2.WriteTimeout, "write_timeout", 504, False),
    (httpcore2.LocalProtocolError, "request_malformed", 400, False),
)
"""What goes wrong, its code, what to answer, and whether nothing was sent."""

_CONNECTING = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
_CLOSED = (httpcore2.ReadError, httpcore2.WriteError)


@contextlib.contextmanager
def _translated(*, malformed: str, closed: str) -> Iterator[None]:
    """Turn httpcore2's errors into ours on the line where they enter.

    Not chained: h11 quotes the header that it refuses, and it may be a key.
    """
    try:
        yield
    except httpcore2.RemoteProtocolError:
        raise UpstreamError(malformed, status=502) from None
    except (
        httpcore2.NetworkError,
        httpcore2.TimeoutException,
        httpcore2.ProtocolError,
    ) as error:
        for kind, code, status, resendable in _ERRORS:
            if isinstance(error, kind):
                # What `wire` raises while connecting is in words of ours.
                cause = str(error) if isinstance(error, _CONNECTING) else ""
                raise UpstreamError(
                    code, status=status, resendable=resendable, cause=cause
                ) from None
        cause = str(error) if isinstance(error, _CLOSED) else ""
        raise UpstreamError(closed, status=502, cause=cause) from None
