"""How a worker fared, for the log and for people."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

Loss: TypeAlias = Literal["died", "hung", "not_started"]

_SENDERS: Final[Mapping[int, str]] = {
    signal.SIGKILL: ", as the kernel does when memory runs out",
    signal.SIGSYS: ", as a filter of system calls does",
}


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """How one worker fared.

    Attributes:
        pid: Its number, if there was a process.
        served: It served.
        hung: It was killed as its loop did not turn.
        well: It ended by itself, without an error.
        event: What the log calls its end.
        told: What the log tells of it.
        said: How it failed to start, if it did.
    """

    pid: int | None = None
    served: bool = False
    hung: bool = False
    well: bool = False
    event: str = "imagegate.worker_died"
    told: Mapping[str, object]
    said: str

    @property
    def loss(self) -> Loss:
        """How it is counted, where it was not told to end."""
        if self.hung:
            return "hung"
        return "died" if self.served else "not_started"


def never_lived(program: str, error: OSError) -> Life:
    """Tell of a program that the system does not start."""
    return Life(
        event="imagegate.worker_not_started",
        told={"program": program, "error": error.strerror},
        said=f"could not be started: {program}: {error.strerror}; it is the Python "
        "that this gateway began with, which has to stay there for this user to "
        "execute, and there has to be room for another process",
    )


def lived(pid: int, code: int, *, served: bool, hung: bool, slow: float | None) -> Life:
    """Tell of a worker that has ended.

    Args:
        pid: Its number.
        code: As the system tells it: of a signal, the number below zero.
        served: It served.
        hung: It was killed as its loop did not turn.
        slow: It was killed as it did not serve within so many seconds.
    """
    how, said = _how(code)
    if slow is not None:
        said = f"did not serve within {slow:g} seconds, and were killed"
    return Life(
        pid=pid,
        served=served,
        hung=hung,
        well=code == 0,
        told={"pid": pid, **how},
        said=said,
    )


def _how(code: int) -> tuple[Mapping[str, object], str]:
    if code >= 0:
        said = f"ended at once, the last with code {code}: what it printed says why"
        return {"exit_code": code}, said
    name = signal.Signals(-code).name
    said = f"ended at once, the last by {name}{_SENDERS.get(-code, '')}"
    return {"signal": name}, said
