"""One worker: `python -m imagegate.gateway.worker SOCKET STATUS`, started by a parent.

The plan comes as one line on standard input, which stays open for as long as the
parent lives.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import BinaryIO

from imagegate.gateway.assemble import Plan, assemble, socket_limits_of
from imagegate.gateway.measure import metrics_of_worker
from imagegate.server.run import Server, server_for


def run(plans: BinaryIO, listening: int, status: int) -> None:
    """Serve on a socket; write a byte when it is so."""
    plan = Plan.decode(plans.readline())
    settings = plan.settings
    app = assemble(plan, os.environ, metrics_of_worker(settings.metrics))
    server = server_for(app, settings.listen, settings.head, socket_limits_of(settings))

    def started() -> None:
        os.write(status, b"1")
        os.close(status)

    server.on_started = started
    threading.Thread(target=_follow, args=(plans, server), daemon=True).start()
    server.run_until_told(socket.socket(fileno=listening))


def _follow(plans: BinaryIO, server: Server) -> None:
    """End when the parent has.

    Past the buffer of `plans`: its lock, held by a thread, would be in the way when
    the interpreter ends.
    """
    os.read(plans.fileno(), 1)
    server.should_exit = True


if __name__ == "__main__":
    run(sys.stdin.buffer, int(sys.argv[1]), int(sys.argv[2]))
