"""What both directions of a WebSocket share: its exchanges, and its end."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec

from imagegate.engine.connection import Connection
from imagegate.engine.exchange import Ended, Exchange, Ruling
from imagegate.engine.records import CompletionRecord
from imagegate.middleware.client_end import RESTART, ClientEnd
from imagegate.middleware.journal import Journal
from imagegate.middleware.load import Places
from imagegate.middleware.recall import Recall
from imagegate.middleware.setup import Setup
from imagegate.middleware.tally import Tally


class Entry:
    """An exchange that is on record, and not over yet.

    Attributes:
        journal: Its records.
        recall: What it is remembered by, if it is.
        tally: What it uses up, if anything is counted.
        places: Where it has a place, while it is under way.
        first_byte_ms: When the first message of its answer came.
        error_code: Why it was cut, if it was not for what it says.
    """

    def __init__(self, journal: Journal, tally: Tally | None = None) -> None:
        self.journal = journal
        self.recall: Recall | None = None
        self.tally = tally
        self.places: Places | None = None
        self.first_byte_ms: float | None = None
        self.error_code: str | None = None

    async def decided(self, ruling: Ruling) -> None:
        """Take note of what goes on."""
        if self.recall is not None:
            await self.recall.decided(ruling)
        if self.tally is not None:
            await self.tally.decided(ruling)

    async def undo(self) -> None:
        """Give back what was taken for a message that does not go on."""
        if self.tally is not None:
            await self.tally.undo()
        self.end()

    def end(self) -> None:
        """Count it no more."""
        places, self.places = self.places, None
        if places is not None:
            places.leave()


class Talk:
    """One WebSocket; one use.

    Args:
        setup: The middleware's parts.
        connection: Whose each message is.
        client: The client's end.

    Attributes:
        setup: The same, of the message that is judged now.
        entries: The exchanges that are on record, and not over.
        places: Those of its messages among all that is under way.
        stopped: It has to end.
        closing: Nothing more is taken; it ends when what is open is over.
        how: What befell the exchanges that were open then.
        code: With which code the application is told.
    """

    def __init__(self, setup: Setup, connection: Connection, client: ClientEnd) -> None:
        self.setup = setup
        self.connection = connection
        self.client = client
        self.entries: dict[Exchange, Entry] = {}
        self.places = Places(setup.load)
        self.stopped = asyncio.Event()
        self.closing = False
        self.how: Ended | None = None
        self.code = 1006

    def turn_page(self) -> None:
        """Judge the next message by what holds now."""
        self.setup = self.setup.up_to_date()
        self.connection.gate = self.setup.gate

    def wind_up(self) -> None:
        """Take nothing more, and end when everything that is open is over."""
        self.closing = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self.closing and len(self.entries) <= 1:
            self.stop("ended", RESTART)

    def stop(self, how: Ended, code: int) -> None:
        """End it, unless it is ending."""
        if self.how is None:
            self.how, self.code = how, code
            self.stopped.set()

    async def close(
        self, exchange: Exchange, how: Ended, *, hurried: bool = False
    ) -> None:
        """Write the last records of an exchange."""
        entry = self.entries.pop(exchange, None)
        if entry is None:
            return
        *others, last = exchange.close(how).records
        record = msgspec.structs.replace(
            cast("CompletionRecord", last),
            first_byte_ms=entry.first_byte_ms,
            error_code=entry.error_code or cast("CompletionRecord", last).error_code,
        )
        await entry.journal.close([*others, record], hurried=hurried)
        if entry.tally is not None:
            await entry.tally.close(exchange)
        entry.end()
        self._end_if_idle()
