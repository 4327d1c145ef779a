"""One response: what was asked, what it will come to, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imagegate.simulator.behaviour import Behaviour
from imagegate.simulator.counter import derived
from imagegate.simulator.dialect import Dialect
from imagegate.simulator.tools import Tools

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Run:
    """A response from its first event to its last, and as it is stored."""

    id: str
    created_at: int
    dialect: Dialect
    body: dict[str, Any]
    tools: Tools
    behaviour: Behaviour
    images: int
    status: Status
    polls: int = 0

    @property
    def background(self) -> bool:
        """Whether it goes on without a client."""
        return bool(self.body.get("background"))

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status not in {"queued", "in_progress"}

    @property
    def end(self) -> Literal["completed", "failed"]:
        """How it ends if nobody interferes."""
        failing = self.behaviour.error_at, self.behaviour.fail_at
        return "completed" if failing == (None, None) else "failed"

    def ident(self, prefix: str, index: int) -> str:
        """Return the id of an item of the output."""
        return f"{prefix}_{derived(f'{self.id}/{index}')}"

    def poll(self) -> None:
        """Get on by one step, which is what happens between two questions."""
        if self.over:
            return
        self.polls += 1
        self.status = self.end if self.polls >= self.behaviour.polls else "in_progress"
