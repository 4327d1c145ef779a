"""Running a gateway: here, or in workers of which this process is the parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from imagegate import log
from imagegate.gateway.assemble import (
    Plan,
    assemble,
    gate_of,
    seen_of,
    socket_limits_of,
)
from imagegate.gateway.measure import measured_here, measured_in_workers
from imagegate.metrics import Metrics
from imagegate.seen import SightLost
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
            with (
                measured_in_workers(plan.settings.metrics) as on_ended,
                remembering_together(plan) as shared,
            ):
                asyncio.run(_serve_in_workers(shared, listening, on_ended))
    log.info("imagegate.stopped")


@contextlib.contextmanager
def remembering_together(plan: Plan) -> Iterator[Plan]:
    """Let workers share what they have judged, at least for as long as they run.

    Raises:
        CannotServeError: When the file that they are to share cannot be opened.
    """
    settings = plan.settings
    with tempfile.TemporaryDirectory(prefix="imagegate-state-") as directory:
        file = settings.state.file or Path(directory, "seen.db")
        state = msgspec.structs.replace(settings.state, file=file)
        try:
            asyncio.run(seen_of(state).close())
        except SightLost as error:
            raise CannotServeError(f"state: {error}") from None
        settings = msgspec.structs.replace(settings, state=state)
        yield msgspec.structs.replace(plan, settings=settings)


def serve_here(
    plan: Plan,
    listening: socket.socket,
    on_started: Callable[[], None],
    metrics: Metrics | None = None,
) -> None:
    """Serve in this process."""
    settings = plan.settings
    try:
        app = assemble(plan, os.environ, metrics)
    except SightLost as error:
        raise CannotServeError(f"state: {error}") from None
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
