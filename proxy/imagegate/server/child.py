"""What the parent of several processes knows of one of them.

Over a pipe a child says in single bytes how far it is, and that its loop turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from imagegate import log

SERVES: Final = b"1"
TAKEN: Final = b"+"
"""News were put in force."""
NOT_TAKEN: Final = b"-"
"""They could not be, and the child has what it had."""
BEAT: Final = b"."
"""The loop turns: said again and again, from when it serves to its end."""
WHERE: Final = b"\n"
"""A line without news asks a child whose loop hangs where that is."""
BEAT_SECONDS = 1.0
HUNG_BEATS = 60
"""So many in a row may be missing. A minute is what the unit of systemd and the chart
give one process; a disk that stands still for less costs nobody his stream."""


class Child:
    """One process, and how far it is.

    Attributes:
        process: The process.
        serves: It has said so.
        late: It had not within its time, and was killed for that.
        silent: It will say nothing more.
        beats_missed: How often it was looked at since its loop last turned.
        given: The versions that it was given, and has not answered.
        newest: The last of all that it was given.
        version: The last of those that it has in force.
        feeding: What gives them to it.
    """

    feeding: asyncio.Future[None]

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reading: int,
        note: Callable[[], None],
    ) -> None:
        """Listen to it.

        Args:
            process: The process.
            reading: The end of a pipe from which to hear of it.
            note: Called whenever it has said something new.
        """
        self.process = process
        self.serves = self.late = self.silent = False
        self.beats_missed = 0
        self.given: deque[int] = deque()
        self.newest = self.version = -1
        self._reading = reading
        self._note = note
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(reading, self._hear)

    @property
    def hung(self) -> bool:
        """Whether its loop did not turn for too long."""
        return self.beats_missed > HUNG_BEATS

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def look(self) -> None:
        """End it if its loop hangs, and before let it say where.

        Looks are counted, and not seconds: while this process is held up as well, be
        it by a machine that sleeps, nobody looks.
        """
        self.beats_missed += 1
        if self.beats_missed == HUNG_BEATS:
            log.error("imagegate.worker_hung", pid=self.process.pid)
            cast(asyncio.StreamWriter, self.process.stdin).write(WHERE)
        elif self.hung:
            self.signal(signal.SIGKILL)

    def forget(self) -> None:
        """Hear nothing more, and give it nothing more."""
        self._loop.remove_reader(self._reading)
        self.silent = True
        self.feeding.cancel()

    def _hear(self) -> None:
        """Take what it says: that it turns, that it serves, what it has in force."""
        said = os.read(self._reading, 1024)
        if not said:
            self._loop.remove_reader(self._reading)
            self.silent = True
            self._note()
        for each in (said[n : n + 1] for n in range(len(said))):
            if each == BEAT:
                self.beats_missed = 0
            else:
                self._take(each)

    def _take(self, said: bytes) -> None:
        if said == SERVES:
            self.serves = True
        version = self.given.popleft() if self.given else self.version
        if said != NOT_TAKEN:
            self.version = version
        self._note()
