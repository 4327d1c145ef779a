"""What blocks is done in the thread that waits anyway: the one that called the SDK.

A wrapped transport that is not asynchronous is so called where it would be called
without us: no pool of threads bounds how many exchanges there can be, and what the
thread knows (its context, its locals, Ctrl-C) holds. Nothing is done while that thread
does not wait, so nothing is read from a provider that nobody has asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")


class _Errand(NamedTuple):
    future: asyncio.Future[Any]
    work: Callable[[], Any]
    always: bool


class Errands:
    """What one exchange has for its thread to do.

    Args:
        loop: Where the exchange is, in another thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._waiting: deque[_Errand] = deque()
        self._leaving = False
        self._pid = os.getpid()

    @property
    def ours(self) -> bool:
        """Whether the loop runs in this process, which may have been forked since."""
        return self._pid == os.getpid()

    # -- on the loop ------------------------------------------------------------

    async def run(self, work: Callable[[], _T], *, always: bool = False) -> _T:
        """Have something done by the thread that waits, and return its result.

        Args:
            work: What to do.
            always: Even when nobody wants the answer any more. Else it is not done
                then, and whoever waits here is to be cancelled.
        """
        future: asyncio.Future[_T] = self._loop.create_future()
        with self._changed:
            self._waiting.append(_Errand(future, work, always))
            self._changed.notify_all()
        return await future

    # -- in the thread that waits -------------------------------------------------

    def until(self, what: Coroutine[Any, Any, _T]) -> _T:
        """Wait for something on the loop, and do what there is to do meanwhile.

        Raises:
            RuntimeError: In a fork, where nobody runs the loop.
        """
        if not self.ours:
            what.close()
            raise RuntimeError("the answer belongs to the process that asked for it")
        done = asyncio.run_coroutine_threadsafe(what, self._loop)
        done.add_done_callback(lambda _: self._notify())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or done.done())
                errand = self._waiting.popleft() if self._waiting else None
            if errand is None:
                return done.result()
            self._do(errand)

    def leave(self) -> None:
        """Do only what has to be done always."""
        self._leaving = True

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _do(self, errand: _Errand) -> None:
        if self._leaving and not errand.always:
            return
        result, failure = None, None
        try:
            result = errand.work()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            failure = error
        self._tell(self._settle, errand.future, result, failure)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what, *arguments)

    def _settle(
        self, future: asyncio.Future[Any], result: object, failure: Exception | None
    ) -> None:
        if future.done():
            self._let_go(result)
        elif failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)

    def _let_go(self, result: object) -> None:
        """Close what came too late for whoever waited for it."""
        close = getattr(result, "close", None)
        if close is not None:
            with self._changed:
                future = self._loop.create_future()
                self._waiting.append(_Errand(future, close, always=True))
                self._changed.notify_all()
