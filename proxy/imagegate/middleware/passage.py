"""The inner application's turn: given what was judged, watched, and seen to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
from starlette.types import Message, Receive, Scope, Send

from imagegate import log
from imagegate.engine.exchange import Ended, Exchange
from imagegate.engine.records import CompletionRecord
from imagegate.middleware.cancelling import cancel_response
from imagegate.middleware.client_end import RESTART
from imagegate.middleware.journal import Journal
from imagegate.middleware.line import DEPARTURE, Line, Unwanted
from imagegate.middleware.recall import Recall
from imagegate.middleware.relay import BrokenOff, Relay
from imagegate.middleware.setup import Setup
from imagegate.middleware.tally import Tally

OUTCOME: Final = "imagegate.outcome"
"""The extension in which an application may say that it answered in the provider's
place, and why: `scope["extensions"]["imagegate.outcome"]["ended"] = "timeout"`."""
VIEWS: Final = "imagegate.views"
"""The extension in which an application says `wanted` that takes the body in several
messages, with views in them: megabytes are not copied for it."""
SAYABLE: Final = frozenset({"timeout", "upstream_error", "client_left"})
_WITHHELD: Final = frozenset(
    {"http.response.pathsend", "http.response.zerocopysend", DEPARTURE}
)


def extend(scope: Scope, line: Line | None = None) -> dict[str, Any]:
    """Give a scope of ours a place for the outcome, and return that place.

    Ways to send bytes that would not come by the observer are not offered on, and
    word of the client comes over our own line.
    """
    outcome: dict[str, Any] = {}
    offered = (scope.get("extensions") or {}).items()
    kept = {name: value for name, value in offered if name not in _WITHHELD}
    kept[OUTCOME] = outcome
    if line is not None:
        kept[VIEWS] = line.views
        kept[DEPARTURE] = line.tell
    scope["extensions"] = kept
    return outcome


class Passage:
    """One exchange from its decision to its end; one use."""

    def __init__(
        self,
        setup: Setup,
        exchange: Exchange,
        journal: Journal,
        recall: Recall | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._setup = setup
        self._app = setup.app
        self._limits = setup.limits
        self._exchange = exchange
        self._journal = journal
        self._recall = recall
        self._tally = tally

    async def unseen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket go on at a door that the operator opened unseen.

        It ends when another policy holds that would look: what the client says then
        was judged by nobody.
        """
        failure: BaseException | None = None

        async def receiving() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive" or self._is_open():
                return message
            await send({"type": "websocket.close", "code": RESTART})
            return {"type": "websocket.disconnect", "code": RESTART}

        try:
            await self._app(scope, receiving, send)
        except (Exception, asyncio.CancelledError) as error:
            failure = error
            raise
        finally:
            how: Ended = "upstream_error" if failure else "ended"
            hurried = isinstance(failure, asyncio.CancelledError)
            closing = self._exchange.close("shutdown" if hurried else how)
            await self._journal.close(closing.records, hurried=hurried)

    def _is_open(self) -> bool:
        """Tell whether the door is one that is opened unseen, today as well."""
        match = self._exchange.match
        today = self._setup.up_to_date().gate.decider
        return match is not None and today.stance(match.door) == "pass"

    async def go(self, scope: Scope, line: Line, send: Send) -> None:
        """Let a request go on, and see its answer through.

        Raises:
            BrokenOff: When the answer had to be broken off.
            BaseException: What the application raised of its own accord.
        """
        outcome = extend(scope, line)
        limit = self._limits.answer
        parts = self._exchange, self._journal, line, send, self._recall
        relay = Relay(*parts, tally=self._tally, limit=limit)
        failure = await self._run(scope, line, relay)
        try:
            how = _ended(failure, line, relay, outcome.get("ended"))
            await self._close(how, scope, relay)
            self._end(failure, line, relay)
        finally:
            del failure  # it would hold on to this frame, and by it to itself

    async def _close(self, how: Ended, scope: Scope, relay: Relay) -> None:
        """Write the last records, and end what goes on in the background."""
        closing = self._exchange.close(how)
        *others, completion = closing.records
        whole = self._journal.elapsed()
        records = [*others, _filled(cast("CompletionRecord", completion), relay, whole)]
        await self._journal.close(records, hurried=how == "shutdown")
        if self._tally is not None:
            await self._tally.close(self._exchange)
        cancel = closing.cancel or relay.cancel
        if cancel is not None:
            decision_id = self._journal.decision_id
            await cancel_response(self._app, scope, cancel, decision_id)

    async def _run(
        self, scope: Scope, line: Line, relay: Relay
    ) -> Exception | asyncio.CancelledError | None:
        """Run the application; return what it raised, but for a stop of ours."""
        try:
            with line:
                await self._app(scope, line.receive, relay)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - kept
            return error
        return None

    def _end(self, failure: BaseException | None, line: Line, relay: Relay) -> None:
        """Raise what has to reach the server."""
        stopped = line.left or relay.cut
        if failure is not None and (
            not stopped or isinstance(failure, asyncio.CancelledError)
        ):
            try:
                raise failure
            finally:
                del failure  # as above
        if failure is not None and not is_ours(failure):
            log.warning(
                "imagegate.application_failed_when_stopped",
                decision_id=self._journal.decision_id,
                **log.place_of(failure),
            )
        if relay.broken:
            raise BrokenOff


def _ended(
    failure: BaseException | None, line: Line, relay: Relay, said: object
) -> Ended:
    """Say what befell an answer, where it does not say so itself."""
    how: Ended = "ended" if relay.complete else "upstream_error"
    if isinstance(failure, asyncio.CancelledError):
        how = "shutdown"
    elif line.left:
        how = "client_left"
    elif relay.cut:
        how = "cut"
    elif isinstance(said, str) and said in SAYABLE:
        how = cast("Ended", said)
    elif failure is not None:
        how = "upstream_error"
    return how


def _filled(
    record: CompletionRecord, relay: Relay, milliseconds: float
) -> CompletionRecord:
    """Fill in what only the one who sends can know."""
    return msgspec.structs.replace(
        record,
        bytes_out=relay.bytes_out,
        first_byte_ms=relay.first_byte_ms,
        error_code=relay.error_code or record.error_code,
        duration_ms=milliseconds,
    )


def is_ours(error: BaseException) -> bool:
    """Tell whether an exception, or one that led to it, was raised here to stop it."""
    return any(isinstance(each, Unwanted) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
