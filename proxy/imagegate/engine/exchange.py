"""One request and the response it earns, as a state machine that touches nothing.

A shell moves the bytes; this says what to write down first and, rarely, where to
stop. Every call returns values at once, and none raises, whatever the order:

    request | malformed -> Ruling    the decision record, and the refusal if any
    response                         status and headers of the answer
    feed | message -> Fed            records, then the bytes go on
    blind                            the bytes cannot be read any more
    close -> Fed                     the one completion record

Bytes are relayed as they come: never held back, joined or split. A stream whose
echo contradicts the policy ends behind the event that says so: a boundary,
wherever the chunks were cut. Withholding that event would need a wait for its
end, and a limit on the wait, which a long prompt in the echo outgrows; and it says
no more than that the response began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from imagegate.engine.account import response_in
from imagegate.engine.answer import Answer, Stop
from imagegate.engine.body import Body
from imagegate.engine.decision import Block, Decision, Forward, JudgedTool, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.events import Event, ResponseEvent
from imagegate.engine.fingerprint import Fingerprints
from imagegate.engine.gate import Context, Gate, tells_of_images
from imagegate.engine.interface import choosing
from imagegate.engine.quota import NOWHERE, Standing, millionths
from imagegate.engine.records import (
    AnswerRecord,
    CompletionRecord,
    DecisionRecord,
    Outcome,
    ident,
)
from imagegate.engine.refusal import Refusal, refuse, refuse_answer
from imagegate.engine.report import decision_again, unjudged_record
from imagegate.engine.scanner import JsonScanner, Scanner, read_message, scanner_for
from imagegate.engine.sse import SseScanner
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, Lost, Match

Ended: TypeAlias = Literal[
    "ended", "client_left", "upstream_error", "timeout", "shutdown", "refused", "cut"
]
"""What a shell knows of the end. `ended`: the answer came to its own; `cut`: the
shell itself broke it off."""

_UNDONE: Final = 300
"""From here on a status says that nothing was done: SDKs raise, quotas do not count."""
_OVER: Final = frozenset({"completed", "failed", "incomplete"})
_NO_FINGERPRINTS: Final = Fingerprints()
_PLAIN: Final = frozenset({"", "identity"})


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a request.

    Attributes:
        record: To be written before anything is done.
        decision: None when the request could not be judged.
        refusal: The answer, when nothing goes on.
    """

    record: DecisionRecord
    decision: Decision | None = None
    refusal: Refusal | None = None


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a stream, before its own.

    Attributes:
        relay: What still goes on of the part that was fed: its beginning.
        error: The last bytes to send, in the stream's own form.
        refusal: The same as an object.
    """

    relay: bytes
    error: bytes
    refusal: Refusal


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a part of an answer, which goes on as it came.

    Attributes:
        records: To be written before it does.
        items: The ids of what the response that it tells is made of.
        cut: When the stream ends here.
        cancel: A background response to be cancelled upstream.
    """

    records: tuple[AnswerRecord, ...] = ()
    items: tuple[str, ...] = ()
    cut: Cut | None = None
    cancel: str | None = None


NOTHING: Final = Fed()
"""What follows from most parts of an answer."""


class Exchange:
    """One request and its response; one use.

    Attributes:
        sent: The image tools that the response has, as far as is known.
    """

    def __init__(self, gate: Gate, context: Context) -> None:
        self.sent: tuple[JudgedTool, ...] = ()
        self._gate = gate
        self._context = context
        self._answer = Answer(gate.base(context))
        self._refusal: Refusal | None = None
        self._scanner: Scanner | None = None
        self._status: int | None = None
        self._request_id: str | None = None
        self._unobserved: Literal["content_encoding", "content_type"] | None = None
        self._background = False
        self._relayed = 0
        self._read = False  # to the end of what was fed
        self._cut = False
        self._closed = False
        self._over = False  # one of the two

    @property
    def lane(self) -> str | None:
        """The lane of a WebSocket that it is on."""
        return self._context.stream_id

    @property
    def match(self) -> Match | None:
        """The door that it came to, if there is one."""
        return self._context.match

    @property
    def rules(self) -> str:
        """The name of the rules that it is judged by, to its end."""
        return self._gate.rules_for(self._context.principal, self._context.date)

    # -- the request ------------------------------------------------------------

    def request(  # noqa: PLR0913 - what is known of a request
        self,
        body: Body | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        seen: frozenset[str] = frozenset(),
        *,
        fingerprints: Fingerprints = _NO_FINGERPRINTS,
        inherited: tuple[JudgedTool, ...] = (),
        standing: Standing = NOWHERE,
        staged: Decision | None = None,
    ) -> Ruling:
        """Decide on the request.

        Args:
            body: As it was read; None where the door takes none, or there is none.
            headers: In lower case, duplicates kept; those that choose something count.
            seen: The ids of state that this gateway has judged for this principal.
            fingerprints: What `Gate.fingerprint` gave, where it was asked for.
            inherited: The image tools that hold without being said again.
            standing: Where the counters stand that `claim_of` named.
            staged: What `Gate.judge_lines` gave, where it uploads a batch file.
        """
        context = self._context
        if isinstance(context.door, Lost):
            return self._unjudged(context.door)
        headers = choosing(headers)
        asked = context.asks(context.door, body, headers, seen, standing, staged)
        decided = self._gate.decide(asked)
        decision = decided.decision
        record = decision_again(
            decided.pattern,
            self._answer.base,
            {
                **self._gate.who(context),
                "prompt_hmac": fingerprints.prompt,
                "user_hmac": fingerprints.user,
                "bytes_in": context.bytes_in,
            },
        )
        self._background = record.background is True
        if isinstance(decision, Block):
            self._refusal = refuse(decision, decision_id=context.decision_id)
        elif not isinstance(decision, Forward) or decision.inspected:
            written = decision.headers if isinstance(decision, Rewrite) else {}
            sent = {**dict(headers), **written}
            by_header = sent.get(IMAGE_DEPLOYMENT_HEADER) is not None
            self.sent = decision.tools or inherited
            self._expect(context.door, self.sent, by_header=by_header)
        return Ruling(record=record, decision=decision, refusal=self._refusal)

    def malformed(self, error: MalformedRequest) -> Ruling:
        """Refuse what could not be read."""
        return self._unjudged(error)

    def _unjudged(self, why: MalformedRequest | Lost) -> Ruling:
        context = self._context
        self._refusal = refuse(why, decision_id=context.decision_id)
        record = unjudged_record(
            self._answer.base,
            why.code,
            why.pointer if isinstance(why, MalformedRequest) else "",
            why.status,
            names=self._gate.names,
            account=self._gate.account(context),
            bytes_in=context.bytes_in,
        )
        return Ruling(record=record, refusal=self._refusal)

    def _expect(
        self, match: Match, sent: tuple[JudgedTool, ...], *, by_header: bool
    ) -> None:
        """Prepare for the answer of a request that was inspected."""
        if tells_of_images(match.door):
            acting, watched = self._gate.yardsticks(
                self._context, match, sent, by_header=by_header
            )
            self._answer.expect(
                acting,
                watched,
                response_id=response_in(match),
                prices=self._gate.prices,
            )
            self._answer.streams = self._streams

    # -- the answer -------------------------------------------------------------

    def response(
        self,
        status: int,
        content_type: str,
        *,
        content_encoding: str = "",
        request_id: str | None = None,
    ) -> None:
        """Take the head of the answer.

        Args:
            status: The HTTP status.
            content_type: As sent; it chooses how the answer is read.
            content_encoding: As sent; what is encoded is relayed unseen.
            request_id: The provider's own.
        """
        self._status = status
        self._request_id = ident(request_id)
        match = self._context.match
        if match is None or not tells_of_images(match.door):
            return
        if content_encoding.strip().lower() not in _PLAIN:
            self._unobserved = "content_encoding"
            return
        self._scanner = scanner_for(content_type, lines=match.door.lines)
        if self._scanner is None:
            self._unobserved = "content_type"
        self._answer.streams = streams = self._streams
        if streams and self._context.transport == "http":
            base = msgspec.structs.replace(self._answer.base, transport="sse")
            self._answer.base = base

    def opened(self, request_id: str | None) -> None:
        """Take the head of a WebSocket that is accepted: its provider's id."""
        self._request_id = ident(request_id)

    @property
    def response_id(self) -> str | None:
        """What the answer calls itself, as soon as it has said so."""
        return self._answer.response_id

    @property
    def started(self) -> int:
        """How many images the answer has started, as far as it was observed."""
        return self._answer.started

    @property
    def spent(self) -> tuple[int, int]:
        """What its images cost as far as is known, and of how many it is not.

        The cost is that of its record, in millionths, rounded as reports round it.
        """
        cost = self._answer.cost
        return 0 if cost is None else millionths(cost.amount), self._answer.unpaid

    @property
    def unseen(self) -> bool:
        """Whether there was an answer that could not be observed."""
        # A stream tells all that matters in events of their own.
        unread = isinstance(self._scanner, JsonScanner) and self._answer.unread
        unseen = unread or self._unobserved is not None
        return unseen and not self._undone

    @property
    def unnamed(self) -> bool:
        """Whether something may go on in the background that nobody named to us.

        It was asked for and not refused; but who asked left before it was answered.
        """
        return self._background and self.response_id is None and not self._undone

    @property
    def pending(self) -> bool:
        """Whether the answer goes on in the background, and is told another time."""
        return self._answer.pending

    @property
    def over(self) -> bool:
        """Whether the answer told all of a response that has ended.

        An error says nothing of the response that was asked for, and who asks for the
        rest of a stream is not told what came before.
        """
        return self._answer.whole and self._answer.outcome in _OVER

    @property
    def observing(self) -> bool:
        """Whether anything is read of the answer."""
        return self._scanner is not None

    def blind(self) -> None:
        """Observe no more: the answer's coding is broken, or says too much."""
        self._scanner, self._unobserved = None, "content_encoding"

    def feed(self, chunk: bytes, *, last: bool = False) -> Fed:
        """Take the next bytes of the answer; the cut is never inside an event.

        Args:
            chunk: The bytes.
            last: The answer ends with them. What only its end tells is told
                now, to be written before they go on.
        """
        if self._over:
            return NOTHING
        self._relayed += len(chunk)
        scanner = self._scanner
        if scanner is None:
            return NOTHING
        self._read = last
        events = scanner.feed(chunk)
        if last:
            events += scanner.close()
        return self._take(events, chunk) if events else NOTHING

    def message(self, data: bytes, events: Sequence[Event] | None = None) -> Fed:
        """Take one message of a WebSocket; it goes on whole.

        Args:
            data: The message.
            events: What it says, if it was read already.
        """
        if self._over:
            return NOTHING
        self._relayed += len(data)
        found = read_message(data) if events is None else events
        return self._take(found, data, whole=True)

    def answered(self, outcome: Outcome) -> None:
        """Take word of the end that came by another way than the answer's own."""
        self._answer.outcome = self._answer.outcome or outcome

    def close(self, how: Ended = "ended") -> Fed:
        """End the exchange; the first call alone gives the completion record."""
        if self._closed:
            return NOTHING
        fed = NOTHING
        if self._scanner is not None and not (self._read or self._cut):
            fed = self._take(self._scanner.close(), whole=True)
        self._over = self._closed = True
        records = (*fed.records, self._completion(how))
        return Fed(records=records, cut=fed.cut, cancel=fed.cancel)

    def _take(
        self, events: Sequence[Event], chunk: bytes = b"", *, whole: bool = False
    ) -> Fed:
        """Take events up to the one at which the answer has to end.

        Args:
            events: The events.
            chunk: What they came with; it ends with the event that ends the answer.
            whole: That goes on whole.
        """
        # Of one text all its events have one end, and the last names the response.
        ids = {e.end: e.response_id for e in events if isinstance(e, ResponseEvent)}
        records: list[AnswerRecord] = []
        items: tuple[str, ...] = ()
        cut: Cut | None = None
        cancel: str | None = None
        for event in events:
            taken = self._answer.take(event, ids.get(event.end))
            records += taken.records
            if isinstance(event, ResponseEvent):
                items = event.items
            if taken.stop is None:
                continue
            cancel = taken.stop.cancel
            if taken.stop.cut:
                if not whole:
                    before = self._relayed - len(chunk)
                    self._relayed = max(event.end, before)
                    chunk = chunk[: self._relayed - before]
                self._over = self._cut = True
                cut = self._end_with(taken.stop, chunk)
                break
        return Fed(records=tuple(records), items=items, cut=cut, cancel=cancel)

    def _end_with(self, stop: Stop, relay: bytes) -> Cut:
        because = stop.because
        refusal = refuse_answer(
            because.field,
            because.at,
            because.by.rule if because.by else "",
            decision_id=self._context.decision_id,
        )
        socket = self._context.transport == "websocket"
        error = refusal.message(self._context.stream_id) if socket else refusal.sse
        return Cut(relay=relay, error=error, refusal=refusal)

    # -- the end ----------------------------------------------------------------

    def _completion(self, how: Ended) -> CompletionRecord:
        refused = self._refusal is not None
        answered = self._status or self._answer.status
        return self._answer.completion(
            self._outcome(how),
            status=self._refusal.status if self._refusal else answered,
            upstream_request_id=self._request_id,
            unobserved=None if refused else self._unobserved,
            bytes_out=self._relayed,
        )

    def _outcome(self, how: Ended) -> Outcome:
        """Say how it ended: what the answer says counts before what befell it.

        An error that is answered in the provider's place says less than its cause.
        """
        if self._cut or how == "cut":
            return "cut"
        if self._refusal is not None:
            return how if how in {"client_left", "shutdown"} else "refused"
        in_place = how != "ended" and self._undone
        if self._answer.outcome is not None and not in_place:
            return self._answer.outcome
        return how if how != "ended" else self._silent_end()

    def _silent_end(self) -> Outcome:
        """Say how an answer ended that did not say so."""
        if self._status is None and self._context.transport != "websocket":
            return "upstream_error"
        if self._undone:
            return "failed"
        broken = self._streams or self._answer.undecodable
        return "truncated" if broken else "completed"

    @property
    def _undone(self) -> bool:
        return (self._status or 0) >= _UNDONE

    @property
    def _streams(self) -> bool:
        if self._context.transport == "websocket":
            match = self._context.match
            return match is not None and tells_of_images(match.door)
        return isinstance(self._scanner, SseScanner)
