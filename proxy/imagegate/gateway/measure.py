"""The metrics of a gateway: of this process, or of its workers together."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from imagegate import log
from imagegate.metrics import Metrics, serve
from imagegate.metrics.port import DIRECTORY, forget, shared
from imagegate.settings import MetricsSettings


class CannotMeasureError(Exception):
    """The metrics' port cannot be had; one line says why."""


@contextlib.contextmanager
def measured_here(settings: MetricsSettings) -> Iterator[Metrics | None]:
    """Count in this process, and serve what was counted.

    Raises:
        CannotMeasureError: When the port cannot be had.
    """
    if settings.port is None:
        yield None
        return
    registry = CollectorRegistry()
    with _served(settings, registry):
        yield Metrics(registry)


@contextlib.contextmanager
def measured_in_workers(settings: MetricsSettings) -> Iterator[Callable[[int], None]]:
    """Let workers that are started from here count, and serve what they did.

    Yields what is to be told of each worker that has ended.

    Raises:
        CannotMeasureError: When the port cannot be had.
    """
    if settings.port is None:
        yield lambda _: None
        return
    with tempfile.TemporaryDirectory(prefix="imagegate-metrics-") as name:
        directory = Path(name)
        os.environ[DIRECTORY] = name
        try:
            with _served(settings, shared(directory)):
                yield lambda pid: forget(pid, directory)
        finally:
            del os.environ[DIRECTORY]


def metrics_of_worker(settings: MetricsSettings) -> Metrics | None:
    """Count in a worker; the parent serves it."""
    return None if settings.port is None else Metrics(CollectorRegistry())


@contextlib.contextmanager
def _served(settings: MetricsSettings, registry: CollectorRegistry) -> Iterator[None]:
    try:
        port, stop = serve(registry, host=settings.host, port=settings.port or 0)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise CannotMeasureError(f"metrics: {where}: {error.strerror}") from None
    log.info("imagegate.metrics", url=f"http://{settings.host}:{port}/metrics")
    try:
        yield
    finally:
        stop()
