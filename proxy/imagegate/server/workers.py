"""Several processes on one socket, and a parent that sees to them.

The parent has checked everything and holds the socket; each child is started anew,
not forked, and gets two lines over a pipe: its plan, and what holds today. That pipe
stays open. A further line is what holds from now on; when the pipe ends, the parent is
gone, however it went, and the child ends too. A child that replaces another gets what
the others have, and never what is in a file that nobody has checked.

One whose loop hangs is killed, and replaced like any that dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from imagegate import log
from imagegate.server.child import BEAT_SECONDS, Child
from imagegate.server.lives import Life, lived, never_lived
from imagegate.server.signals import ENDS, let_through

LATE_SECONDS = 10.0
"""After which a child that has not taken news is said to be behind."""

START_SECONDS = 60.0
STABLE_SECONDS = 60.0
"""A child that served so long did not die of its start."""
ATTEMPTS = 3
"""Starts in a row that may fail. Then the parent gives up, unless another serves."""
LONGEST_PAUSE = 30.0
LAST_SECONDS = 5.0
"""Beyond the grace of its streams, what a child may take to end."""


class CannotStartError(Exception):
    """Children die before they serve; one line says how the last one did."""


class Workers:
    """The children of one parent; one use."""

    def __init__(  # noqa: PLR0913 - what children are made of
        self,
        command: Sequence[str],
        *,
        plan: bytes,
        news: bytes,
        listening: socket.socket,
        count: int,
        grace: float,
        on_started: Callable[[], None],
        on_lost: Callable[[Life], None] = lambda _: None,
        on_stopping: Callable[[], None] = lambda: None,
        pause: float = 0.5,
    ) -> None:
        """Describe the children.

        Args:
            command: Starts one; the numbers of two descriptors are added: the socket,
                and a pipe into which it writes how far it is.
            plan: One line, given to each on its standard input.
            news: The line behind it: what holds today.
            listening: The socket that they share.
            count: How many.
            grace: Seconds that a child gets to end.
            on_started: Called once, when all of them serve.
            on_lost: Called with the life of each that ended and was not told to.
            on_stopping: Called when all of them are told to end.
            pause: Seconds before a child that died is replaced; more each time.
        """
        self._command = command
        self._plan = plan
        self._news, self._version = news, 0
        self._listening = listening
        self._count = count
        self._grace = grace
        self._on_started = on_started
        self._on_lost = on_lost
        self._on_stopping = on_stopping
        self._pause = pause
        self._waiting = count
        self._stopping = asyncio.Event()
        self._moved = asyncio.Event()
        self._children: set[Child] = set()

    async def run(self) -> bool:
        """Keep the children running until a signal comes; tell whether all ended well.

        Raises:
            CannotStartError: When a child dies at its start, again and again, and no
                other one serves.
        """
        loop = asyncio.get_running_loop()
        for number in ENDS:
            loop.add_signal_handler(number, self.stop, number)
        let_through()
        try:
            async with asyncio.TaskGroup() as tasks:
                kept = [tasks.create_task(self._keep()) for _ in range(self._count)]
        except ExceptionGroup as group:
            await self._end_all()
            said = "the workers could not be kept running; the log says where it failed"
            for error in group.exceptions:
                if isinstance(error, CannotStartError):
                    said = str(error)
                else:
                    log.error("imagegate.unexpected", **log.place_of(error))
            raise CannotStartError(said) from None
        return all(task.result() for task in kept)

    def stop(self, number: int) -> None:
        """Pass a signal on; a second one too, which makes a child hurry."""
        if not self._stopping.is_set():
            self._on_stopping()
        self._stopping.set()
        self._note()
        for child in self._children:
            # One that only begins would answer SIGINT with a traceback.
            child.signal(number if child.serves else signal.SIGTERM)

    async def tell(self, news: bytes) -> bool:
        """Give every child news, and those that come later.

        Returns:
            Whether all that serve have put them in force, within some seconds.
        """
        self._news, self._version = news, self._version + 1
        version = self._version
        self._note()
        try:
            async with asyncio.timeout(LATE_SECONDS):
                while self._behind(version) and not self._stopping.is_set():
                    await self._moved.wait()
        except TimeoutError:
            pass
        behind = [] if self._stopping.is_set() else self._behind(version)
        for child in behind:
            log.warning("imagegate.worker_behind", pid=child.process.pid)
        return not behind

    def _behind(self, version: int) -> list[Child]:
        """Return the children that serve, and have something older in force."""
        return [
            child
            for child in self._children
            if child.serves and child.version < version
        ]

    def _note(self) -> None:
        """Wake those who wait for something to move."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def _keep(self) -> bool:
        """Keep one child running; tell whether the last one ended well."""
        failures, pause, first = 0, self._pause, True
        while True:
            began = time.monotonic()
            life = await self._live(first=first)
            first = first and not life.served
            if self._stopping.is_set():
                # One that did not serve yet has nobody to see off.
                return life.well or not life.served
            self._on_lost(life)
            failures = 0 if life.served else failures + 1
            if failures >= ATTEMPTS and not self._goes_on():
                raise CannotStartError(f"{failures} workers in a row {life.said}")
            if time.monotonic() - began > STABLE_SECONDS:
                pause = self._pause
            rest = pause
            pause = min(2 * pause, LONGEST_PAUSE)
            log.error(life.event, **life.told, again_in=rest)
            if await self._stopped_within(rest):
                return True

    async def _live(self, *, first: bool) -> Life:
        """Start a child and wait for its end."""
        with _pipe() as (reading, writing):
            try:
                child = await self._start(reading, writing)
            except OSError as error:
                return never_lived(self._command[0], error)
            try:
                served = await self._serves(child)
                if served and first:
                    self._one_serves()
                code = await self._watch(child)
            finally:
                child.forget()
        self._children.discard(child)
        self._note()
        return lived(
            child.process.pid,
            code,
            served=served,
            hung=child.hung,
            slow=START_SECONDS if child.late else None,
        )

    def _goes_on(self) -> bool:
        """Tell whether a gateway that has been serving still does, with fewer."""
        return not self._waiting and any(child.serves for child in self._children)

    def _one_serves(self) -> None:
        """Count those that never served yet; with the last of them all serve."""
        self._waiting -= 1
        if self._waiting == 0:
            self._on_started()

    async def _stopped_within(self, seconds: float) -> bool:
        told = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((told,), timeout=seconds)
        told.cancel()
        return self._stopping.is_set()

    async def _start(self, reading: int, writing: int) -> Child:
        """Start a child, which gets its lines as soon as it takes them."""
        # It knows what to do about a hang-up only when it is there.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(self._listening.fileno()),
                str(writing),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(self._listening.fileno(), writing),
                # Ctrl-C is for the parent; it passes it on.
                process_group=0,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            os.close(writing)
        child = Child(process, reading, self._note)
        child.feeding = asyncio.ensure_future(self._feed(child))
        self._children.add(child)
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)
        return child

    async def _feed(self, child: Child) -> None:
        """Give a child its plan, and then what holds, whenever that is another."""
        stdin = cast(asyncio.StreamWriter, child.process.stdin)  # it was asked for
        with contextlib.suppress(ConnectionError):
            stdin.write(self._plan + b"\n")
            while True:
                if child.newest < self._version:
                    child.given.append(self._version)
                    child.newest = self._version
                    stdin.write(self._news + b"\n")
                    await stdin.drain()
                else:
                    await self._moved.wait()

    async def _serves(self, child: Child) -> bool:
        """Wait until a child serves, or does not."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (child.serves or child.silent):
                    await self._moved.wait()
        except TimeoutError:
            child.late = True
            child.signal(signal.SIGKILL)
            log.error("imagegate.worker_late", pid=child.process.pid)
        return child.serves

    async def _watch(self, child: Child) -> int:
        """Wait for a child's end; when all are to end, not for ever."""
        ended = asyncio.create_task(child.process.wait())
        told = asyncio.create_task(self._stopping.wait())
        while not (ended.done() or told.done()):
            child.look()
            await asyncio.wait(
                (ended, told),
                timeout=BEAT_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        told.cancel()
        try:
            async with asyncio.timeout(self._grace + LAST_SECONDS):
                return await asyncio.shield(ended)
        except TimeoutError:
            child.signal(signal.SIGKILL)
            return await ended

    async def _end_all(self) -> None:
        for child in self._children:
            child.signal(signal.SIGKILL)
        await asyncio.gather(*(child.process.wait() for child in self._children))


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe; who closes the writing end sees to that alone."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
