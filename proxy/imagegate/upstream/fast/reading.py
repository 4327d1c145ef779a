"""One answer, made out of what came over a connection; no socket is touched here.

Where a head ends is found here, so that what follows it can be counted; what a head
says, and where chunks begin and end, is llhttp's to tell. What can be read in two
ways is refused: two lengths, a length beside chunks, any coding but `chunked`, line
ends that are none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MOST_HEAD: Final = 128 * 1024
"""How much may come before a head is complete, interim answers included."""
MOST_FRAMING: Final = 64 * 1024
"""How much of sizes, extensions and trailers may come without a byte of the body."""
LARGE: Final = 64 * 1024
"""From here on what has come is not copied to be joined."""
_MAX_HEADS: Final = 64
"""How many lists of names are remembered, each for as much as a head may have."""
_CODING: Final = b"transfer-encoding"
_END: Final = b"\r\n\r\n"
_LINE_ENDS: Final = b"\r\n"
_VERSION, _OLD_VERSION = b"HTTP/1.1 ", b"HTTP/1.0 "
_FINAL, _SWITCHING = 200, 101
_WITHOUT_BODY: Final = (204, 304)
_OPEN: Final = -1
"""As what is left of a body: all until the connection closes."""
_CHUNKED: Final = -2
"""As what is left of a body: what the chunks say."""
_ERRORS = (HttpParserError, HttpParserUpgrade)
Failure = Literal["no_answer", "answer_malformed", "answer_broken", "write_timeout"]
Pairs = list[tuple[bytes, bytes]]


class Reading:
    """An answer as it comes; one use.

    Args:
        head_only: The request was a HEAD: whatever the head says, no body follows.

    Attributes:
        status: The status.
        headers: The headers; trailers are dropped.
        pieces: What has come of the body and was not taken yet.
        held: About how many bytes that is.
        begun: The head is there: status and headers are true.
        over: Nothing more comes of this answer.
        failure: Why not all of it came, if so.
        cause: What befell the connection then, for the log.
        clean: It ended where it said that it would, nothing followed it, and the
            provider keeps the connection.
    """

    __slots__ = (
        "_head",
        "_head_only",
        "_keeps",
        "_left",
        "_parser",
        "_spent",
        "begun",
        "cause",
        "clean",
        "failure",
        "headers",
        "held",
        "over",
        "pieces",
        "status",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        self.status = self.held = 0
        self.begun = self.over = self.clean = False
        self.failure: Failure | None = None
        self.cause = ""
        self.headers: Pairs
        self.pieces: list[bytes] = []
        self._head_only = head_only
        self._keeps = False
        self._left = _OPEN
        self._head: bytearray | None = None  # what came of it, if not all at once
        self._spent = 0  # bytes of interim answers, then of framing without a body
        self._parser: HttpResponseParser | None = None  # of chunks; it holds on to this

    # -- for the connection, and for who reads -------------------------------------

    def feed(self, buffer: bytearray, view: memoryview, size: int) -> None:
        """Take what has come: the first `size` bytes of a buffer, and a view of it."""
        if self._parser is not None:
            self._read_chunks(self._parser, view[:size])
        elif self.begun:
            self._read_plain(view[:size])
        else:
            self._read_head(buffer, view, size)

    def end(self, *, broken: bool, cause: str = "") -> None:
        """Take word that nothing more comes, and why."""
        self.cause = self.cause or cause
        if self.begun and self._left == _OPEN and not broken:
            self.over = True
        elif not self.over:
            self.fail("answer_broken" if self.begun else "no_answer")

    def fail(self, failure: Failure) -> None:
        """End here; what has come of the body before can still be taken."""
        self.over, self.failure, self._parser = True, failure, None

    def take(self) -> bytes:
        """Return the next of what has come of the body.

        What is small is joined, so that hundreds of events are one piece. What is
        large goes on as it came: a copy of it would cost more than another piece.
        """
        pieces = self.pieces
        if len(pieces) == 1:
            self.held = 0
            return pieces.pop()
        count = len(pieces) if self.held < LARGE else _together(pieces)
        data = b"".join(pieces[:count])
        del pieces[:count]
        self.held = self.held - len(data) if pieces else 0
        return data

    # -- the head ---------------------------------------------------------------

    def _read_head(
        self, buffer: bytearray | bytes, view: memoryview, size: int
    ) -> None:
        """Read a head, and those of interim answers before it."""
        if self._head is not None:
            known = max(0, len(self._head) - len(_END) + 1)
            self._head += view[:size]
            if self._head.find(_END, known) < 0:
                self._keep(self._head)
                return
            buffer, size = bytes(self._head), len(self._head)
            view = memoryview(buffer)
        start, end = 0, buffer.find(_END, 0, size)
        while end >= 0:
            end += len(_END)
            if self._spent + end > MOST_HEAD or not self._understood(view[start:end]):
                self.fail("answer_malformed")
                return
            if self.status >= _FINAL:
                self._begin(view[end:size])
                return
            start, end = end, buffer.find(_END, end, size)
        self._spent += start
        self._keep(bytearray(view[start:size]))

    def _keep(self, head: bytearray) -> None:
        """Keep a part of a head until the rest comes."""
        self._head = head
        if self._spent + len(head) > MOST_HEAD:
            self.fail("answer_malformed")

    def _understood(self, view: memoryview) -> bool:
        """Read one head, and tell whether it is one that can be read in one way."""
        head = bytes(view)
        try:
            self.status, said, values = _parsed(head)
        except _ERRORS:
            return False
        # The names that are remembered, so that open streams share them.
        names, connection, length, codings = _places(said)
        self.headers = list(zip(names, values, strict=True))
        self._keeps = head.startswith(_VERSION) and (
            connection is None or b"close" not in values[connection].lower()
        )
        if codings:
            self._left = _CHUNKED
        else:
            self._left = _OPEN if length is None else int(values[length])
        return (
            self.status >= 100  # noqa: PLR2004 - what llhttp has when there is none
            and self.status != _SWITCHING
            and head.startswith((_VERSION, _OLD_VERSION))
            and (not codings or _is_chunked([values[at] for at in codings]))
        )

    def _begin(self, rest: memoryview) -> None:
        """Read what there is of the body."""
        self.begun, self._spent, self._head = True, 0, None
        if self._head_only or self.status in _WITHOUT_BODY:
            self._left = 0
        if self._left == _CHUNKED:
            self._parser = parser = HttpResponseParser(_Chunks(self))
            parser.feed_data(_CHUNKS)
            if rest:
                self._read_chunks(parser, rest)
        elif rest or not self._left:
            self._read_plain(rest)

    # -- the body ---------------------------------------------------------------

    def _read_plain(self, data: memoryview) -> None:
        size, left = len(data), self._left
        if left != _OPEN:
            if size >= left:
                self.over = True
                self.clean = self._keeps and size == left
                data, size = data[:left], left
            self._left = left - size
        if size:
            self.pieces.append(bytes(data))
            self.held += size

    def _read_chunks(self, parser: HttpResponseParser, data: memoryview) -> None:
        before = len(self.pieces)
        try:
            parser.feed_data(data)
        except _ERRORS:
            if self.over:
                self._parser = None
            else:
                self.fail("answer_broken")
            return
        if self.over:
            self.clean = self._keeps and _ends_an_answer(data)
            self._parser = None
        elif len(self.pieces) > before:
            self._spent = 0
            self.held += len(data)
        else:
            self._spent += len(data)
            if self._spent > MOST_FRAMING:
                self.fail("answer_broken")


_CHUNKS: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
"""What puts a parser before the first chunk."""


class _Chunks:
    """What llhttp tells of a body in chunks; trailers are not listened to."""

    __slots__ = ("_reading", "on_body")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.on_body = reading.pieces.append

    def on_message_begin(self) -> None:
        """Let nothing be read that follows the answer."""
        if self._reading.over:
            raise ValueError("an answer that nobody asked for")

    def on_message_complete(self) -> None:
        """Note that the last chunk has come."""
        self._reading.over = True


class _Head:
    """What llhttp tells of a head, if no name is there twice."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.on_header = self.fields.__setitem__


class _Exactly:
    """What llhttp tells of any head."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.values: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.names.append(name)
        self.values.append(value)


def _parsed(head: bytes) -> tuple[int, tuple[bytes, ...], list[bytes]]:
    """Return the status, the names of the headers, and their values.

    A dictionary takes them without a line of Python for each. Where it cannot have
    taken all of them as they are, they are asked for once more, one by one.
    """
    told = _Head()
    parser = HttpResponseParser(told)
    parser.feed_data(head)
    fields = told.fields
    if len(fields) == head.count(b"\n") - 2:
        return parser.get_status_code(), tuple(fields), list(fields.values())
    exactly = _Exactly()
    HttpResponseParser(exactly).feed_data(head)
    return parser.get_status_code(), tuple(exactly.names), exactly.values


@lru_cache(_MAX_HEADS)
def _places(
    names: tuple[bytes, ...],
) -> tuple[tuple[bytes, ...], int | None, int | None, tuple[int, ...]]:
    """Return the names, and where connection, length and codings of a body are told."""
    last = {name.lower(): at for at, name in enumerate(names)}
    codings = [at for at, name in enumerate(names) if name.lower() == _CODING]
    connection, length = last.get(b"connection"), last.get(b"content-length")
    return names, connection, length, tuple(codings)


def _is_chunked(codings: Sequence[bytes]) -> bool:
    """Whether `chunked` is the only coding, said once."""
    return len(codings) == 1 and codings[0].strip().lower() == b"chunked"


def _together(pieces: Sequence[bytes]) -> int:
    """Return how many of the first pieces are taken as one: what is not large."""
    sizes = [*accumulate(map(len, pieces))]
    return max(1, bisect_left(sizes, LARGE))


def _ends_an_answer(data: memoryview) -> bool:
    """Tell whether the end of an answer in chunks is the end of what has come.

    llhttp passes over line ends that follow. An answer has two at its end; where
    there are more, or where not all of it is to be seen, it is not the end.
    """
    last = bytes(data[-5:])
    return len(last) == 5 and last[1:] == _END and last[0] not in _LINE_ENDS  # noqa: PLR2004 - as it says
