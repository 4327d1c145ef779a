"""Telling systemd how it goes, as `sd_notify(3)` has it; without it, nothing is told.

A unit of `Type=notify-reload` is started when it serves, and `systemctl reload` returns
when every worker has what is new. With `WatchdogSec=` it is restarted when its loop
hangs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

_WORDS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_MICRO: Final = 1_000_000
_NANO_IN_MICRO: Final = 1_000


class Notify:
    """Where a service manager listens, if there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find out where it listens, and how often it wants to hear."""
        address = environ.get("NOTIFY_SOCKET", "")
        # `@` stands for the zero byte of an address that is no file.
        self._address = "\0" + address[1:] if address[:1] == "@" else address
        self.watchdog_seconds = _watchdog(environ) if address else None
        self._beat = 0.0

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Notify:
        """Take the words out of an environment: children have nothing to tell."""
        words = {name: environ.pop(name, "") for name in _WORDS}
        return cls(words)

    def ready(self, status: str = "") -> None:
        """Say that it serves, or that a reload is done."""
        self._tell("READY=1", *([f"STATUS={status}"] if status else []))

    def status(self, status: str) -> None:
        """Say what `systemctl status` shows."""
        self._tell(f"STATUS={status}")

    def reloading(self) -> None:
        """Say that files are looked at; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // _NANO_IN_MICRO
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that it takes nothing new."""
        self._tell("STOPPING=1")

    def beat(self) -> None:
        """Say that the loop turns, twice in the time after which it counts as hung."""
        if self.watchdog_seconds is None:
            return
        now = time.monotonic()
        if now - self._beat >= self.watchdog_seconds / 2:
            self._beat = now
            self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> None:
        if not self._address:
            return
        # A manager that does not listen is no reason to stop.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending,
        ):
            sending.settimeout(1)
            sending.sendto("\n".join(words).encode(), self._address)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return after how many seconds of silence it counts as hung, if it is watched."""
    micro, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not micro.isdecimal() or int(micro) == 0 or pid not in {"", str(os.getpid())}:
        return None
    return int(micro) / _MICRO
