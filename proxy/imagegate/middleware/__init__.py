"""PolicyMiddleware: the engine around any ASGI application that answers requests.

It knows no HTTP client. Embedded in somebody's application or in front of the
forwarder, a request walks the same rooms: find the door, read, decide, record, and
only then go on; each piece of the answer is observed, recorded, and then relayed.
"""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegate.audit import Audit, AuditUnavailableError
from imagegate.engine.body import Body
from imagegate.engine.decision import Forward, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Ended, Exchange, Fed, Ruling
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.refusal import refuse
from imagegate.engine.surface import Lost, Match, find_door
from imagegate.middleware.intake import (
    Gone,
    Limits,
    check_headers,
    read,
    take_body,
    values_of,
)

Identify = Callable[[Scope], Awaitable[Principal]]
_ANSWERED_BY_US = (b"content-length", b"content-encoding", b"transfer-encoding")
_NO_WEBSOCKET = MalformedRequest(
    "upgrade_required",
    "websocket mode is not served here; use POST on the same path",
    status=426,
)
_NO_AUDIT = (
    b'{"error":{"message":"the request cannot be recorded, so it is not passed on",'
    b'"type":"server_error","param":null,"code":"audit_unavailable"}}'
)


async def anonymous(scope: Scope) -> Principal:
    """Identify nobody."""
    del scope
    return ANONYMOUS


class PolicyMiddleware:
    """Holds requests against a policy; never written to after it is made."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Gate,
        audit: Audit,
        identify: Identify = anonymous,
        limits: Limits | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: Forwards, or answers, what is let through.
            gate: The policy, laid out.
            audit: Where records go.
            identify: Says who asks.
            limits: How much of a request is taken.
        """
        self.app = app
        self.gate = gate
        self.audit = audit
        self.identify = identify
        self.limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
        elif scope["type"] == "http":
            await _Responder(self, scope, receive, send).respond()
        else:
            await self.app(scope, receive, send)


class _Over(Exception):  # noqa: N818 - a fact, not an error
    """The answer has been ended; nothing of it is wanted any more."""


class _Responder:
    """One request and its answer; one use."""

    def __init__(
        self, outer: PolicyMiddleware, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.outer = outer
        self.scope = scope
        self.receive = receive
        self.send = send
        self.decision_id = uuid.uuid4().hex
        self.left = False
        self.exchange: Exchange | None = None
        self.cancel: str | None = None

    async def respond(self) -> None:
        """Judge the request and see its answer through."""
        if values_of(self.scope["headers"], "upgrade") == ["websocket"]:
            door = find_door("WEBSOCKET", _path(self.scope))
            await self._refuse(await self._begin(door, None), _NO_WEBSOCKET)
            return
        door = find_door(self.scope["method"], _path(self.scope))
        try:
            data = await self._take(door)
        except Gone:
            return
        except MalformedRequest as error:
            await self._refuse(await self._begin(door, None), error)
            return
        exchange = await self._begin(door, None if data is None else len(data))
        try:
            body = await self._read(door, data)
        except MalformedRequest as error:
            await self._refuse(exchange, error)
            return
        await self._rule(exchange, body)

    async def _begin(self, door: Match | Lost, size: int | None) -> Exchange:
        today = datetime.datetime.now(tz=datetime.UTC).date()
        context = Context(
            decision_id=self.decision_id,
            door=door,
            date=today,
            principal=await self.outer.identify(self.scope),
            bytes_in=size,
        )
        self.exchange = Exchange(self.outer.gate, context)
        return self.exchange

    # -- the request ------------------------------------------------------------

    async def _take(self, door: Match | Lost) -> bytes | None:
        """Take the body of a request that is judged."""
        check_headers(self.scope["headers"])
        if not self._judged(door):
            return None
        return await take_body(self.receive, self.outer.limits)

    def _judged(self, door: Match | Lost) -> bool:
        return (
            isinstance(door, Match)
            and door.door.reading != "none"
            and self.outer.gate.decider.stance(door.door) == "enforce"
        )

    async def _read(self, door: Match | Lost, data: bytes | None) -> Body | None:
        if data is None or isinstance(door, Lost):
            return None
        return await read(self.scope, data, door.door, self.outer.limits)

    async def _refuse(self, exchange: Exchange, error: MalformedRequest) -> None:
        await self._end(exchange, exchange.malformed(error))

    async def _rule(self, exchange: Exchange, body: Body | None) -> None:
        headers = tuple(
            (key.decode("latin-1").lower(), value.decode("latin-1").strip())
            for key, value in self.scope["headers"]
        )
        ruling = exchange.request(body, headers)
        if ruling.refusal is not None:
            await self._end(exchange, ruling)
            return
        try:
            await self.outer.audit.write([ruling.record])
        except AuditUnavailableError:
            await self._answer(503, _NO_AUDIT, [(b"x-should-retry", b"true")])
            return
        await self._forward(exchange, ruling, body)

    async def _end(self, exchange: Exchange, ruling: Ruling) -> None:
        """Answer in the provider's place."""
        refusal = ruling.refusal
        closing = exchange.close("refused")
        try:
            await self.outer.audit.write([ruling.record, *closing.records])
        except AuditUnavailableError:
            await self._answer(503, _NO_AUDIT, [(b"x-should-retry", b"true")])
            return
        if refusal is not None:
            headers = [(key.encode(), value.encode()) for key, value in refusal.headers]
            await self._answer(refusal.status, refusal.body, headers)

    async def _forward(
        self, exchange: Exchange, ruling: Ruling, body: Body | None
    ) -> None:
        """Let the request go on, and see its answer through."""
        decision = ruling.decision
        scope = dict(self.scope)
        receive: Receive = self._watched
        unseen = isinstance(decision, Forward) and not decision.inspected
        if not unseen:
            # A door that takes no body gets none: nobody would have judged it.
            edits = decision.edits if isinstance(decision, Rewrite) else ()
            extra = decision.headers if isinstance(decision, Rewrite) else {}
            data = b"" if body is None else bytes(body.rewritten(edits))
            scope["headers"] = _rewritten(self.scope["headers"], len(data), extra)
            receive = self._replayed(data)
        how: Ended = "upstream_error"
        try:
            await self.outer.app(scope, receive, self._observed)
            how = "ended"
        except _Over:
            how = "ended"
        finally:
            if self.left:
                how = "client_left"
            await self.outer.audit.write(exchange.close(how).records)
        if self.cancel is not None:
            await self._cancel_upstream(self.cancel)

    async def _watched(self) -> Message:
        """Pass on what the server says, and note when the client leaves."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self.left = True
        return message

    def _replayed(self, data: bytes) -> Receive:
        """Give the body that was judged, once, and then what the server says."""
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                return await self._watched()
            given = True
            return {"type": "http.request", "body": data, "more_body": False}

        return receive

    # -- the answer -------------------------------------------------------------

    async def _observed(self, message: Message) -> None:
        """Observe a part of the answer, record what it says, and relay it."""
        if self.exchange is None:
            return
        if message["type"] == "http.response.start":
            await self.send(self._started(self.exchange, message))
        elif message["type"] == "http.response.body":
            await self._relay(self.exchange.feed(message.get("body", b"")), message)
        else:
            await self.send(message)

    def _started(self, exchange: Exchange, message: Message) -> Message:
        headers = list(message.get("headers", ()))
        kind = next(iter(values_of(headers, "content-type")), "")
        exchange.response(
            message["status"],
            kind,
            content_encoding=",".join(values_of(headers, "content-encoding")),
            request_id=next(iter(values_of(headers, "x-request-id")), None),
        )
        if kind.startswith("text/event-stream"):
            # A stream may end early, and then its length would be a lie.
            headers = [item for item in headers if item[0].lower() != b"content-length"]
        ours = (b"x-imagegate-decision", self.decision_id.encode())
        return {**message, "headers": [*headers, ours]}

    async def _relay(self, fed: Fed, message: Message) -> None:
        if fed.records:
            await self.outer.audit.write(fed.records)
        self.cancel = fed.cancel or self.cancel
        if fed.cut is None:
            await self.send({**message, "body": fed.relay})
            return
        last = fed.relay + fed.cut.error
        await self.send({**message, "body": last, "more_body": False})
        raise _Over

    async def _cancel_upstream(self, response_id: str) -> None:
        """Cancel work that the provider goes on with in the background."""
        path = f"{_path(self.scope)}/{response_id}/cancel"
        root = self.scope.get("root_path", "")
        scope = {
            **self.scope,
            "method": "POST",
            "path": root + path,
            "raw_path": (root + path).encode(),
            "headers": _rewritten(self.scope["headers"], 0, {}),
        }

        async def ignore(message: Message) -> None:
            del message

        with contextlib.suppress(_Over):
            await self.outer.app(scope, self._replayed(b""), ignore)

    async def _answer(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        fixed = [
            (b"content-length", b"%d" % len(body)),
            (b"x-imagegate-decision", self.decision_id.encode()),
        ]
        named = {name for name, _ in headers}
        if b"content-type" not in named:
            fixed.append((b"content-type", b"application/json"))
        headers = [item for item in headers if item[0] != b"x-imagegate-decision"]
        start: Message = {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, *fixed],
        }
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """Return the raw path, below any mount point."""
    raw = scope.get("raw_path")
    path = scope["path"] if raw is None else raw.decode("latin-1")
    root = scope.get("root_path", "")
    below: str = path.removeprefix(root) if root else path
    return below


def _rewritten(
    headers: list[tuple[bytes, bytes]], size: int, extra: Mapping[str, str | None]
) -> list[tuple[bytes, bytes]]:
    """Describe the body that is sent, and set what the decision sets."""
    ours = {name.encode() for name in extra} | set(_ANSWERED_BY_US)
    kept = [(key, value) for key, value in headers if key.lower() not in ours]
    named = [(name, value) for name, value in extra.items() if value is not None]
    set_by_us = [(name.encode(), value.encode()) for name, value in named]
    return [*kept, (b"content-length", b"%d" % size), *set_by_us]


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse with 426 where the server can say so: clients then fall back to HTTP."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    refusal = refuse(_NO_WEBSOCKET, decision_id=uuid.uuid4().hex)
    headers = [(key.encode(), value.encode()) for key, value in refusal.headers]
    start = "websocket.http.response.start"
    await send({"type": start, "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body})
