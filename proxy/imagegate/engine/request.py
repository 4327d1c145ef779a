"""What is decided about: a request, who asks, and when."""

from __future__ import annotations

import datetime

import msgspec

from imagegate.engine.body import Body
from imagegate.engine.decision import Decision
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.quota import NOWHERE, Standing
from imagegate.engine.surface import Match

_SILENT_GROUPS = ("compact", "input_tokens")
_BEGINNING = "response.create"
MESSAGES = (_BEGINNING, "response.steer", "response.inject")
"""The messages of a WebSocket that can be judged."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided about: the request, who asks, and when.

    Attributes:
        match: The door, and what its path says.
        body: The body as it was read; None where the door takes none.
        headers: Those that matter, in lower case, duplicates kept.
        query: As it came, without the question mark.
        principal: Who asks.
        date: Today, for exceptions that end.
        seen: The ids of conversations, responses and items that this gateway has
            judged for this principal.
        standing: Where the counters stand that quotas are held against.
        staged: What was decided on the lines of the batch file that it uploads.
    """

    match: Match
    date: datetime.date
    body: Body | None = None
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    principal: Principal = ANONYMOUS
    decision_id: str = ""
    seen: frozenset[str] = frozenset()
    standing: Standing = NOWHERE
    staged: Decision | None = None

    @property
    def is_message(self) -> bool:
        """Whether it came on a WebSocket."""
        return self.match.door.method == "WEBSOCKET"

    @property
    def message_type(self) -> str | None:
        """The type that the body names, as messages do."""
        kind = None if self.body is None else self.body.get("type")
        return None if kind is None else kind.text()

    @property
    def begins(self) -> bool:
        """Whether it begins a response, and does not add to one."""
        return not self.is_message or self.message_type == _BEGINNING

    @property
    def is_answered(self) -> bool:
        """Whether a model answers, and so may call tools."""
        door = self.match.door
        return door.reading == "responses" and door.group not in _SILENT_GROUPS
