"""Taking a request: who asks, and the body if this is a door where it is judged."""

from __future__ import annotations

from starlette.types import Receive

from imagegate.engine.errors import Unidentified
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.surface import Lost, Match
from imagegate.middleware.asked import Asked
from imagegate.middleware.collecting import take_body
from imagegate.middleware.denial import NO_WEBSOCKET
from imagegate.middleware.intake import Read, read
from imagegate.middleware.load import Carried
from imagegate.middleware.setup import Setup, nobody


class Taking:
    """One request as it is taken; one use.

    Attributes:
        principal: Who asks, as soon as that is known.
        size: The bytes of the body as it came, as soon as it is whole.
    """

    def __init__(
        self, setup: Setup, asked: Asked, receive: Receive, carried: Carried
    ) -> None:
        self.principal: Principal = ANONYMOUS
        self.size: int | None = None
        self._setup = setup
        self._asked = asked
        self._receive = receive
        self._carried = carried

    @property
    def whole(self) -> bool:
        """Whether nothing of the request is left unread."""
        head = self._asked.head
        said = head.get("content-length")
        # Only in HTTP/1 does a head without a length say that there is no body.
        bare = self._asked.scope.get("http_version", "1.1").startswith("1")
        none = said == ["0"] or (bare and not said and "transfer-encoding" not in head)
        return self.size is not None or none

    async def take(self) -> Read | None:
        """Take the head, and the body if it is judged.

        Raises:
            MalformedRequest: When it cannot be judged.
            Gone: When the client leaves.
        """
        asked, limits = self._asked, self._setup.limits
        asked.head.check(limits)
        await self._identify()
        self._carried.of(self.principal)
        await self._setup.load.turn()
        if isinstance(asked.door, Lost):
            return None
        if self._is_unserved():
            raise NO_WEBSOCKET.again()
        if not self._is_judged(asked.door):
            return None
        data = await take_body(self._receive, asked, limits, self._carried)
        self.size = len(data)
        return await read(data, asked.head, asked.door, limits, self._carried)

    async def _identify(self) -> None:
        try:
            self.principal = await self._setup.identify(self._asked.scope)
        except Unidentified as error:
            self.principal = nobody(error)
            raise

    def _is_unserved(self) -> bool:
        """Whether a WebSocket is asked for that the server has not made one."""
        asked = self._asked
        return asked.for_websocket and asked.scope["type"] != "websocket"

    def _is_judged(self, match: Match) -> bool:
        judged = self._setup.gate.decider.stance(match.door) == "enforce"
        # Of a WebSocket the messages are judged, each on its own.
        bodied = match.door.reading != "none" and match.door.method != "WEBSOCKET"
        return judged and bodied
