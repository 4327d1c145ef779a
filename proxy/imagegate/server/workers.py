"""Several processes on one socket, and a parent that sees to them.

The parent has checked everything and holds the socket; each child is started anew,
not forked, and gets its plan over a pipe. That pipe stays open: when it ends, the
parent is gone, however it went, and the child ends too.
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

START_SECONDS = 60.0
STABLE_SECONDS = 60.0
"""A child that served so long did not die of its start."""
ATTEMPTS = 3
"""Starts in a row that may fail before the parent gives up."""
LONGEST_PAUSE = 30.0
LAST_SECONDS = 5.0
"""Beyond the grace of its streams, what a child may take to end."""


class CannotStartError(Exception):
    """Children die before they serve."""


class Workers:
    """The children of one parent; one use."""

    def __init__(  # noqa: PLR0913 - what children are made of
        self,
        command: Sequence[str],
        *,
        plan: bytes,
        listening: socket.socket,
        count: int,
        grace: float,
        on_started: Callable[[], None],
        on_ended: Callable[[int], None] = lambda _: None,
        pause: float = 0.5,
    ) -> None:
        """Describe the children.

        Args:
            command: Starts one; the numbers of two descriptors are added: the socket,
                and a pipe into which it writes a byte when it serves.
            plan: One line, given to each on its standard input.
            listening: The socket that they share.
            count: How many.
            grace: Seconds that a child gets to end.
            on_started: Called once, when all of them serve.
            on_ended: Called with the number of each process that has ended.
            pause: Seconds before a child that died is replaced; more each time.
        """
        self._command = command
        self._plan = plan
        self._listening = listening
        self._count = count
        self._grace = grace
        self._on_started = on_started
        self._on_ended = on_ended
        self._pause = pause
        self._waiting = count
        self._stopping = asyncio.Event()
        self._children: set[asyncio.subprocess.Process] = set()

    async def run(self) -> bool:
        """Keep the children running until a signal comes; tell whether all ended well.

        Raises:
            CannotStartError: When a child dies at its start, again and again.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, number)
        try:
            async with asyncio.TaskGroup() as tasks:
                kept = [tasks.create_task(self._keep()) for _ in range(self._count)]
        except ExceptionGroup as group:
            await self._end_all()
            for error in group.exceptions:
                if not isinstance(error, CannotStartError):
                    log.error("imagegate.unexpected", **log.place_of(error))
            raise CannotStartError from None
        return all(task.result() for task in kept)

    def stop(self, number: int) -> None:
        """Pass a signal on; a second one too, which makes a child hurry."""
        self._stopping.set()
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)

    async def _keep(self) -> bool:
        """Keep one child running; tell whether the last one ended well."""
        failures, pause, first = 0, self._pause, True
        while True:
            began = time.monotonic()
            child, ready = await self._start()
            if ready and first:
                first = False
                self._one_serves()
            code = await self._watch(child)
            self._children.discard(child)
            self._on_ended(child.pid)
            if self._stopping.is_set():
                # One that did not serve yet has nobody to see off.
                return code == 0 or not ready
            failures = 0 if ready else failures + 1
            if failures == ATTEMPTS:
                raise CannotStartError
            if time.monotonic() - began > STABLE_SECONDS:
                pause = self._pause
            how, rest = _how(code), pause
            pause = min(2 * pause, LONGEST_PAUSE)
            log.error("imagegate.worker_died", pid=child.pid, **how, again_in=rest)
            if await self._stopped_within(rest):
                return True

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

    async def _start(self) -> tuple[asyncio.subprocess.Process, bool]:
        """Start a child and wait until it serves, or does not."""
        with _pipe() as (reading, writing):
            child = await asyncio.create_subprocess_exec(
                *self._command,
                str(self._listening.fileno()),
                str(writing),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(self._listening.fileno(), writing),
                # Ctrl-C is for the parent; it passes it on.
                process_group=0,
            )
            os.close(writing)
            self._children.add(child)
            if self._stopping.is_set():
                child.terminate()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await _hand_over(child, self._plan)
                    return child, await _byte(reading)
            except TimeoutError:
                child.kill()
                return child, False

    async def _watch(self, child: asyncio.subprocess.Process) -> int:
        """Wait for a child's end; when all are to end, not for ever."""
        ended = asyncio.create_task(child.wait())
        told = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        try:
            async with asyncio.timeout(self._grace + LAST_SECONDS):
                return await asyncio.shield(ended)
        except TimeoutError:
            child.kill()
            return await ended

    async def _end_all(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        await asyncio.gather(*(child.wait() for child in self._children))


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe; who closes the writing end sees to that alone."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


async def _hand_over(child: asyncio.subprocess.Process, plan: bytes) -> None:
    stdin = cast(asyncio.StreamWriter, child.stdin)  # it was asked for
    with contextlib.suppress(ConnectionError):
        stdin.write(plan + b"\n")
        await stdin.drain()


async def _byte(reading: int) -> bool:
    """Wait for a byte; False when the other end was closed without one."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(reading, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(reading)
    return os.read(reading, 1) != b""


def _how(code: int) -> dict[str, object]:
    return {"signal": signal.Signals(-code).name} if code < 0 else {"exit_code": code}
