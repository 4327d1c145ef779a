"""One worker: `python -m imagegate.gateway.worker SOCKET STATUS`, started by a parent.

Settings come as one line on standard input, and what holds today as the next. That
stays open for as long as the parent lives; each further line is what holds from then
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Final

from imagegate import log
from imagegate.gateway.assemble import CannotServeError, assemble, server_of
from imagegate.gateway.measure import metrics_of_worker
from imagegate.gateway.plan import Live, Plan, decode_news, decode_settings
from imagegate.metrics import Metrics
from imagegate.server.child import BEAT, BEAT_SECONDS, NOT_TAKEN, SERVES, TAKEN

_PIECE: Final = 65_536


def run(said: int, listening: int, status: int) -> None:
    """Serve on a socket; write down how far it is."""
    # The parent sees to a hang-up; it kept them away until here.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    os.set_blocking(status, False)
    lines = lines_of(said)
    settings, news = decode_settings(next(lines)), decode_news(next(lines))
    live = Live(Plan(settings=settings, news=news))
    metrics = metrics_of_worker(settings.metrics)
    app = assemble(settings, live, os.environ, metrics)
    server = server_of(settings, app, metrics)

    def started() -> None:
        _say(status, SERVES)
        beat(status)

    server.on_started = started

    main = threading.get_ident()

    def follow() -> None:
        for line in lines:
            if line:
                _say(status, TAKEN if taken(line, live, metrics) else NOT_TAKEN)
            else:
                log.error("imagegate.worker_hung_here", **log.place_now(main))
        server.should_exit = True  # as the parent has ended

    threading.Thread(target=follow, daemon=True).start()
    server.run_until_told(socket.socket(fileno=listening))


def taken(line: bytes, live: Live, metrics: Metrics | None) -> bool:
    """Put news in force; tell whether that was possible."""
    try:
        if live.apply(decode_news(line)) and metrics is not None:
            metrics.loaded()
    except Exception as error:  # noqa: BLE001 - it goes on with what it has, and says so
        log.error("imagegate.reload_failed_here", **log.place_of(error))
        return False
    return True


def lines_of(descriptor: int) -> Iterator[bytes]:
    """Yield what comes line by line, until the other end is closed.

    Without a buffer of the interpreter's: its lock, held by a thread, would be in the
    way when that ends.
    """
    begun: list[bytes] = []
    while piece := os.read(descriptor, _PIECE):
        first, *others = piece.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]


def beat(status: int) -> None:
    """Say that the loop turns, from now on and to its end."""
    _say(status, BEAT)
    asyncio.get_running_loop().call_later(BEAT_SECONDS, beat, status)


def _say(status: int, what: bytes) -> None:
    # The parent has ended, or is stopped and has not listened for half a day.
    with contextlib.suppress(BrokenPipeError, BlockingIOError):
        os.write(status, what)


if __name__ == "__main__":
    try:
        run(sys.stdin.fileno(), int(sys.argv[1]), int(sys.argv[2]))
    except CannotServeError as error:
        log.error("imagegate.worker_cannot_serve", reason=str(error))
        sys.exit(1)
