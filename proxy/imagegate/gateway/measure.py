"""The metrics of a gateway: of this process, or of its workers together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from imagegate import log
from imagegate.gateway.assemble import CannotServeError
from imagegate.gateway.folder import shared_folder
from imagegate.gateway.plan import LIVE
from imagegate.metrics import Losses, Metrics, Reloads, serve
from imagegate.metrics.port import DIRECTORY, forget, shared, take_room
from imagegate.server.listener import in_url
from imagegate.server.lives import Life
from imagegate.settings import MetricsSettings


class CannotMeasureError(Exception):
    """The metrics' port cannot be had; one line says why."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What counts in this process.

    Attributes:
        metrics: What happens to requests; None where they are answered elsewhere.
        reloads: What becomes of files that change; None when nothing is counted.
        on_lost: Is to be told of each worker that ended and was not told to.
    """

    metrics: Metrics | None = None
    reloads: Reloads | None = None
    on_lost: Callable[[Life], None] = lambda _: None


@contextlib.contextmanager
def measured_here(settings: MetricsSettings) -> Iterator[Measured]:
    """Count in this process, and serve what was counted.

    Raises:
        CannotMeasureError: When the port cannot be had.
    """
    if settings.port is None:
        yield Measured()
        return
    registry = CollectorRegistry()
    with _served(settings, registry):
        yield Measured(metrics=Metrics(registry), reloads=Reloads(registry, LIVE))


@contextlib.contextmanager
def measured_in_workers(settings: MetricsSettings) -> Iterator[Measured]:
    """Let workers that are started from here count, and serve what they did.

    Raises:
        CannotMeasureError: When the port cannot be had.
        CannotServeError: When there is no place for what they count.
    """
    if settings.port is None:
        yield Measured()
        return
    with shared_folder("metrics") as directory:
        os.environ[DIRECTORY] = str(directory)
        registry = shared(directory)
        losses = Losses(registry)

        def lost(life: Life) -> None:
            losses.count(life.loss)
            if life.pid is not None:
                forget(life.pid, directory, served=life.served)

        try:
            with _served(settings, registry):
                yield Measured(reloads=Reloads(registry, LIVE), on_lost=lost)
        finally:
            del os.environ[DIRECTORY]


def metrics_of_worker(settings: MetricsSettings) -> Metrics | None:
    """Count in a worker; the parent serves it.

    Raises:
        CannotServeError: When there is no room for what it counts.
    """
    if settings.port is None:
        return None
    directory = Path(os.environ[DIRECTORY])
    try:
        take_room(directory, os.getpid())
    except OSError as error:
        raise CannotServeError(f"metrics: {directory}: {error.strerror}") from None
    return Metrics(CollectorRegistry())


@contextlib.contextmanager
def _served(settings: MetricsSettings, registry: CollectorRegistry) -> Iterator[None]:
    try:
        port, stop = serve(registry, host=settings.host, port=settings.port or 0)
    except OSError as error:
        where = f"{in_url(settings.host)}:{settings.port}"
        raise CannotMeasureError(
            f"metrics: {where}: {error.strerror}; choose another `metrics.host` or "
            "`metrics.port`"
        ) from None
    log.info("imagegate.metrics", url=f"http://{in_url(settings.host)}:{port}/metrics")
    try:
        yield
    finally:
        stop()
