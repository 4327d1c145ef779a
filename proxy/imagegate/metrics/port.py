"""The metrics on a port of their own, of one process or of several.

Several workers share a directory of small mapped files, as prometheus_client has
it; whoever serves the port adds them up. The directory has to be named in
`PROMETHEUS_MULTIPROC_DIR` before a worker's first metric.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that makes metrics shared by processes."""

_KINDS: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemin")
"""What the files of a worker begin with: one for each way to add up."""
_ROOM: Final = 1 << 18
"""Bytes of each: several times what they take."""


def shared(directory: Path) -> CollectorRegistry:
    """Return a registry that adds up what the workers wrote to a directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry


def take_room(directory: Path, pid: int) -> None:
    """Take what the files of a worker need of the disk, before its first metric.

    The library would make them of holes, and the kernel kills whoever fills a hole of
    a mapped file while the disk is full (SIGBUS).

    Raises:
        OSError: When there is not so much.
    """
    for kind in _KINDS:
        with (directory / f"{kind}_{pid}.db").open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)


def forget(pid: int, directory: Path, *, served: bool) -> None:
    """Forget the gauges of a worker that ended; what it counted stays, if it served.

    One that cannot start is tried again and again, and each try begins files, which
    are all read whenever somebody looks.
    """
    mark_process_dead(pid, path=str(directory))  # type: ignore[no-untyped-call]
    if not served:
        for file in directory.glob(f"*_{pid}.db"):
            file.unlink()


def serve(
    registry: CollectorRegistry, *, host: str, port: int
) -> tuple[int, Callable[[], None]]:
    """Serve metrics from a thread.

    Returns:
        The port, which may have been chosen by the system, and what ends it.

    Raises:
        OSError: When the port cannot be had.
    """
    server, thread = start_http_server(port, addr=host, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return server.server_address[1], stop
