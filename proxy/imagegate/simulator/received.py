"""What came in, kept for whoever tests."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(slots=True, kw_only=True)
class Received:
    """One request as it arrived, and what became of its answer.

    `outcome` is `finished`, `cut` (as ordered), or `left` when the client closed the
    connection first. `ended` is set then, and can be waited for in any thread: a
    client may have read the whole answer a moment before.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    status: int | None = None
    sent: int = 0
    outcome: Literal["running", "finished", "cut", "left"] = "running"
    ended: threading.Event = field(default_factory=threading.Event)
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def header(self, name: str) -> str | None:
        """Return a header; of several with one name, the first."""
        return next((value for key, value in self.headers if key == name), None)

    def note(self, body: bytes) -> None:
        """Count bytes that were sent."""
        self.sent += len(body)
        self._digest.update(body)

    def end(self, outcome: Literal["finished", "cut", "left"]) -> None:
        """Close the record."""
        self.outcome = outcome
        self.ended.set()

    @property
    def sha256(self) -> str:
        """What was sent, as the hex digest of the body."""
        return str(self._digest.hexdigest())

    def as_json(self) -> dict[str, Any]:
        """Return it for the endpoint that shows requests."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body_base64": base64.b64encode(self.body).decode(),
            "status": self.status,
            "sent": self.sent,
            "sha256": self.sha256,
            "outcome": self.outcome,
        }


def text_headers(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield headers as text, in order, names in lower case."""
    for name, value in headers:
        yield name.decode("latin-1").lower(), value.decode("latin-1")
