"""`imagegate serve` whose processes hang when they are told to, for tests."""

from __future__ import annotations

import signal
import sys
import time

from imagegate.cli import main
from imagegate.gateway import run, worker
from imagegate.server import child, workers

OFTEN = 0.1


def hang(*_: object) -> None:
    time.sleep(600)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, hang)
    if sys.argv[1] == "worker":
        vars(worker).update(BEAT_SECONDS=OFTEN)
        worker.run(sys.stdin.fileno(), int(sys.argv[2]), int(sys.argv[3]))
    else:
        vars(workers).update(BEAT_SECONDS=OFTEN)
        child.HUNG_BEATS = 40
        run.WORKER = (sys.executable, __file__, "worker")
        main()
