"""One answer, made out of what came over a connection; no socket is touched here.

Where a head ends is found here, so that what follows it can be counted; what a head
says, and where chunks begin and end, is llhttp's to tell. What can be read in two
ways is refused: two lengths, a length beside chunks, any coding but `chunked`, line
ends that are none.
"""

from __future__ import annotations

from typing import Final, Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MOST_HEAD: Final = 128 * 1024
"""How much may come before a head is complete, interim answers included."""
MOST_FRAMING: Final = 64 * 1024
"""How much of sizes, extensions and trailers may come without a byte of the body."""
_END: Final = b"\r\n\r\n"
_LINE_ENDS: Final = b"\r\n"
_VERSIONS: Final = ("1.1", "1.0")
_FINAL, _SWITCHING = 200, 101
_WITHOUT_BODY: Final = (204, 304)
_LENGTH, _CODING = b"content-length", b"transfer-encoding"
_LENGTH_LONG, _CODING_LONG = len(_LENGTH), len(_CODING)
_OPEN: Final = -1
"""As what is left of a body: all until the connection closes."""
_CHUNKED: Final = -2
"""As what is left of a body: what the chunks say."""
Failure = Literal["no_answer", "answer_malformed", "answer_broken"]


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
        clean: It ended where it said that it would, nothing followed it, and the
            provider keeps the connection.
    """

    __slots__ = (
        "_coding",
        "_head",
        "_head_only",
        "_keeps",
        "_left",
        "_length",
        "_parser",
        "_spent",
        "begun",
        "clean",
        "failure",
        "headers",
        "held",
        "on_body",
        "over",
        "pieces",
        "status",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.held = 0
        self.begun = self.over = self.clean = False
        self.failure: Failure | None = None
        self.on_body = self.pieces.append
        self._head_only = head_only
        self._head: bytearray | None = None  # what came of it, if not all at once
        self._spent = 0  # bytes of interim answers, then of framing without a body
        self._keeps: bool | None = None
        self._length: bytes | None = None
        self._coding: bytes | None = None
        self._left = _OPEN
        self._parser: HttpResponseParser | None = None

    # -- for the connection, and for who reads -------------------------------------

    def feed(self, buffer: bytearray, view: memoryview, size: int) -> None:
        """Take what has come: the first `size` bytes of a buffer, and a view of it."""
        if not self.begun:
            self._read_head(buffer, view, size)
        elif self._left == _CHUNKED:
            self._read_chunks(view[:size])
        else:
            self._read_plain(view[:size])

    def end(self, *, broken: bool) -> None:
        """Take word that nothing more comes."""
        if self.begun and self._left == _OPEN and not broken:
            self.over = True
        elif not self.over:
            self.fail("answer_broken" if self.begun else "no_answer")

    def fail(self, failure: Failure) -> None:
        """End here; what has come of the body before can still be taken."""
        self.over, self.failure = True, failure
        self._parser = None  # it holds on to this

    def take(self) -> bytes:
        """Return what has come of the body, in one piece."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.held = 0
        return data

    # -- what llhttp says -------------------------------------------------------

    def on_message_begin(self) -> None:
        """Let nothing be read that follows the answer."""
        if self.over:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, and what it says about the body."""
        if self.begun:
            return  # a trailer
        value = value.rstrip(b" \t")
        self.headers.append((name, value))
        size = len(name)
        if size == _LENGTH_LONG and name.lower() == _LENGTH:
            self._length = value
        elif size == _CODING_LONG and name.lower() == _CODING:
            self._coding = value if self._coding is None else b"twice"

    def on_headers_complete(self) -> None:
        """Ask what is not known any more when the message is over."""
        if self._parser is not None:
            self._keeps = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Note that the last chunk has come."""
        self.over = self.begun

    # -- the head ---------------------------------------------------------------

    def _read_head(
        self, buffer: bytearray | bytes, view: memoryview, size: int
    ) -> None:
        """Read a head, and those of interim answers before it."""
        end = buffer.find(_END, 0, size)
        if self._head is not None:
            before = len(self._head)
            self._head += view[:size]
            if self._head.find(_END, max(0, before - 3)) < 0:
                self._keep(self._head)
                return
            buffer, size = bytes(self._head), len(self._head)
            view, end = memoryview(buffer), buffer.find(_END)
        start = 0
        while end >= 0:
            end += len(_END)
            if self._spent + end > MOST_HEAD or not self._understood(view[start:end]):
                self.fail("answer_malformed")
                return
            if self.status >= _FINAL:
                self._begin(view[end:size])
                return
            self.headers.clear()
            self._keeps = self._length = self._coding = None
            start, end = end, buffer.find(_END, end, size)
        self._spent += start
        self._keep(bytearray(view[start:size]))

    def _keep(self, head: bytearray) -> None:
        """Keep a part of a head until the rest comes."""
        self._head = head
        if self._spent + len(head) > MOST_HEAD:
            self.fail("answer_malformed")

    def _understood(self, head: memoryview) -> bool:
        """Read one head, and tell whether it is one."""
        self._parser = parser = HttpResponseParser(self)
        try:
            parser.feed_data(head)
        except (HttpParserError, HttpParserUpgrade):
            return False
        self.status = parser.get_status_code()
        return (
            self._keeps is not None
            and self.status != _SWITCHING
            and parser.get_http_version() in _VERSIONS
            and (self._coding is None or self._coding.lower() == b"chunked")
        )

    def _begin(self, rest: memoryview) -> None:
        """Find out how the body ends, and read what there is of it."""
        self.begun, self._spent, self._head = True, 0, None
        chunked = False
        if self._head_only or self.status in _WITHOUT_BODY:
            self._left = 0
        elif self._coding is not None:
            self._left, chunked = _CHUNKED, True
        elif self._length is not None:
            self._left = int(self._length)
        if chunked:
            if rest:
                self._read_chunks(rest)
            return
        self._parser = None
        if rest or not self._left:
            self._read_plain(rest)

    # -- the body ---------------------------------------------------------------

    def _read_plain(self, data: memoryview) -> None:
        size, left = len(data), self._left
        if left != _OPEN:
            if size >= left:
                self.over = True
                self.clean = self._keeps is True and size == left
                data, size = data[:left], left
            self._left = left - size
        if size:
            self.pieces.append(bytes(data))
            self.held += size

    def _read_chunks(self, data: memoryview) -> None:
        parser, before = self._parser, len(self.pieces)
        if parser is None:
            raise RuntimeError("an answer that is over is read")
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self.over:
                self.fail("answer_broken")
            self._parser = None
            return
        if self.over:
            self.clean = self._keeps is True and _ends_an_answer(data)
            self._parser = None
        elif len(self.pieces) > before:
            self._spent = 0
            self.held += len(data)
        else:
            self._spent += len(data)
            if self._spent > MOST_FRAMING:
                self.fail("answer_broken")


def _ends_an_answer(data: memoryview) -> bool:
    """Tell whether the end of an answer in chunks is the end of what has come.

    llhttp passes over line ends that follow. An answer has two at its end; where
    there are more, or where not all of it is to be seen, it is not the end.
    """
    last = bytes(data[-5:])
    return len(last) == 5 and last[1:] == _END and last[0] not in _LINE_ENDS  # noqa: PLR2004 - as it says
