"""Taking a request: who asks, and the body if this is a door where it is judged."""

from __future__ import annotations

from starlette.types import Receive, Scope

from imagegate.engine.body import Body
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.surface import Lost, Match
from imagegate.middleware.denial import NO_WEBSOCKET
from imagegate.middleware.headers import check_headers, tokens, values
from imagegate.middleware.intake import read, take_body
from imagegate.middleware.setup import Setup


class Taking:
    """One request as it is taken; one use.

    Attributes:
        principal: Who asks, as soon as that is known.
        size: The bytes of the body as it came, as soon as it is whole.
    """

    def __init__(
        self, setup: Setup, scope: Scope, receive: Receive, door: Match | Lost
    ) -> None:
        self.principal: Principal = ANONYMOUS
        self.size: int | None = None
        self._setup = setup
        self._scope = scope
        self._receive = receive
        self._door = door

    @property
    def whole(self) -> bool:
        """Whether nothing of the request is left unread."""
        headers = self._scope["headers"]
        length, coding = "content-length", "transfer-encoding"
        announced = {*values(headers, length), *values(headers, coding)}
        return self.size is not None or announced <= {"0"}

    async def take(self) -> Body | None:
        """Take the head, and the body if it is judged.

        Raises:
            MalformedRequest: When it cannot be judged.
            Gone: When the client leaves.
        """
        headers, limits = self._scope["headers"], self._setup.limits
        check_headers(headers, limits)
        self.principal = await self._setup.identify(self._scope)
        if isinstance(self._door, Lost):
            return None
        if self._wants_websocket(self._door):
            raise NO_WEBSOCKET
        if not self._is_judged(self._door):
            return None
        data = await take_body(self._receive, headers, limits)
        self.size = len(data)
        return await read(data, headers, self._door.door, limits)

    def _wants_websocket(self, match: Match) -> bool:
        """Whether this is the offer of a WebSocket that is not served here."""
        if self._scope["type"] == "websocket":
            return match.door.method == "WEBSOCKET"
        return offers_websocket(self._scope)

    def _is_judged(self, match: Match) -> bool:
        judged = self._setup.gate.decider.stance(match.door) == "enforce"
        return judged and match.door.reading != "none"


def offers_websocket(scope: Scope) -> bool:
    """Whether a request over HTTP offers to become a WebSocket."""
    return any(
        word.strip(" \t") == "websocket"
        for value in tokens(scope["headers"], "upgrade")
        for word in value.split(",")
    )
