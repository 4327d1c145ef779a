"""`imagegate serve` whose processes hang when they are told to, for tests."""

from __future__ import annotations

import signal
import sys
import time

from imagegate.cli import main
from imagegate.gateway import run, worker
from imagegate.server import child


def hang(*_: object) -> None:
    time.sleep(600)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, hang)
    if sys.argv[1] == "worker":
        worker.run(sys.stdin.fileno(), int(sys.argv[2]), int(sys.argv[3]))
    else:
        child.HUNG_BEATS = 3
        run.WORKER = (sys.executable, __file__, "worker")
        main()
