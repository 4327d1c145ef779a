"""A WebSocket from its handshake to its end, around an application that forwards it.

Three tasks: one takes whatever the server has, one judges it in order and hands it
on, and one is the application, whose messages are observed on their way out. When
one of them ends, all do.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, cast

from starlette.types import Message, Receive, Scope, Send

from imagegate import log
from imagegate.engine.connection import Connection
from imagegate.engine.exchange import Ended, Exchange
from imagegate.engine.gate import Context
from imagegate.middleware.answering import Answering
from imagegate.middleware.asking import Asking
from imagegate.middleware.client_end import FULL, RESTART, ClientEnd
from imagegate.middleware.inbox import Inbox
from imagegate.middleware.journal import Journal
from imagegate.middleware.line import Unwanted
from imagegate.middleware.passage import SAYABLE, extend, is_ours
from imagegate.middleware.setup import Setup
from imagegate.middleware.talk import Entry, Talk
from imagegate.middleware.tally import Tally

STOPPING: Final = "imagegate.stopping"
"""The extension in which a server tells that it stops: an event. Others close what
they have with 1012, whatever is being made."""
_REGULAR: Final = frozenset({1000, 1001, 1005})
_FAILED: Final = 1011


class Conversation:
    """One WebSocket; one use.

    Args:
        setup: The middleware's parts.
        exchange: The connection's own, which is decided and on record.
        journal: Its records.
        context: Of the handshake.
        head: The headers of the handshake.
        tally: What is made that belongs to no message uses up.

    Attributes:
        waiting: Holds the messages that wait; to be let go of at the end.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is known of it by now
        self,
        setup: Setup,
        exchange: Exchange,
        journal: Journal,
        context: Context,
        head: tuple[tuple[str, str], ...],
        tally: Tally | None,
    ) -> None:
        self._setup = setup
        self._own = exchange
        self._journal = journal
        self._context = context
        self._head = head
        self._tally = tally
        self.waiting = setup.load.carry()
        self._came = Inbox(setup.limits.waiting, self.waiting)
        self._given = Inbox(0)

    async def hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the conversation.

        Raises:
            BaseException: What the application raised of its own accord.
        """
        outcome = extend(scope)
        connection = Connection(self._setup.gate, self._own, self._head)
        talk = Talk(self._setup, connection, ClientEnd(send))
        talk.entries[self._own] = Entry(self._journal, self._tally)
        answering = Answering(talk, self._own)
        inner = self._setup.app(scope, self._given.get, answering)
        app: asyncio.Future[None] = asyncio.ensure_future(inner)
        taking = asyncio.ensure_future(self._take(talk, receive))
        judging = asyncio.ensure_future(self._judge(talk, scope))
        stopping = asyncio.ensure_future(self._stop_well(talk, scope))
        ours = [taking, judging, stopping]
        try:
            await self._until_over(talk, app)
            await _gone(*ours)
        except asyncio.CancelledError:
            talk.stop("shutdown", RESTART)
            for task in (app, *ours):
                task.cancel()
            await self._close(talk, "shutdown", hurried=True)
            await _gone(app, *ours)
            raise
        await self._close(talk, _ended(talk, answering, app, outcome.get("ended")))
        self._raise(talk, app)

    # -- the three --------------------------------------------------------------

    async def _take(self, talk: Talk, receive: Receive) -> None:
        """Take what the server has, always: else it does not hear its client."""
        code = 1006
        with contextlib.suppress(Exception):
            while (message := await receive())["type"] != "websocket.disconnect":
                if not self._came.put(message):
                    await self._overflow(talk)
                    return
            code = message.get("code") or 1005
        if talk.client.over:
            # It was closed from here, and that is all that the server means.
            self._given.end({"type": "websocket.disconnect", "code": code})
        else:
            talk.stop("shutdown" if code == RESTART else "client_left", code)

    async def _overflow(self, talk: Talk) -> None:
        """End a connection whose client does not wait."""
        with contextlib.suppress(Unwanted, TimeoutError):
            async with asyncio.timeout(self._setup.limits.grace):
                await talk.client.close(FULL)
        talk.stop("cut", FULL)

    async def _judge(self, talk: Talk, scope: Scope) -> None:
        """Judge each message when its turn has come, and hand it over."""
        asking = Asking(talk, self._context, scope)
        try:
            while True:
                message: Message | None = await self._came.get()
                if message is not None and message["type"] == "websocket.receive":
                    message = await asking.judged(message)
                if message is not None:
                    self._given.put(message)
                    await self._given.emptied()
        except Unwanted:
            talk.stop("client_left", 1006)
        except Exception as error:  # noqa: BLE001 - fails closed, whatever it was
            decision_id = self._journal.decision_id
            log.error(
                "imagegate.connection_failed",
                decision_id=decision_id,
                **log.place_of(error),
            )
            talk.stop("upstream_error", _FAILED)

    async def _stop_well(self, talk: Talk, scope: Scope) -> None:
        """When the server stops, let what is being made be finished."""
        told: asyncio.Event | None = scope["extensions"].get(STOPPING)
        if told is None:
            return
        await told.wait()
        talk.wind_up()
        await talk.stopped.wait()
        with contextlib.suppress(Unwanted):
            await talk.client.close(RESTART)

    # -- the end ----------------------------------------------------------------

    async def _until_over(self, talk: Talk, app: asyncio.Future[None]) -> None:
        """Wait until the application ends; one that has to has a moment for it."""
        stopped = asyncio.ensure_future(talk.stopped.wait())
        try:
            ends: set[asyncio.Future[Any]] = {app, stopped}
            await asyncio.wait(ends, return_when="FIRST_COMPLETED")
        finally:
            stopped.cancel()
        if not app.done():
            self._given.end({"type": "websocket.disconnect", "code": talk.code})
            await asyncio.wait({app}, timeout=self._setup.limits.grace)
            await _gone(app)

    async def _close(self, talk: Talk, how: Ended, *, hurried: bool = False) -> None:
        """Write down how everything ended that was open; the connection last."""
        idle = len(talk.entries) == 1 and how in {"ended", "client_left"}
        if talk.client.accepted and idle:
            # That nothing more is asked is how a connection ends well.
            self._own.answered("completed")
        for exchange in [*talk.entries][::-1]:
            await talk.close(exchange, how, hurried=hurried)

    def _raise(self, talk: Talk, app: asyncio.Future[None]) -> None:
        """Raise what has to reach the server."""
        failure = None if app.cancelled() else app.exception()
        try:
            if failure is not None and talk.how is None:
                raise failure
            if failure is not None and not is_ours(failure):
                log.warning(
                    "imagegate.application_failed_when_stopped",
                    decision_id=self._journal.decision_id,
                    **log.place_of(failure),
                )
        finally:
            del failure  # it would hold on to this frame, and by it to itself


def _ended(
    talk: Talk, answering: Answering, app: asyncio.Future[None], said: object
) -> Ended:
    """Say what befell a connection."""
    if talk.how is not None:
        return talk.how
    if isinstance(said, str) and said in SAYABLE:
        return cast("Ended", said)
    if app.cancelled() or app.exception() is not None:
        return "upstream_error"
    well = answering.code in _REGULAR and len(talk.entries) == 1
    return "ended" if well or not talk.client.accepted else "upstream_error"


async def _gone(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks, and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # it was looked at
