"""The gateway as one ASGI application: the middleware around the forwarder.

The only room where the two meet. Upstreams are told apart by a prefix of the path;
health is answered here, and here is the outermost edge: what nobody foresaw ends in
an answer that says so, and in one line of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Protocol, cast

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegate import log
from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.engine.quota import Outage
from imagegate.gates import Gates
from imagegate.middleware import (
    Identify,
    Limits,
    PolicyMiddleware,
    anonymous,
    load_of,
)
from imagegate.quotas import MemoryQuotas, Quotas
from imagegate.seen import MemorySeen, Seen
from imagegate.upstream.client import Client, UpstreamError
from imagegate.upstream.forwarder import Deadlines, Forwarder, Upstream
from imagegate.upstream.sockets import SocketClient

_HEALTH = (b"/livez", b"/readyz")
_DECISION = b"x-imagegate-decision"
_BEGINNINGS = (
    "http.response.start",
    "websocket.accept",
    "websocket.close",
    "websocket.http.response.start",
)
_LAST_SECONDS = 5.0
"""What an exchange that was cut short gets to write down how it ended, and what a
client gets to take the answer that something failed.
"""


def create_app(  # noqa: PLR0913 - the parts of a gateway
    gate: Gate | Gates,
    upstreams: Mapping[str, Upstream],
    *,
    client: Client,
    audit: Audit,
    identify: Identify = anonymous,
    limits: Limits | None = None,
    seen: Seen | None = None,
    quotas: Quotas | None = None,
    outage: Outage = "refuse",
    deadlines: Deadlines | None = None,
    sockets: SocketClient | None = None,
) -> ASGIApp:
    """Build the gateway.

    Args:
        gate: The policy, laid out; or what holds one, to replace it while this runs.
        upstreams: The providers by the prefix of their paths; `""` for the rest.
        client: Sends the requests; closed when the server shuts down.
        audit: Where records go; closed last.
        identify: Says who asks.
        limits: How much of a request is taken.
        seen: Keeps what was judged, for requests that refer to it.
        quotas: Counts what the policy's quotas are about.
        outage: What is done where that cannot be asked.
        deadlines: How long each wait may take.
        sockets: Opens WebSockets.
    """
    seen, gates = seen or MemorySeen(), Gates.of(gate)
    quotas, load = quotas or MemoryQuotas(), load_of(limits or Limits())
    governed: dict[str, ASGIApp] = {
        prefix: PolicyMiddleware(
            Forwarder(client, upstream, deadlines=deadlines, sockets=sockets),
            gate=gates,
            audit=audit,
            identify=identify,
            limits=limits,
            seen=seen,
            quotas=quotas,
            outage=outage,
            load=load,
            realm=prefix,
        )
        for prefix, upstream in upstreams.items()
    }
    credentials = [upstream.credential for upstream in upstreams.values()]
    parts: list[_Closable] = [client, *credentials, seen, quotas, audit]
    return _Gateway(_health(gates, audit), governed, parts)


class _Closable(Protocol):
    async def close(self) -> None: ...


class _Gateway:
    """The outermost application; it knows which exchanges are under way."""

    def __init__(
        self,
        health: ASGIApp,
        governed: Mapping[str, ASGIApp],
        parts: Sequence[_Closable],
    ) -> None:
        self._health = health
        self._governed = sorted(governed.items(), key=lambda item: -len(item[0]))
        self._parts = parts
        self._exchanges: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take what the server brings."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        task = cast(asyncio.Task[Any], asyncio.current_task())  # servers run tasks
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)
        await _Edge(scope, send).run(self._route(scope), scope, receive)

    def _route(self, scope: Scope) -> ASGIApp:
        """Find the application for a path, as it stands in the request line.

        Read leniently, `/%61zure` would be one upstream here and none behind.
        """
        path = scope.get("raw_path") or scope["path"].encode()
        if scope["type"] == "http" and path in _HEALTH:
            return self._health
        for prefix, app in self._governed:
            if path.startswith(f"{prefix}/".encode()):
                return _below(prefix, app)
        return self._no_upstream

    async def _no_upstream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say which prefixes there are."""
        del receive
        known = ", ".join(f"`{prefix}`" for prefix, _ in self._governed)
        message = (
            f"no provider is served here; the paths of providers begin with {known}"
        )
        error = 404, "invalid_request_error", "no_such_upstream", message
        await _answer(scope, send, *error)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answer the server's start and stop."""
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        if self._exchanges:
            # Those that outlived their grace were cancelled, and still have to write
            # down how they ended.
            await asyncio.wait(self._exchanges, timeout=_LAST_SECONDS)
        for part in self._parts:
            await part.close()
        await send({"type": "lifespan.shutdown.complete"})


def _below(prefix: str, app: ASGIApp) -> ASGIApp:
    """Let an application see paths below a prefix."""

    async def below(scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "") + prefix
        await app({**scope, "root_path": root}, receive, send)

    return below if prefix else app


def _health(gates: Gates, audit: Audit) -> ASGIApp:
    """Tell whether the process answers, and whether it can do its work.

    Whoever reaches the port may read it: it names what is wrong, and the log says
    where and why.
    """
    told: str | None = None

    async def alive(request: Request) -> Response:
        del request
        return _report(200, {"status": "alive"})

    async def ready(request: Request) -> Response:
        nonlocal told
        del request
        problem, edition = audit.problem, gates.current
        if problem != told:
            told = problem
            _tell_of_audit(problem)
        known: dict[str, object] = {
            "policy": edition.gate.policy.name,
            "digest": edition.gate.digest,
            "version": version("imagegate"),
        }
        if edition.candidate is not None:
            known["candidate"] = edition.candidate.policy.name
            known["candidate_digest"] = edition.candidate.digest
        if gates.stale:
            # What held before holds: no reason to send the traffic elsewhere.
            known["stale"] = gates.stale
        if problem is None:
            return _report(200, {"status": "ready", **known})
        return _report(
            503, {"status": "not ready", "problem": "audit_unavailable", **known}
        )

    return Starlette(routes=[Route("/livez", alive), Route("/readyz", ready)])


def _tell_of_audit(problem: str | None) -> None:
    if problem is None:
        log.info("imagegate.ready_again")
    else:
        log.error("imagegate.not_ready", problem=problem)


def _report(status: int, said: Mapping[str, object]) -> Response:
    return Response(msgspec.json.encode(said), status, media_type="application/json")


class _Edge:
    """The outermost edge of one exchange: here it fails closed, and is told."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._started = False
        self._decision: str | None = None

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Run an exchange; what it raises ends as an answer, or ends the connection.

        Raises:
            Told: When the answer has begun and cannot be completed: the server then
                ends the connection, so that nobody takes the half for the whole.
        """
        try:
            await app(scope, receive, self._sending)
        except log.Told:
            pass  # who broke it off has said why
        except UpstreamError as error:
            self._tell("imagegate.answer_broken", log.warning, code=error.code)
        except Exception as error:  # noqa: BLE001 - the outermost edge
            self._tell("imagegate.unexpected", log.error, **log.place_of(error))
        else:
            return
        if self._started:
            raise log.Told
        message = "the gateway failed, and so nothing was passed on"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                said = 500, "server_error", "gateway_error", message
                await _answer(self._scope, self._send, *said)

    async def _sending(self, message: Message) -> None:
        if message["type"] in _BEGINNINGS:
            self._started = True
            found = [v for k, v in message.get("headers", ()) if k == _DECISION]
            self._decision = found[0].decode("ascii") if found else None
        await self._send(message)

    def _tell(self, event: str, say: Callable[..., None], **fields: str) -> None:
        say(event, decision_id=self._decision, **fields)


async def _answer(  # noqa: PLR0913, PLR0917 - whom, and what an error has
    scope: Scope, send: Send, status: int, kind: str, code: str, message: str
) -> None:
    """Answer as the provider would, so that SDKs raise their own exception."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = msgspec.json.encode({"error": error})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-should-retry", b"false"),
    ]
    prefix = "websocket." if scope["type"] == "websocket" else ""
    start = f"{prefix}http.response.start"
    await send({"type": start, "status": status, "headers": headers})
    last = f"{prefix}http.response.body"
    await send({"type": last, "body": body, "more_body": False})
