"""An ASGI application that sends each request to the provider and relays the answer.

The target is built from configuration and the raw path; nothing the client says
chooses the host. Every wait has a deadline. The upstream call is paid for, so it
ends as soon as nobody listens any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from starlette.types import Message, Receive, Scope, Send

from imagegate.upstream.client import (
    Client,
    Headers,
    UpstreamAnswer,
    UpstreamError,
    UpstreamRequest,
)
from imagegate.upstream.credentials import Credential, PassThrough
from imagegate.upstream.headers import CREDENTIALS, to_client, to_upstream


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """A provider.

    Attributes:
        name: For messages.
        base: Scheme, host and perhaps a path: `https://api.openai.com`.
        credential: With what the provider is asked.
    """

    name: str
    base: str
    credential: Credential = msgspec.field(default_factory=PassThrough)


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How many seconds each wait may take.

    Attributes:
        head: From sending the request to the head of the answer. An image that
            is not streamed takes minutes before its first byte.
        idle: Between two pieces of the answer.
        total: The whole exchange.
        stall: One write to the client.
    """

    head: float = 600.0
    idle: float = 120.0
    total: float = 3600.0
    stall: float = 60.0


class ClientLeft(Exception):  # noqa: N818 - a fact, not an error
    """The client hung up."""


class Forwarder:
    """Forwards; never written to after it is made."""

    def __init__(
        self,
        client: Client,
        upstream: Upstream,
        *,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.deadlines = deadlines or Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request."""
        if scope["type"] != "http":
            raise ValueError(f"cannot forward a scope of type {scope['type']!r}")
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            try:
                async with asyncio.timeout(self.deadlines.stall):
                    await send(message)
            except TimeoutError:
                raise ClientLeft from None

        try:
            async with asyncio.timeout(self.deadlines.total):
                await self._forward(scope, receive, sending)
        except ClientLeft:
            return
        except TimeoutError:
            if started:
                raise UpstreamError("total_timeout", status=504) from None
            await _answer(send, UpstreamError("total_timeout", status=504))
        except UpstreamError as error:
            if started:
                raise
            await _answer(send, error)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        request = await _outgoing(scope, self.upstream, body)
        async with _until_left(receive), self._answered(request) as answer:
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": list(to_client(answer.headers)),
                }
            )
            async for chunk in _paced(answer, self.deadlines.idle):
                await send(
                    {"type": "http.response.body", "body": chunk, "more_body": True}
                )
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    @contextlib.asynccontextmanager
    async def _answered(
        self, request: UpstreamRequest
    ) -> AsyncIterator[UpstreamAnswer]:
        """Hold an answer, and end the exchange whatever happens."""
        try:
            async with asyncio.timeout(self.deadlines.head):
                answer = await self.client.send(request)
        except TimeoutError:
            raise UpstreamError("head_timeout", status=504) from None
        try:
            yield answer
        finally:
            await asyncio.shield(answer.close())


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _outgoing(scope: Scope, upstream: Upstream, body: bytes) -> UpstreamRequest:
    """Build what the provider gets."""
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("ascii").removeprefix(scope.get("root_path", ""))
    query = scope.get("query_string", b"").decode("ascii")
    url = f"{upstream.base.rstrip('/')}{path}{'?' if query else ''}{query}"
    credential = await upstream.credential.headers(scope["headers"])
    headers: Headers = [
        (b"host", upstream.base.partition("://")[2].partition("/")[0].encode()),
        *to_upstream(scope["headers"], drop=CREDENTIALS),
        *credential,
        # An encoded answer could be relayed but not observed.
        (b"accept-encoding", b"identity"),
    ]
    if body or scope["method"] in ("POST", "PUT", "PATCH"):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    return UpstreamRequest(
        method=scope["method"], url=url, headers=headers, body=body or None
    )


@contextlib.asynccontextmanager
async def _until_left(receive: Receive) -> AsyncIterator[None]:
    """Cancel what is inside when the client hangs up.

    Servers do not raise in `send` when a client has left, so somebody listens.
    """
    task = asyncio.current_task()
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if left and task is not None and not task.uncancel():
            raise ClientLeft from None
        raise
    finally:
        watcher.cancel()


async def _paced(answer: UpstreamAnswer, idle: float) -> AsyncIterator[bytes]:
    """Yield the pieces of an answer, none later than the deadline."""
    chunks = answer.chunks()
    while True:
        try:
            async with asyncio.timeout(idle):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise UpstreamError("idle_timeout", status=504) from None
        if chunk is None:
            return
        yield chunk


async def _answer(send: Send, error: UpstreamError) -> None:
    """Answer in the provider's place; a client may try again only if it is safe."""
    body = msgspec.json.encode(
        {
            "error": {
                "message": f"the provider did not answer ({error.code})",
                "type": "server_error",
                "param": None,
                "code": error.code,
            }
        }
    )
    retry = b"true" if error.resendable else b"false"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-should-retry", retry),
    ]
    if error.status == 503:  # noqa: PLR2004 - Service Unavailable
        headers.append((b"retry-after", b"1"))
    await send(
        {"type": "http.response.start", "status": error.status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
