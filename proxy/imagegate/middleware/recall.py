"""What of the provider's state a request may refer to, and what it leaves there.

What a store cannot be asked is unseen, and so refused; what it cannot keep is unseen
later. Neither stops anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from imagegate import log
from imagegate.engine.body import Body
from imagegate.engine.exchange import Ruling
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import Settings
from imagegate.engine.request import Request
from imagegate.engine.sight import (
    UNSEEN,
    UNTOLD,
    knows_items,
    left_by,
    passes,
    refers_to,
)
from imagegate.engine.state import staged_name
from imagegate.middleware.setup import Setup
from imagegate.seen import Sight, SightLost, allowed, joined

_ANSWERS: Final = ("responses.create", "responses.connect", "agents.responses")
"""Doors whose answers are responses of the request's own making."""
_RETRIEVE: Final = "responses.retrieve"
_BEGINS: Final = "conversations.create"
_ADDS: Final = ("conversations.items.create", "conversations.update")
_MOST: Final = 64 * 1024


class _Made(msgspec.Struct):
    id: str


class Recall:
    """The memory of one request; one use.

    Attributes:
        listening: What the answer calls itself is wanted.
        staging: For which route a batch file is uploaded; empty for all else.
    """

    def __init__(self, setup: Setup, context: Context) -> None:
        self._store, self._key = setup.seen, setup.key
        self._gate = setup.gate
        self._context = context
        self._found: Mapping[str, Sight] = {}
        self._left: tuple[Settings, ...] | None = None
        self._answer: bytearray | None = None
        self.listening = False
        self.staging = ""

    async def look(self, body: Body | None) -> frozenset[str]:
        """Return the ids of state that this request may refer to."""
        match = self._context.match
        if match is None or body is None:
            return frozenset()
        request = self._context.asks(match, body)
        named = refers_to(self._gate.decider, request)
        if match.door.name in _ADDS:
            named = (match.params.get("conversation_id", ""),)
        if not named:
            return frozenset()
        self._found = await self._find(named)
        return _seen(self._gate, request, self._found)

    async def look_for(self, gate: Gate, request: Request) -> frozenset[str]:
        """Return the ids that the request could refer to under another policy."""
        named = refers_to(gate.decider, request)
        missing = tuple(name for name in named if name not in self._found)
        more = await self._find(missing) if missing else {}
        return _seen(gate, request, {**self._found, **more})

    @property
    def inherits(self) -> bool | None:
        """Whether what it refers to holds an image tool, as far as that is known."""
        found = self._found.values()
        return any(sight.tools for sight in found) if found else None

    async def decided(self, ruling: Ruling) -> None:
        """Take note of what the request leaves in the conversation that it is in."""
        match = self._context.match
        door = "" if match is None else match.door.name
        adds = door in _ADDS
        # Nobody has judged again what is in a conversation that is only added to.
        found = () if adds else self._found.values()
        self._left = left_by(ruling.record, (sight.tools for sight in found))
        references = ruling.record.references
        named = {x.id for x in references if x.kind == "conversation"}
        names = tuple(filter(None, named))
        left = Sight(self._rules(), (UNTOLD,) if self._left is None else self._left)
        if match is not None and adds and not ruling.record.inspected:
            # What an opened door lets in was judged by nobody.
            await self._keep((match.params["conversation_id"],), Sight("", (UNSEEN,)))
        elif adds:
            for name, known in self._found.items():
                # It may be forgotten by now, and must not be known by this alone.
                await self._keep((name,), joined(known, left))
        elif names:
            await self._keep(names, left)
        if self.staging:
            # Its lines say more than the tools in them: other rules ask for it anew.
            self._left = (UNTOLD,)
        if door == _BEGINS or self.staging:
            self._answer = bytearray()
        self.listening = self._answer is not None or door in _ANSWERS

    @property
    def reading(self) -> bool:
        """Whether it reads the name out of the answer itself, from every piece."""
        return self.listening and self._answer is not None

    async def read(self, piece: bytes, *, last: bool) -> None:
        """Take a piece of an answer that nobody else reads.

        Args:
            piece: The piece.
            last: Nothing follows.
        """
        if self._answer is None or not self.listening:
            return
        self._answer += piece
        self.listening = len(self._answer) <= _MOST
        name = _name_in(self._answer) if last and self.listening else None
        if name is not None:
            await self._named(staged_name(name, self.staging) if self.staging else name)

    async def take(self, response_id: str | None, items: tuple[str, ...]) -> None:
        """Take note of what was made, as soon as the answer says its name.

        Args:
            response_id: What the answer calls itself, if that is known by now.
            items: What the response is made of, once that is known.
        """
        if items:
            await self._take_items(items)
        if response_id is not None and self.listening and self._answer is None:
            await self._named(response_id)

    async def _named(self, name: str) -> None:
        self.listening = False
        await self._note(name)

    async def _take_items(self, items: tuple[str, ...]) -> None:
        """Let items be referred to by whom the response may be."""
        match = self._context.match
        if match is None or not knows_items(
            self._gate.decider, self._context.asks(match)
        ):
            return
        if match.door.name in _ANSWERS:
            await self._note(*items)
        elif match.door.name == _RETRIEVE:
            name = match.params["response_id"]
            sight = (await self._find((name,))).get(name)
            if sight is not None:
                await self._keep(items, sight)

    async def _find(self, named: tuple[str, ...]) -> Mapping[str, Sight]:
        names = {self._key(name): name for name in named}
        try:
            found = await self._store.find(self._context.principal, names)
        except SightLost as error:
            log.warning("imagegate.seen_not_asked", reason=str(error))
            return {}
        return {names[key]: sight for key, sight in found.items()}

    async def _note(self, *names: str) -> None:
        if names and self._left is not None:
            await self._keep(names, Sight(self._rules(), self._left))

    def _rules(self) -> str:
        return self._gate.rules_for(self._context.principal, self._context.date)

    async def _keep(self, names: tuple[str, ...], sight: Sight) -> None:
        keys = [*map(self._key, names)]
        try:
            await self._store.note(self._context.principal, keys, sight)
        except SightLost as error:
            log.warning("imagegate.seen_not_kept", reason=str(error))


def _seen(gate: Gate, request: Request, found: Mapping[str, Sight]) -> frozenset[str]:
    """Return the ids of what was found that a policy lets a request refer to."""

    def fit(tools: tuple[Settings, ...]) -> bool:
        return passes(gate.decider, request, tools)

    rules = gate.rules_for(request.principal, request.date)
    return allowed(found, rules, fit)


def _name_in(answer: bytearray) -> str | None:
    try:
        return msgspec.json.decode(answer, type=_Made).id
    except msgspec.MsgspecError:
        return None
