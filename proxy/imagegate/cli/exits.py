"""What the exit codes mean; they are part of the interface."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """How a command ended."""

    FINE = 0
    FAILED = 1
    """A policy does not do what was asked: a case differs, or a warning counts."""
    USAGE = 2
    """The command was called wrongly, a setting is wrong, or a file cannot be read."""
    INVALID = 3
    """A policy file cannot be used."""
    DOWN = 4
    """The gateway cannot serve: its address is taken, or its workers do not live."""
