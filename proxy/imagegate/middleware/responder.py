"""A request up to the moment at which it goes on, or is refused."""

from __future__ import annotations

import asyncio
import datetime
import secrets
from collections.abc import Awaitable, Sequence
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from imagegate import log
from imagegate.audit import AuditUnavailableError
from imagegate.engine.batch import Judged
from imagegate.engine.decision import Forward, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Ended, Exchange, Ruling
from imagegate.engine.fingerprint import Fingerprints
from imagegate.engine.gate import Context
from imagegate.engine.quota import NOWHERE
from imagegate.engine.refusal import Refusal
from imagegate.engine.value import Pieces
from imagegate.middleware.asked import Asked, query_of
from imagegate.middleware.candidate import Candidate
from imagegate.middleware.collecting import Gone
from imagegate.middleware.conversation import Conversation
from imagegate.middleware.denial import (
    CLIENT_LEFT,
    FAILED,
    SHUTDOWN,
    deny,
    not_recorded,
)
from imagegate.middleware.headers import describing
from imagegate.middleware.intake import Read, stepwise
from imagegate.middleware.journal import Journal
from imagegate.middleware.line import DEPARTURE, Line
from imagegate.middleware.passage import Passage
from imagegate.middleware.paths import retold
from imagegate.middleware.recall import Recall
from imagegate.middleware.setup import Setup
from imagegate.middleware.taking import Taking
from imagegate.middleware.tally import Tally, tally_of
from imagegate.middleware.trace import trace_of

_UNHASHED: Final = Fingerprints()
_BODILESS: Final = frozenset({"GET", "DELETE"})


class Responder:
    """One request and its answer; one use.

    Args:
        setup: The middleware's parts.
        asked: The head of the request.
        receive: The server's.
        send: The server's.
    """

    def __init__(
        self, setup: Setup, asked: Asked, receive: Receive, send: Send
    ) -> None:
        self._setup = setup
        self._asked = asked
        self._scope = asked.scope
        self._receive = receive
        self._send = send
        self._journal = Journal(setup.audit, secrets.token_hex(16))
        self._carried = setup.load.carry()
        self._taking = Taking(setup, asked, receive, self._carried)
        self._recall: Recall | None = None  # of a request that was judged
        self._tally: Tally | None = None  # where it uses something up
        self._data: Pieces | None = None  # the body that goes on, if it was judged
        self._type: str | None = None  # of what type it is

    async def respond(self) -> None:
        """Judge the request, and see its answer through.

        While an image is made, for minutes, no frame here holds the body, which is
        kept in one place and given away from there, nor what was decided.
        """
        with self._carried:
            rest = await self._act()
            if rest is not None:
                await rest

    async def _act(self) -> Awaitable[None] | None:
        """Judge the request, and return what is to be awaited if it goes on."""
        try:
            exchange, ruling, how = await self._judged()
        except asyncio.CancelledError:
            await self._close_unread(SHUTDOWN)
            await self._undo()
            raise
        if ruling.refusal is None:
            return await self._admit(exchange, ruling)
        await self._refuse(exchange, ruling, how)
        return None

    # -- judging ----------------------------------------------------------------

    async def _judged(self) -> tuple[Exchange, Ruling, Ended]:
        """Take the request and decide on it; whatever goes wrong is a refusal."""
        fault = FAILED
        how: Ended = "refused"
        try:
            self._carried.exchange()
            return *await self._decided(await self._taking.take()), how
        except MalformedRequest as error:
            fault = error.again()  # what was raised holds on to the body
        except Gone:
            fault, how = CLIENT_LEFT, "client_left"
        except Exception as error:  # noqa: BLE001 - fails closed, whatever it was
            self._log_failure(error)
        exchange, beside = self._exchange(), Candidate(self._setup, self._context())
        return exchange, beside.join_refusal(exchange.malformed(fault)), how

    async def _decided(self, read: Read | None) -> tuple[Exchange, Ruling]:
        """Decide, and write the body that goes on."""
        body = None if read is None else read.body
        gate, context = self._setup.gate, self._context()
        exchange, prints = Exchange(gate, context), _UNHASHED
        if body is not None and gate.hashes:
            prints = await stepwise(gate.fingerprint(context, body))
        head, recall = self._asked.head.choosing(), Recall(self._setup, context)
        seen = await recall.look(body)
        standing, self._tally = NOWHERE, tally_of(self._setup, context)
        if self._tally is not None:
            inherits = recall.inherits
            standing = await self._tally.stand(body, head, seen, inherits=inherits)
        staged = None if read is None else read.staged
        lines: Judged | None = None
        if staged is not None:
            lines = await stepwise(gate.judge_lines(context, staged))
            recall.staging = lines.url
        ruling = exchange.request(
            body,
            head,
            seen,
            fingerprints=prints,
            standing=standing,
            staged=None if lines is None else lines.decision,
        )
        if self._setup.edition.candidate is not None:
            beside = Candidate(self._setup, context, staged)
            ruling = await beside.join(ruling, recall, body, head, standing)
        self._recall = recall
        if read is not None and ruling.refusal is None:
            decision = ruling.decision
            edits = decision.edits if isinstance(decision, Rewrite) else ()
            content = None if lines is None else lines.content
            self._data, self._type = read.written(edits, content)
        return exchange, ruling

    def _exchange(self) -> Exchange:
        return Exchange(self._setup.gate, self._context())

    def _context(self) -> Context:
        trace = trace_of(self._asked.head)
        websocket = self._scope["type"] == "websocket"
        return Context(
            decision_id=self._journal.decision_id,
            door=self._asked.door,
            date=datetime.datetime.now(tz=datetime.UTC).date(),
            principal=self._taking.principal,
            transport="websocket" if websocket else self._setup.way,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            bytes_in=self._taking.size,
            query=query_of(self._scope),
        )

    def _log_failure(self, error: Exception) -> None:
        """Say in the program's log what is wrong with the program."""
        log.error(
            "imagegate.request_failed",
            decision_id=self._journal.decision_id,
            **log.place_of(error),
        )

    # -- acting -----------------------------------------------------------------

    async def _refuse(self, exchange: Exchange, ruling: Ruling, how: Ended) -> None:
        """Record a refusal, and answer with it if anybody is there."""
        records = [ruling.record, *exchange.close(how).records]
        refusal = ruling.refusal or not_recorded(self._journal.decision_id)
        try:
            await self._journal.write(records)
        except AuditUnavailableError:
            refusal = not_recorded(self._journal.decision_id)
        await self._undo()
        if how == "refused":
            await self._deny(refusal)

    async def _undo(self) -> None:
        """Give back what the request has taken of the quotas."""
        if self._tally is not None:
            await self._tally.undo()

    async def _admit(
        self, exchange: Exchange, ruling: Ruling
    ) -> Awaitable[None] | None:
        """Record the decision, and return how the request goes on, if it may."""
        record = ruling.record
        if self._data is not None:
            record = msgspec.structs.replace(record, bytes_out=len(self._data))
        try:
            await self._journal.write([record])
        except AuditUnavailableError:
            await self._undo()
            await self._deny(not_recorded(self._journal.decision_id))
            return None
        except asyncio.CancelledError:
            await self._journal.close(exchange.close("shutdown").records, hurried=True)
            await self._undo()
            raise
        seen = not isinstance(ruling.decision, Forward) or ruling.decision.inspected
        scope = self._told(ruling) if seen else self._untold()
        if self._recall is not None:
            await self._recall.decided(ruling)
        if self._tally is not None:
            await self._tally.decided(ruling)
        passage = Passage(
            self._setup, exchange, self._journal, self._recall, self._tally
        )
        if scope["type"] == "websocket" and seen:
            return self._converse(exchange, scope)
        if scope["type"] == "websocket":
            return passage.unseen(scope, self._receive, self._send)
        # What the application was given is gone when it begins to answer.
        self._carried.keep(len(self._data or b""))
        grace, gone = self._setup.limits.grace, self._carried.keep
        departure = (scope.get("extensions") or {}).get(DEPARTURE)
        line = Line(self._receive, grace, self._given(seen=seen), gone, departure)
        return passage.go(scope, line, self._send)

    async def _converse(self, exchange: Exchange, scope: Scope) -> None:
        """Let a WebSocket go on whose messages are judged one by one."""
        context, head = self._context(), self._asked.head.choosing()
        parts = self._setup, exchange, self._journal, context, head, self._tally
        talk = Conversation(*parts)
        with talk.waiting:
            await talk.hold(scope, self._receive, self._send)

    def _given(self, *, seen: bool) -> Sequence[bytes | memoryview] | None:
        """Give the body away; None for the one that the client sends."""
        data, self._data = self._data, None
        # A door that takes no body gets none: nobody would have judged it.
        if not seen:
            return None
        return () if data is None else data.parts

    def _told(self, ruling: Ruling) -> Scope:
        """Return what the application is told of a request that was judged."""
        rewrite, read = ruling.decision, self._data is not None
        extra = rewrite.headers if isinstance(rewrite, Rewrite) else {}
        bodiless = not read and self._scope.get("method", "GET") in _BODILESS
        size = None if bodiless else len(self._data or b"")
        headers = describing(self._asked.head, size, extra, kind=self._type)
        return self._retold(headers)

    def _untold(self) -> Scope:
        """Return what the application is told of a request that was not."""
        return self._retold(self._asked.head.without())

    def _retold(self, headers: Sequence[tuple[bytes, bytes]]) -> Scope:
        scope = retold(self._scope, self._asked.path)
        scope["headers"] = headers
        return scope

    async def _deny(self, refusal: Refusal) -> None:
        whole = self._taking.whole
        await deny(refusal, self._scope, self._receive, self._send, whole=whole)

    async def _close_unread(self, fault: MalformedRequest) -> None:
        """Record a request that ended before it was whole, with the server."""
        exchange = self._exchange()
        record = exchange.malformed(fault).record
        closing = exchange.close("shutdown")
        await self._journal.close([record, *closing.records], hurried=True)
