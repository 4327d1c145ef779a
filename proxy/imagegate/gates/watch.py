"""Watching files: about once a second, and at once when somebody asks.

All that changed together is handed on together: a file that keeps still waits for
one that does not yet.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

import msgspec

from imagegate import log
from imagegate.gates.watched import Observer, Source, Watched

EVERY = 1.0
"""Seconds between two looks; inotify is not there on every file system."""
PAUSE = 0.1
"""Seconds between two looks while a file has to come to rest."""
BREATH = 0.1
"""Seconds in which several who ask for a look get the same one."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What holds from now on.

    Attributes:
        texts: The last text of each file that could be used.
        stale: The names of those whose newest text could not.
    """

    texts: Mapping[str, bytes]
    stale: tuple[str, ...] = ()


class Watch:
    """A thread that watches files; to be used with `with`, once."""

    def __init__(  # noqa: PLR0913 - the last three have their use alone
        self,
        sources: Mapping[str, Source],
        texts: Mapping[str, bytes],
        on_news: Callable[[News], None],
        *,
        observer: Observer | None = None,
        every: float | None = None,
        bell: queue.SimpleQueue[None] | None = None,
    ) -> None:
        """Describe what is watched.

        Args:
            sources: The files, by the names that are told.
            texts: What each of them said when it was put in force.
            on_news: Puts a change in force; called from the thread.
            observer: Is told of single files.
            every: Seconds between two looks.
            bell: Whoever puts something into it asks for a look.
        """
        self._on_news = on_news
        self._observer = observer or Observer()
        self._every = every or EVERY
        self._watched = {
            name: Watched(name, source, texts[name]) for name, source in sources.items()
        }
        self._others = {k: v for k, v in texts.items() if k not in sources}
        # Whose `put` may be called by a signal handler, whatever it interrupted.
        self._bell: queue.SimpleQueue[None] = bell or queue.SimpleQueue()
        self._untold = False
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def look_now(self) -> None:
        """Ask for a look now; from any thread, and from a signal handler."""
        self._bell.put(None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._over = True
        self._bell.put(None)
        self._thread.join()

    def _run(self) -> None:
        asked = False
        while not self._over:
            try:
                busy = self._look()
            except Exception as error:  # noqa: BLE001 - it has to go on watching
                log.error("imagegate.unexpected", **log.place_of(error))
                busy = False
            if asked and not busy:
                self._observer.answered()
                asked = False
            if self._rang(PAUSE if busy else self._every):
                asked = True
                self._observer.asked()
                for each in self._watched.values():
                    each.ask()

    def _rang(self, seconds: float) -> bool:
        """Wait for a while; tell whether somebody asked meanwhile, however often."""
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return False
        if not self._over:
            time.sleep(BREATH)
        with contextlib.suppress(queue.Empty):
            while True:
                self._bell.get_nowait()
        return not self._over

    def _look(self) -> bool:
        """Look at every file; tell whether there is one that has to be waited for."""
        moved = [each for each in self._watched.values() if each.moved(self._observer)]
        self._untold |= any(each.source.live for each in moved)
        waiting = any(each.waiting for each in self._watched.values())
        if self._untold and not waiting:
            self._on_news(self._news())
            self._untold = False
        return waiting

    def _news(self) -> News:
        live = {n: each for n, each in self._watched.items() if each.source.live}
        texts = {name: each.text for name, each in live.items()}
        stale = tuple(name for name, each in live.items() if each.problems)
        return News(texts={**self._others, **texts}, stale=stale)
