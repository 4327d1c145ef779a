"""Running a gateway: here, or in workers of which this process is the parent."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence

from imagegate import log
from imagegate.gateway.assemble import Plan, assemble, gate_of, socket_limits_of
from imagegate.gateway.measure import measured_here, measured_in_workers
from imagegate.metrics import Metrics
from imagegate.server.listener import bind, url_of
from imagegate.server.run import server_for
from imagegate.server.workers import CannotStartError, Workers

# `-P`: what lies in the working directory is not imported in a module's place.
WORKER: Sequence[str] = (sys.executable, "-P", "-m", "imagegate.gateway.worker")


class CannotServeError(Exception):
    """The gateway cannot serve, or could not go on; one line says why."""


def serve(plan: Plan) -> None:
    """Serve until a signal ends it.

    Raises:
        CannotListenError: When the address cannot be had.
        CannotServeError: When the workers do not start, or do not end by themselves.
        CannotMeasureError: When the port of the metrics cannot be had.
    """
    listen = plan.settings.listen
    with bind(listen) as listening:
        listening.set_inheritable(False)
        if listen.workers == 1:
            with measured_here(plan.settings.metrics) as metrics:
                serve_here(plan, listening, lambda: announce(plan, listening), metrics)
        else:
            with measured_in_workers(plan.settings.metrics) as on_ended:
                asyncio.run(_serve_in_workers(plan, listening, on_ended))
    log.info("imagegate.stopped")


def serve_here(
    plan: Plan,
    listening: socket.socket,
    on_started: Callable[[], None],
    metrics: Metrics | None = None,
) -> None:
    """Serve in this process."""
    settings = plan.settings
    app = assemble(plan, os.environ, metrics)
    server = server_for(app, settings.listen, settings.head, socket_limits_of(settings))
    server.on_started = on_started
    server.run_until_told(listening)


async def _serve_in_workers(
    plan: Plan, listening: socket.socket, on_ended: Callable[[int], None]
) -> None:
    log.take_over()
    listen = plan.settings.listen
    workers = Workers(
        WORKER,
        plan=plan.encode(),
        listening=listening,
        count=listen.workers,
        grace=listen.grace,
        on_started=lambda: announce(plan, listening),
        on_ended=on_ended,
    )
    try:
        ended_well = await workers.run()
    except CannotStartError:
        raise CannotServeError(
            "the workers end before they serve; what they logged says why"
        ) from None
    if not ended_well:
        raise CannotServeError("a worker did not end by itself, or ended with an error")


def announce(plan: Plan, listening: socket.socket) -> None:
    """Say that the gateway serves: what, where, and for whom."""
    gate = gate_of(plan)
    settings = plan.settings
    log.info(
        "imagegate.listening",
        url=url_of(settings.listen, listening.getsockname()[1]),
        workers=settings.listen.workers,
        policy=gate.policy.name,
        mode=gate.policy.mode,
        digest=gate.digest,
        upstreams={
            each.prefix or "/": each.url for each in settings.upstreams.values()
        },
    )
    if settings.listen.unauthenticated:
        log.warning("imagegate.unauthenticated", host=settings.listen.host)
