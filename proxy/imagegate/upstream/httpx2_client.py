"""The client on httpx2's transport.

Only the transport is used: the client around it would add headers, keep cookies
shared by all users, read proxies from the environment and follow redirects.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx2

from imagegate.upstream.client import Headers, UpstreamError, UpstreamRequest


class Httpx2Answer:
    """An answer of httpx2's transport."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> Headers:
        """The headers, as they were sent."""
        return self._response.headers.raw

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, undecoded."""
        with _translated(after="answer_broken"):
            async for chunk in self._response.aiter_raw():
                yield chunk

    async def close(self) -> None:
        """End the exchange."""
        await self._response.aclose()


class Httpx2Client:
    """Sends requests over a pool of connections."""

    def __init__(
        self,
        *,
        connections: int = 1_000,
        connect_seconds: float = 10.0,
        pool_seconds: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make a client.

        Args:
            connections: How many exchanges there can be at once.
            connect_seconds: How long connecting may take.
            pool_seconds: How long a request waits for a free connection.
            tls: How the provider is verified; the system's roots by default.
        """
        self._timeouts = {
            "connect": connect_seconds,
            "pool": pool_seconds,
            # The forwarder keeps its own deadlines: a timeout per read never
            # ends an answer that drips.
            "read": None,
            "write": None,
        }
        self._transport = httpx2.AsyncHTTPTransport(
            verify=tls or ssl.create_default_context(),
            trust_env=False,
            retries=0,
            limits=httpx2.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=30.0,
            ),
        )

    async def send(self, request: UpstreamRequest) -> Httpx2Answer:
        """Send a request and return when the head of the answer is there."""
        outgoing = httpx2.Request(
            request.method,
            request.url,
            headers=list(request.headers),
            content=request.body,
            extensions={"timeout": self._timeouts},
        )
        with _translated(after="no_answer"):
            return Httpx2Answer(await self._transport.handle_async_request(outgoing))

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


@contextlib.contextmanager
def _translated(*, after: str) -> Iterator[None]:
    """Turn httpx2's errors into ours on the line where they enter."""
    try:
        yield
    except httpx2.PoolTimeout:
        raise UpstreamError("upstream_busy", status=503, resendable=True) from None
    except httpx2.ConnectTimeout:
        raise UpstreamError("connect_timeout", status=504, resendable=True) from None
    except (httpx2.ConnectError, httpx2.UnsupportedProtocol):
        raise UpstreamError("cannot_connect", status=502, resendable=True) from None
    except (httpx2.HTTPError, httpx2.StreamError):
        raise UpstreamError(after, status=502) from None
