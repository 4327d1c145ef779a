"""A request up to the moment at which it goes on, or is refused."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from imagegate import log
from imagegate.audit import AuditUnavailableError
from imagegate.engine.body import Body
from imagegate.engine.decision import Forward, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Ended, Exchange, Ruling
from imagegate.engine.gate import Context
from imagegate.engine.refusal import Refusal
from imagegate.middleware.asked import Asked
from imagegate.middleware.denial import (
    CLIENT_LEFT,
    FAILED,
    SHUTDOWN,
    deny,
    not_recorded,
)
from imagegate.middleware.headers import describing, pairs, without_overrides
from imagegate.middleware.intake import Gone
from imagegate.middleware.journal import Journal
from imagegate.middleware.passage import Passage
from imagegate.middleware.paths import retold
from imagegate.middleware.setup import Setup
from imagegate.middleware.taking import Taking
from imagegate.middleware.trace import trace_of

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
        self._journal = Journal(setup.audit, uuid.uuid4().hex)
        self._taking = Taking(setup, asked, receive)

    async def respond(self) -> None:
        """Judge the request, and see its answer through."""
        body: Body | None = None
        fault: MalformedRequest | None = None
        try:
            body = await self._taking.take()
        except MalformedRequest as error:
            fault = error
        except Gone:
            fault = CLIENT_LEFT
        except asyncio.CancelledError:
            await self._close_unread(SHUTDOWN)
            raise
        except Exception as error:  # noqa: BLE001 - fails closed, whatever it was
            fault = self._failed(error)
        await self._go_on(body, fault)

    # -- deciding ---------------------------------------------------------------

    async def _go_on(self, body: Body | None, fault: MalformedRequest | None) -> None:
        exchange = self._exchange()
        ruling, data = None, b""
        if fault is None:
            try:
                ruling = exchange.request(body, pairs(self._asked.head))
                data = _written(ruling, body)
            except MalformedRequest as error:
                fault = error
            except Exception as error:  # noqa: BLE001 - fails closed, whatever it was
                fault = self._failed(error)
        if ruling is None or fault is not None:
            exchange = self._exchange()
            ruling = exchange.malformed(fault or FAILED)
        if ruling.refusal is None:
            await self._forward(exchange, ruling, data, read=body is not None)
            return
        gone = fault is CLIENT_LEFT
        await self._refuse(exchange, ruling, "client_left" if gone else "refused")

    def _exchange(self) -> Exchange:
        trace = trace_of(self._asked.head)
        context = Context(
            decision_id=self._journal.decision_id,
            door=self._asked.door,
            date=datetime.datetime.now(tz=datetime.UTC).date(),
            principal=self._taking.principal,
            transport=self._scope["type"],
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            bytes_in=self._taking.size,
        )
        return Exchange(self._setup.gate, context)

    def _failed(self, error: Exception) -> MalformedRequest:
        """Say in the program's log what is wrong with the program."""
        log.error(
            "imagegate.request_failed",
            decision_id=self._journal.decision_id,
            **log.place_of(error),
        )
        return FAILED

    # -- acting -----------------------------------------------------------------

    async def _refuse(self, exchange: Exchange, ruling: Ruling, how: Ended) -> None:
        """Record a refusal, and answer with it if anybody is there."""
        records = [ruling.record, *exchange.close(how).records]
        refusal = ruling.refusal or not_recorded(self._journal.decision_id)
        try:
            await self._journal.write(records)
        except AuditUnavailableError:
            refusal = not_recorded(self._journal.decision_id)
        if how == "refused":
            await self._deny(refusal)

    async def _forward(
        self, exchange: Exchange, ruling: Ruling, data: bytes, *, read: bool
    ) -> None:
        """Record the decision, and then let the request go on."""
        record = ruling.record
        if read:
            record = msgspec.structs.replace(record, bytes_out=len(data))
        try:
            await self._journal.write([record])
        except AuditUnavailableError:
            await self._deny(not_recorded(self._journal.decision_id))
            return
        except asyncio.CancelledError:
            await self._journal.close(exchange.close("shutdown").records, hurried=True)
            raise
        seen = not isinstance(ruling.decision, Forward) or ruling.decision.inspected
        passage = Passage(self._setup, exchange, self._journal)
        scope = self._told(ruling, len(data), seen=seen, json=read)
        if scope["type"] == "websocket":
            await passage.unseen(scope, self._receive, self._send)
            return
        # A door that takes no body gets none: nobody would have judged it.
        await passage.go(scope, data if seen else None, self._receive, self._send)

    def _told(self, ruling: Ruling, size: int, *, seen: bool, json: bool) -> Scope:
        """Return what the application is told of the request."""
        scope = retold(self._scope, self._asked.path)
        headers = self._scope["headers"]
        if not seen:
            return {**scope, "headers": without_overrides(headers)}
        rewrite = ruling.decision
        extra = rewrite.headers if isinstance(rewrite, Rewrite) else {}
        none = not size and scope["method"] in _BODILESS
        told = describing(headers, None if none else size, extra, json=json)
        return {**scope, "headers": told}

    async def _deny(self, refusal: Refusal) -> None:
        whole = self._taking.whole
        await deny(refusal, self._scope, self._receive, self._send, whole=whole)

    async def _close_unread(self, fault: MalformedRequest) -> None:
        """Record a request that ended before it was whole, with the server."""
        exchange = self._exchange()
        record = exchange.malformed(fault).record
        closing = exchange.close("shutdown")
        await self._journal.close([record, *closing.records], hurried=True)


def _written(ruling: Ruling, body: Body | None) -> bytes:
    """Write the body that goes on."""
    if body is None or ruling.refusal is not None:
        return b""
    decision = ruling.decision
    edits = decision.edits if isinstance(decision, Rewrite) else ()
    return bytes(body.rewritten(edits))
