"""One batch: what was asked for, how far it is, and what it has come to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]
_DAY = 86_400
_MOMENTS = (
    *("in_progress_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch from its first moment to its last.

    Attributes:
        output_seconds: After how many seconds its files are to expire.
        stopped: Set when somebody has asked for its end.
        work: What goes on in the background.
    """

    id: str
    created_at: int
    endpoint: str
    input_file_id: str
    metadata: dict[str, str] | None
    output_seconds: int | None
    status: Status = "validating"
    model: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None
    work: asyncio.Task[None] = field(init=False)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _moments: dict[str, int] = field(default_factory=dict)

    def turn(self, status: Status) -> None:
        """Enter another status, a second after the one before."""
        self.status = status
        self._moments[f"{status}_at"] = self.created_at + len(self._moments) + 1

    def fail(self, errors: list[dict[str, Any]]) -> None:
        """End without an answer to anything."""
        self.errors = errors
        self.turn("failed")

    def use(self, usage: dict[str, Any]) -> None:
        """Add the tokens of an answer, which each API names in its own way."""
        self.input_tokens += usage.get("input_tokens", usage.get("prompt_tokens", 0))
        self.output_tokens += usage.get(
            "output_tokens", usage.get("completion_tokens", 0)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the Batch object."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.created_at + _DAY,
            **{moment: self._moments.get(moment) for moment in _MOMENTS},
            "request_counts": {
                "total": self.total,
                "completed": self.completed,
                "failed": self.failed,
            },
            "usage": {
                "input_tokens": self.input_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": self.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": self.input_tokens + self.output_tokens,
            },
            "metadata": self.metadata,
        }
