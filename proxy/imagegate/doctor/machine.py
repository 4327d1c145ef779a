"""The machine: descriptors, processors, memory, core dumps, the kernel's backlog."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.server.descriptors import fewest, needed
from imagegate.server.listener import BACKLOG
from imagegate.settings import Settings

AREA: Final = "machine"
_WORKER: Final = 100_000_000
"""Bytes that a process takes, and what a few large bodies add, below."""
_BODIES: Final = 4
_GRANTS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where control groups of either version tell a container how much it may have."""
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def examine_machine(
    settings: Settings, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Look at what the machine grants."""
    yield from _descriptors(settings)
    yield from _processors(settings)
    yield from _memory(settings)
    yield from _dumps()
    yield from _backlog()
    named = [
        name for name in _PROXIES if environ.get(name) or environ.get(name.lower())
    ]
    if named:
        yield Finding(
            weight="advice",
            area=AREA,
            found=f"{', '.join(named)} is set, and the gateway does not follow it",
            better="say so in the settings if providers are behind a proxy",
        )


def _descriptors(settings: Settings) -> Iterator[Finding]:
    """Compare what the gateway may ask for with what its exchanges take."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    exchanges = settings.pool.connections * len(settings.upstreams)
    if hard != resource.RLIM_INFINITY and hard < needed(exchanges):
        starts = hard >= fewest(settings.listen.connections)
        yield Finding(
            weight="danger" if starts else "broken",
            area=AREA,
            found=f"a process may have {hard:,} descriptors; {exchanges:,} exchanges "
            f"at once need {needed(exchanges):,}",
            better="raise it (LimitNOFILE=, ulimit -n), or lower `pool.connections`",
        )
    else:
        yield Finding(weight="fine", area=AREA, found=f"{hard:,} descriptors a process")


def _processors(settings: Settings) -> Iterator[Finding]:
    granted, workers = len(os.sched_getaffinity(0)), settings.listen.workers
    if workers > granted:
        yield Finding(
            weight="advice",
            area=AREA,
            found=f"{workers} workers share {granted} processors",
            better=f"`listen.workers = {granted}` does the same work in less memory",
        )


def _memory(settings: Settings) -> Iterator[Finding]:
    granted = _granted_memory()
    body = 2 * settings.limits.body  # as it came, and as it goes on
    needed = settings.listen.workers * (_WORKER + _BODIES * body)
    if granted is not None and granted < needed:
        yield Finding(
            weight="danger",
            area=AREA,
            found=f"{granted / 1e6:,.0f} MB of memory; {_BODIES} bodies at their limit "
            f"in each worker take up to {needed / 1e6:,.0f} MB",
            better="grant more, or lower `limits.body` or `listen.workers`",
        )


def _granted_memory() -> int | None:
    """Return what the control group grants, or what the machine has if that is less."""
    granted = []
    for file in _GRANTS:
        with contextlib.suppress(OSError, ValueError):  # `max`, where there is no limit
            granted.append(int(file.read_text()))
    with contextlib.suppress(OSError, ValueError):
        granted.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(granted, default=None)


def _dumps() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if soft != 0:
        yield Finding(
            weight="danger",
            area=AREA,
            found="a crash may leave a core dump, with prompts and keys in it",
            better="LimitCORE=0, or ulimit -c 0",
        )


def _backlog() -> Iterator[Finding]:
    try:
        most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return
    if most < BACKLOG:
        yield Finding(
            weight="advice",
            area=AREA,
            found=f"the kernel lets {most:,} connections wait; the gateway asks for "
            f"{BACKLOG:,}",
            better=f"sysctl net.core.somaxconn={BACKLOG}",
        )
