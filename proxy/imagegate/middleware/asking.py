"""The client's messages on a WebSocket: each is judged, recorded, and goes on.

What is refused is answered on its lane, and the connection stays open.
"""

from __future__ import annotations

import datetime
import uuid

import msgspec
from starlette.types import Message, Scope

from imagegate import log
from imagegate.audit import AuditUnavailableError
from imagegate.engine.connection import Judged
from imagegate.engine.errors import MalformedRequest, Unidentified
from imagegate.engine.frames import Sent, lane_of, read_sent
from imagegate.engine.gate import Context
from imagegate.engine.policy import Principal
from imagegate.engine.quota import NOWHERE, Standing
from imagegate.middleware.candidate import Candidate
from imagegate.middleware.denial import FAILED, STOPPING, not_recorded
from imagegate.middleware.intake import stepwise
from imagegate.middleware.journal import Journal
from imagegate.middleware.recall import Recall
from imagegate.middleware.setup import nobody
from imagegate.middleware.talk import Entry, Talk
from imagegate.middleware.tally import tally_of


class Asking:
    """Judges what one client sends; one use.

    Args:
        talk: The WebSocket.
        context: Of its handshake.
        scope: The handshake.
    """

    def __init__(self, talk: Talk, context: Context, scope: Scope) -> None:
        self._talk = talk
        self._scope = scope
        self._context = context

    async def judged(self, message: Message) -> Message | None:
        """Return what goes on of a message; None when it was refused.

        Raises:
            Unwanted: When the client has left.
        """
        journal = Journal(self._talk.setup.audit, uuid.uuid4().hex)
        self._talk.turn_page()
        data = _bytes_of(message)
        entry = Entry(journal)
        try:
            return await self._passed(message, data, entry)
        finally:
            if entry not in self._talk.entries.values():
                entry.end()

    async def _passed(
        self, message: Message, data: bytes | None, entry: Entry
    ) -> Message | None:
        """Judge a message, record it, and return what goes on of it."""
        judged = await self._judge(data, entry)
        if judged.ruling.refusal is not None:
            await entry.undo()
            await self._refuse(judged, entry.journal, lane_of(data or b""))
            return None
        if not await self._recorded(judged, entry):
            await entry.undo()
            return None
        await entry.decided(judged.ruling)
        self._talk.connection.sent(judged.exchange)
        if message.get("text") is not None:
            return {"type": "websocket.receive", "text": judged.data.decode()}
        return {"type": "websocket.receive", "bytes": judged.data}

    async def _judge(self, data: bytes | None, entry: Entry) -> Judged:
        """Judge a message; whatever goes wrong is a refusal."""
        fault, journal = FAILED, entry.journal
        context = self._at(journal, len(data or b""))
        connection, gate = self._talk.connection, self._talk.setup.gate
        try:
            context = msgspec.structs.replace(context, principal=await self._who())
            self._talk.places.take(context.principal)
            entry.places = self._talk.places
            sent = await self._read(data)
            lane = connection.lane_of(sent)
            context = msgspec.structs.replace(context, stream_id=lane)
            prints = await stepwise(gate.fingerprint(context, sent.body))
            entry.recall = Recall(self._talk.setup, context)
            seen = await entry.recall.look(sent.body)
            inherits = connection.inherits(sent)
            if inherits is None:
                inherits = entry.recall.inherits
            standing = await self._stand(context, sent, entry, seen, inherits=inherits)
            known = context, sent, prints, seen, standing
            judged = connection.judge(*known, inherits=bool(inherits))
            beside = Candidate(self._talk.setup, context)
            ruling = await beside.join(
                judged.ruling, entry.recall, sent.body, connection.headers, standing
            )
            return msgspec.structs.replace(judged, ruling=ruling)
        except MalformedRequest as error:
            if isinstance(error, Unidentified):
                context = msgspec.structs.replace(context, principal=nobody(error))
            fault = error.again()
        except Exception as error:  # noqa: BLE001 - fails closed, whatever it was
            decision_id = journal.decision_id
            log.error(
                "imagegate.request_failed",
                decision_id=decision_id,
                **log.place_of(error),
            )
        judged = connection.malformed(context, fault)
        ruling = Candidate(self._talk.setup, context).join_refusal(judged.ruling)
        return msgspec.structs.replace(judged, ruling=ruling)

    async def _stand(
        self,
        context: Context,
        sent: Sent,
        entry: Entry,
        seen: frozenset[str],
        *,
        inherits: bool | None,
    ) -> Standing:
        """Take what a message may use up, and say where the counters stood."""
        entry.tally = tally_of(self._talk.setup, context)
        if entry.tally is None:
            return NOWHERE
        connection = self._talk.connection
        rules = connection.gate.rules_for(context.principal, context.date)
        seen |= connection.judged(rules)
        headers = connection.headers
        return await entry.tally.stand(sent.body, headers, seen, inherits=inherits)

    async def _who(self) -> Principal:
        """Say who asks now: what the handshake showed may have ended since."""
        who = await self._talk.setup.identify(self._scope)
        before = self._context.principal
        if (who.source, who.id) != (before.source, before.id):
            said = "who opened this connection is somebody else now; open another"
            raise Unidentified("identity_changed", said)
        return who

    async def _read(self, data: bytes | None) -> Sent:
        limit, match = self._talk.setup.limits.body, self._context.match
        if self._talk.closing:
            raise STOPPING.again()
        if data is None or match is None:
            raise MalformedRequest("not_utf8", "the message is no text")
        if len(data) > limit:
            said = f"the message has over {limit} bytes"
            raise MalformedRequest("body_too_large", said, status=413)
        return await stepwise(read_sent(data, match.door))

    def _at(self, journal: Journal, size: int) -> Context:
        return msgspec.structs.replace(
            self._context,
            decision_id=journal.decision_id,
            date=datetime.datetime.now(tz=datetime.UTC).date(),
            bytes_in=size,
        )

    async def _refuse(self, judged: Judged, journal: Journal, lane: str | None) -> None:
        """Record a refusal, and answer with it where the client waits for it."""
        refusal = judged.ruling.refusal or not_recorded(journal.decision_id)
        closing = judged.exchange.close("refused")
        try:
            await journal.write([judged.ruling.record, *closing.records])
        except AuditUnavailableError:
            refusal = not_recorded(journal.decision_id)
        await self._talk.client.say_text(refusal.message(judged.exchange.lane or lane))

    async def _recorded(self, judged: Judged, entry: Entry) -> bool:
        """Record that a message goes on; if that cannot be, it does not."""
        size = len(judged.data)
        record = msgspec.structs.replace(judged.ruling.record, bytes_out=size)
        # From here on it owes a completion, whatever interrupts.
        self._talk.entries[judged.exchange] = entry
        try:
            await entry.journal.write([record])
        except AuditUnavailableError:
            del self._talk.entries[judged.exchange]
            self._talk.connection.unsent(judged.exchange)
            refusal = not_recorded(entry.journal.decision_id)
            await self._talk.client.say_text(refusal.message(judged.exchange.lane))
            return False
        return True


def _bytes_of(message: Message) -> bytes | None:
    """Return the bytes of a message; None when it is text that is none."""
    text: str | None = message.get("text")
    if text is None:
        return message.get("bytes") or b""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None
