"""One file that may change while the program runs: noticed, read whole, and checked.

What counts is what its name leads to, so that a file written in place, one renamed
over another, and a link that is turned to another folder (as Kubernetes does with a
ConfigMap) are all seen. It is read when it has kept still for a moment, and read again
when it moved meanwhile: who writes in place would otherwise be read half, and half a
policy may be a policy too. What cannot be used is said, once, and what held before
holds. Where a container mounts a single file, its name goes on to lead to what was
replaced outside: that is said as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from imagegate import log
from imagegate.named_file import open_at_once
from imagegate.policyfile import MAX_BYTES

SETTLE = 0.25
"""Seconds that a file has to keep still before it is read."""
PATIENCE = 5.0
"""Seconds after which one that never does is read all the same."""
SHOWN: Final = 20
"""Problems of one file in one line of the log."""

Told: TypeAlias = Mapping[str, str]
"""What the log tells of a text that can be used, such as its digest."""


class UnusableError(Exception):
    """A text cannot be used.

    Attributes:
        problems: All that is wrong with it, each with its place and what would be
            right.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is watched.

    Attributes:
        file: Where it is.
        check: Says what is to be told of a text, or raises `UnusableError`; it is
            called from the thread that watches.
        live: It can be put in force while the program runs; else the log says that
            it takes a restart, where there is something to tell.
        most: More bytes than these are not read.
        admit: Says what is wrong with the file itself, if anything is.
    """

    file: Path
    check: Callable[[bytes], Told]
    live: bool = True
    most: int = MAX_BYTES + 1
    admit: Callable[[os.stat_result], str | None] = lambda _: None


class Observer:
    """What is told of single files, for metrics; nothing is done about it here."""

    def loaded(self, name: str, told: Told) -> None:
        """Take word that a text was put in force."""

    def failed(self, name: str) -> None:
        """Take word that a text could not be used."""

    def asked(self) -> None:
        """Take word that somebody asked for a look."""

    def answered(self) -> None:
        """Take word that everything that was asked for is done."""


class Watched:
    """One file.

    Attributes:
        text: The last one that could be used.
        problems: What is wrong with the newest one.
        waiting: It has changed, and is not read yet.
    """

    def __init__(self, name: str, source: Source, text: bytes) -> None:
        self.source = source
        self.text = text
        self.problems: tuple[str, ...] = ()
        self.waiting = False
        self._name = name
        self._refused: bytes | None = None
        self._asked = self._linked = False
        self._seen: _Signature = _NEVER
        self._read: _Signature = _NEVER
        self._changed = self._began = 0.0

    def ask(self) -> None:
        """Have it read at the next look, whether it seems to have changed or not."""
        self._asked = True

    def moved(self, observer: Observer) -> bool:
        """Look at the file; tell whether what holds, or what is stale, is another."""
        if not self._is_due():
            return False
        began, self._read, asked = self._seen, self._seen, self._asked
        self.waiting = self._asked = False
        before = self.text, bool(self.problems)
        try:
            text = self._text_of(began)
            if text is None:
                self._read, self.waiting, self._asked = _NEVER, True, asked
                return False
            if text != self.text:
                self._take(text, observer, asked=asked)
            elif self.problems:
                self._mended()
            elif asked:
                log.info("imagegate.unchanged", what=self._name, file=self._file)
        except OSError as error:
            self._refuse(None, (f"{self._file}: {error.strerror}",), observer, asked)
        except UnusableError as error:
            self._refuse(None, error.problems, observer, asked)
        return (self.text, bool(self.problems)) != before

    def _is_due(self) -> bool:
        """Tell whether it is to be read: it was asked for, or changed, and rests."""
        now, seen = time.monotonic(), _signature(self.source.file)
        if seen != self._seen:
            if not self.waiting:
                self._began = now
            self._seen, self._changed = seen, now
        self.waiting = self._asked or seen != self._read
        rests = now - self._changed >= SETTLE or now - self._began >= PATIENCE
        return self.waiting and rests

    @property
    def _file(self) -> str:
        return str(self.source.file)

    def _text_of(self, began: _Signature) -> bytes | None:
        """Read the file; None when it moved meanwhile."""
        with open(self.source.file, "rb", opener=open_at_once) as opened:
            found = os.fstat(opened.fileno())
            problem = self._why_left_behind(found, began) or self.source.admit(found)
            if problem is not None:
                raise UnusableError(problem)
            text = opened.read(self.source.most)
            return text if _signed(os.fstat(opened.fileno())) == began else None

    def _why_left_behind(self, found: os.stat_result, began: _Signature) -> str | None:
        """Say so when no folder has the file any more; some never had it in one."""
        self._linked = self._linked or found.st_nlink > 0
        if not self._linked or found.st_nlink or _signed(found) != began:
            return None
        return (
            f"{self._file}: it was replaced or deleted where it is mounted from, and "
            "what came after it is not seen here: mount its folder, not the file"
        )

    def _take(self, text: bytes, observer: Observer, *, asked: bool) -> None:
        if text == self._refused and not asked:
            return  # it was said
        try:
            told = self.source.check(text)
        except UnusableError as error:
            self._refuse(text, error.problems, observer, asked)
            return
        self.text, self.problems, self._refused = text, (), None
        if self.source.live:
            log.info("imagegate.reloaded", what=self._name, file=self._file, **told)
            observer.loaded(self._name, told)
        elif told:
            log.warning(
                "imagegate.restart_needed", what=self._name, file=self._file, **told
            )

    def _mended(self) -> None:
        """Take word that the file says again what holds."""
        self.problems, self._refused = (), None
        log.info("imagegate.usable_again", what=self._name, file=self._file)

    def _refuse(
        self,
        text: bytes | None,
        problems: tuple[str, ...],
        observer: Observer,
        asked: bool,  # noqa: FBT001 - private
    ) -> None:
        """Say what is wrong, unless it was said."""
        told = (text, problems) == (self._refused, self.problems)
        self._refused, self.problems = text, problems
        if told and not asked:
            return
        log.error(
            "imagegate.reload_failed",
            what=self._name,
            file=self._file,
            problems=problems[:SHOWN],
            problems_count=len(problems),
        )
        observer.failed(self._name)


_Signature: TypeAlias = tuple[int, int, int, int, int] | None
"""By what a change is noticed; None when there is no file."""
_NEVER: Final[_Signature] = (-1, -1, -1, -1, -1)


def _signature(file: Path) -> _Signature:
    try:
        return _signed(file.stat())
    except OSError:
        return None


def _signed(stat: os.stat_result) -> _Signature:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
