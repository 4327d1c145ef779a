"""An ASGI application that opens a WebSocket at the provider for each one it gets.

Messages are relayed as they come, in both directions, until one end closes. The
provider's work is paid for, so its end closes as soon as the client's does.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from imagegate.tcp import drop
from imagegate.upstream.client import Headers, UpstreamError
from imagegate.upstream.headers import to_client, to_upstream
from imagegate.upstream.outcome import Failures, instead, note
from imagegate.upstream.provider import Upstream, path_of, query_of
from imagegate.upstream.sockets import Denied, SocketClient, headers_of

_DISCONNECT: Final = "websocket.disconnect"
_TIMEOUT: Final = 504
_BODILESS: Final = 204
"""What a handshake that is accepted is like, as far as its headers go."""
_HTTP: Final = "websocket.http.response"
_LOST: Final = 1006
_REGULAR: Final = frozenset({1000, 1001, 1005})
_SPELLED: Final = {1005: 1000, _LOST: 1011, 1015: 1011}
"""Codes that are never on the wire, and what is said in their place."""
_GOING_AWAY: Final = 1001
_NO_ANSWER: Final = 1011


class SocketForwarder:
    """Forwards; never written to after it is made.

    Args:
        client: Opens WebSockets.
        upstream: Where.
        seconds: How long one may stay open; providers end theirs after an hour.
    """

    def __init__(
        self, client: SocketClient, upstream: Upstream, *, seconds: float
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._failures = Failures(upstream.name)
        self._kept_back = upstream.kept_back
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one WebSocket."""
        if (await receive())["type"] != "websocket.connect":
            return
        hearing = asyncio.ensure_future(receive())
        try:
            connection = await self._opened(scope, hearing)
            if connection is not None:
                await _Passing(self._client, connection, scope, receive, send).run(
                    hearing, self._seconds
                )
        except Denied as denied:
            await _relay_denial(denied, scope, send)
        except UpstreamError as error:
            note(scope, "timeout" if error.status == _TIMEOUT else "upstream_error")
            self._failures.tell(error)
            await _deny(instead(error), scope, send)
        finally:
            hearing.cancel()

    async def _opened(
        self, scope: Scope, hearing: asyncio.Future[Message]
    ) -> ClientConnection | None:
        """Open a connection; None when the client leaves before there is one."""
        headers = [
            *to_upstream(scope["headers"], self._kept_back),
            *await self._upstream.credential.headers(scope["headers"]),
            (b"accept-encoding", b"identity"),
        ]
        query = query_of(scope, self._upstream.credential)
        target = self._upstream.path + path_of(scope) + query
        opening = asyncio.ensure_future(
            self._client.open(self._upstream.origin, target, headers)
        )
        try:
            waiting: set[asyncio.Future[Any]] = {opening, hearing}
            await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
            left = hearing.done() and hearing.result()["type"] == _DISCONNECT
            if not left:
                return await asyncio.shield(opening)
        except BaseException:
            _drop(opening)
            raise
        _drop(opening)
        return None


class _Passing:
    """One WebSocket on its way between two ends; one use."""

    def __init__(
        self,
        client: SocketClient,
        connection: ClientConnection,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._options = client.sockets
        self._connection = connection
        self._scope = scope
        self._receive = receive
        self._send = send
        self._delivering = False
        self._heard = 0

    async def run(self, hearing: asyncio.Future[Message], seconds: float) -> None:
        """Relay until an end closes."""
        tasks: list[asyncio.Task[Any]] = []
        try:
            await self._send({"type": "websocket.accept", "headers": self._headers()})
            tasks = [
                asyncio.create_task(each)
                for each in (self._up(hearing), self._down(), self._ask())
            ]
            done, _ = await asyncio.wait(
                tasks, timeout=seconds, return_when="FIRST_COMPLETED"
            )
            await self._finish(done, *tasks)
        finally:
            for task in tasks:
                task.cancel()
            await self._close()

    def _headers(self) -> Headers:
        """Return what the provider says with the handshake: ids, limits, its region."""
        answer = self._connection.response
        said = () if answer is None else headers_of(answer)
        return to_client(said, status=_BODILESS)

    async def _up(self, hearing: asyncio.Future[Message]) -> None:
        """Relay what the client says, until it leaves."""
        message = await hearing
        while message["type"] != _DISCONNECT:
            text = message.get("text")
            await self._connection.send(message["bytes"] if text is None else text)
            message = await self._receive()

    async def _down(self) -> None:
        """Relay what the provider says, until it closes."""
        while True:
            said = await self._connection.recv()
            kind = "text" if isinstance(said, str) else "bytes"
            self._delivering, self._heard = True, self._heard + 1
            await self._send({"type": "websocket.send", kind: said})
            self._delivering = False

    async def _ask(self) -> None:
        """Ask the provider whether it is there; return when it is not.

        While a client takes its time over a message, what the provider says is not
        read, and no answer can be expected; what it says else is an answer too, and
        so is that it takes more of a long message, behind which the question waits.
        """
        transport = self._connection.transport
        while True:
            await asyncio.sleep(self._options.ping_seconds)
            heard, unsent = self._heard, transport.get_write_buffer_size()
            if await self._answered() or self._delivering or heard != self._heard:
                continue
            if not transport.get_write_buffer_size() < unsent:
                return

    async def _answered(self) -> bool:
        """Tell whether a ping is answered in time; it may wait to be taken at all."""
        try:
            async with asyncio.timeout(self._options.pong_seconds):
                await asyncio.shield(await self._connection.ping())
        except TimeoutError:
            return False
        return True

    async def _finish(
        self,
        done: set[asyncio.Task[Any]],
        up: asyncio.Task[None],
        down: asyncio.Task[None],
        ask: asyncio.Task[None],
    ) -> None:
        """Tell the client what there is to tell."""
        if not done:
            await self._say_closed(_GOING_AWAY)
        elif up in done and not isinstance(up.exception(), ConnectionClosed):
            await up  # the client left, or the server failed
        elif ask in done and ask.exception() is None:
            note(self._scope, "timeout")
            drop(self._connection.transport)
            await self._say_closed(_NO_ANSWER)
        else:
            # What the provider said before it closed is still relayed.
            await asyncio.wait({down})
            await self._say_how(down.exception())

    async def _say_how(self, failure: BaseException | None) -> None:
        """Close as the provider did."""
        if not isinstance(failure, ConnectionClosed):
            raise failure or RuntimeError("a WebSocket ended without an end")
        said = failure.rcvd or failure.sent
        code = said.code if said else _LOST
        if code not in _REGULAR:
            note(self._scope, "upstream_error")
        await self._say_closed(code, failure.rcvd.reason if failure.rcvd else "")

    async def _say_closed(self, code: int, reason: str = "") -> None:
        code = _SPELLED.get(code, code)
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _close(self) -> None:
        """Close the provider's end; what does not agree is cut off."""
        try:
            async with asyncio.timeout(self._options.close_seconds):
                await self._connection.close()
        except TimeoutError:
            pass
        finally:
            drop(self._connection.transport)


def _drop(opening: asyncio.Future[ClientConnection]) -> None:
    """Let go of a connection that nobody waits for any more, if there is to be one."""

    def opened(opening: asyncio.Future[ClientConnection]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            opening.result().transport.abort()

    opening.cancel()
    opening.add_done_callback(opened)


async def _relay_denial(denied: Denied, scope: Scope, send: Send) -> None:
    """Give the client the answer that the provider gave."""
    kept = [
        item
        for item in to_client(denied.headers, status=denied.status)
        if item[0] != b"content-length"
    ]
    kept.append((b"content-length", b"%d" % len(denied.body)))
    start: Message = {"status": denied.status, "headers": kept}
    await _deny((start, {"body": denied.body}), scope, send)


async def _deny(answer: tuple[Message, Message], scope: Scope, send: Send) -> None:
    """Answer over HTTP, where the server can; else there is only a refusal."""
    if _HTTP not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1011})
        return
    start, body = answer
    await send({**start, "type": f"{_HTTP}.start"})
    await send({**body, "type": f"{_HTTP}.body", "more_body": False})
