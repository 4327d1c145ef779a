"""The gateway as one ASGI application: the middleware around the forwarder.

The only room where the two meet. Upstreams are told apart by a prefix of the path;
health is answered here.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.middleware import Identify, PolicyMiddleware, anonymous
from imagegate.middleware.intake import Limits
from imagegate.upstream.client import Client
from imagegate.upstream.forwarder import Deadlines, Forwarder, Upstream


def create_app(  # noqa: PLR0913 - the parts of a gateway
    gate: Gate,
    upstreams: Mapping[str, Upstream],
    *,
    client: Client,
    audit: Audit,
    identify: Identify = anonymous,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> ASGIApp:
    """Build the gateway.

    Args:
        gate: The policy, laid out.
        upstreams: The providers by the prefix of their paths; `""` for the rest.
        client: Sends the requests; closed when the server shuts down.
        audit: Where records go.
        identify: Says who asks.
        limits: How much of a request is taken.
        deadlines: How long each wait may take.
    """
    apps: dict[str, ASGIApp] = {
        prefix: PolicyMiddleware(
            Forwarder(client, upstream, deadlines=deadlines),
            gate=gate,
            audit=audit,
            identify=identify,
            limits=limits,
        )
        for prefix, upstream in upstreams.items()
    }
    prefixes = sorted(apps, key=len, reverse=True)
    health = Starlette(routes=[Route("/livez", _alive), Route("/readyz", _alive)])
    health_paths = ("/livez", "/readyz")

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(client, receive, send)
            return
        path = scope["path"]
        if path in health_paths and scope["type"] == "http":
            await health(scope, receive, send)
            return
        for prefix in prefixes:
            if path.startswith(f"{prefix}/"):
                root = scope.get("root_path", "") + prefix
                await apps[prefix]({**scope, "root_path": root}, receive, send)
                return
        await apps[prefixes[-1]](scope, receive, send)

    return gateway


async def _live(client: Client, receive: Receive, send: Send) -> None:
    """Answer the server's start and stop."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await client.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "lifespan.startup.complete"})


async def _alive(request: Request) -> PlainTextResponse:
    """Say that the process answers."""
    del request
    return PlainTextResponse("ok\n")
