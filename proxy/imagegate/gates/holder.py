"""What holds now: one reference, which is replaced whole.

Whoever has a request to judge reads it once, at the beginning, and keeps what it
read: so a request sees one version of everything, whatever happens meanwhile. It may
be replaced from any thread.
"""

from __future__ import annotations

import msgspec

from imagegate.engine.gate import Gate


class Edition(msgspec.Struct, frozen=True, kw_only=True):
    """What requests are judged by, all of one version.

    Attributes:
        gate: The policy that acts.
        candidate: Another one that is decided and recorded beside it, and never acts.
    """

    gate: Gate
    candidate: Gate | None = None


class Gates:
    """Holds the edition that is in force.

    Attributes:
        current: The edition; to be read once for each request.
        stale: What could not be brought up to date, by the names that `/readyz` and
            the metrics tell: `policy`, `candidate`, `prices`. What held before holds.
    """

    def __init__(self, gate: Gate, *, candidate: Gate | None = None) -> None:
        self.current = Edition(gate=gate, candidate=candidate)
        self.stale: tuple[str, ...] = ()

    @classmethod
    def of(cls, gate: Gate | Gates) -> Gates:
        """Hold one that never changes, unless it is held already."""
        return gate if isinstance(gate, Gates) else cls(gate)

    def replace(self, gate: Gate, *, candidate: Gate | None = None) -> None:
        """Put another edition in force, from the next request on."""
        self.current = Edition(gate=gate, candidate=candidate)
