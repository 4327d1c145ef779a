"""Whom a reload is told of: the metrics, and the service manager."""

from __future__ import annotations

from collections.abc import Iterable

from imagegate.gates import Gates
from imagegate.gates.checking import told_of
from imagegate.gates.watched import Observer, Told
from imagegate.gateway.plan import CANDIDATE, POLICY
from imagegate.metrics import Reloads
from imagegate.server.notify import Notify


class Reports(Observer):
    """Tells of reloads, in the process that watches."""

    def __init__(self, notify: Notify, reloads: Reloads | None, gates: Gates) -> None:
        """Say what holds at the beginning."""
        self._notify = notify
        self._reloads = reloads
        self._status: dict[str, str] = {}
        self._stale: tuple[str, ...] = ()
        edition = gates.current
        for role, gate in ((POLICY, edition.gate), (CANDIDATE, edition.candidate)):
            if gate is not None:
                self._hold(role, told_of(gate.policy))

    def started(self) -> None:
        """Take word that it serves."""
        self._notify.ready(self._said())

    def loaded(self, name: str, told: Told) -> None:
        """Take word that a text was put in force."""
        if name in {POLICY, CANDIDATE}:
            self._hold(name, told)
        if self._reloads is not None:
            self._reloads.loaded(name)

    def failed(self, name: str) -> None:
        """Take word that a text could not be used."""
        if self._reloads is not None:
            self._reloads.failed(name)

    def stale(self, names: Iterable[str]) -> None:
        """Take word of what is older than its file, whenever something was read."""
        self._stale = tuple(names)
        self._notify.status(self._said())
        if self._reloads is not None:
            self._reloads.stale(self._stale)

    def asked(self) -> None:
        """Take word that somebody asked for a look."""
        self._notify.reloading()

    def answered(self) -> None:
        """Take word that everything that was asked for is done."""
        self._notify.ready(self._said())

    def _hold(self, role: str, told: Told) -> None:
        self._status[role] = f"{role} {told['policy']} {told['digest'][:12]}"
        if self._reloads is not None:
            self._reloads.holds(role, told)

    def _said(self) -> str:
        held = ", ".join(self._status.values())
        return f"{held}; stale: {', '.join(self._stale)}" if self._stale else held
