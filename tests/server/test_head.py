"""The head of an answer: the same bytes as uvicorn's, and the same that follows."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imagegate.server.head import begin

NAMES = st.sampled_from(
    (
        b"content-type", b"Content-Length", b"content-length", b"Connection",
        b"connection", b"Transfer-Encoding", b"x-request-id", b"x-100%b", b"",
    )
) | st.binary(max_size=4)  # fmt: skip
VALUES = st.sampled_from(
    (b"7", b"close", b"keep-alive, Close", b"x-close", b"chunked", b"", b"%b", b"0x7")
) | st.binary(max_size=4)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
ENDS = (b"transfer-encoding", b"connection")


class Kept(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False


class Asked(NamedTuple):
    """What an answer is an answer to."""

    method: str = "POST"
    keeps: bool = True
    default: tuple[tuple[bytes, bytes], ...] = ()

    def cycle(self) -> RequestResponseCycle:
        transport, log = Kept(), logging.getLogger("imagegate.tests")
        return RequestResponseCycle(
            cast("Any", {"method": self.method}),
            transport,
            FlowControl(transport),
            log,
            log,
            access_log=False,
            default_headers=[*self.default],
            message_event=cast("asyncio.Event", None),
            expect_100_continue=True,
            keep_alive=self.keeps,
            on_response=lambda: None,
        )


class Outcome(NamedTuple):
    """What was written, and what follows from it; or what was raised."""

    head: bytes
    raised: type[Exception] | None
    started: bool
    awaited: bool
    keeps: bool
    length: int
    chunked: bool | None


def outcome(
    cycle: RequestResponseCycle, head: bytes, raised: type[Exception] | None
) -> Outcome:
    return Outcome(
        head,
        raised,
        cycle.response_started,
        cycle.waiting_for_100_continue,
        cycle.keep_alive,
        0 if raised else cycle.expected_content_length,
        None if raised else cycle.chunked_encoding,
    )


def uvicorns(
    asked: Asked, status: int, headers: list[tuple[bytes, bytes]], *, closing: bool
) -> Outcome:
    """Have uvicorn write a head, of what is not the server's to say."""
    ours = ENDS if closing else ENDS[:1]
    said = [item for item in headers if item[0].lower() not in ours]
    if closing:
        said.append((b"connection", b"close"))
    message = {"type": "http.response.start", "status": status, "headers": said}
    cycle = asked.cycle()
    try:
        cycle.send(cast("Any", message)).send(None)
    except StopIteration:
        cycle.keep_alive |= closing
        return outcome(cycle, cast("Kept", cycle.transport).written, None)
    except (RuntimeError, ValueError) as error:
        return outcome(cycle, b"", type(error))
    raise AssertionError("uvicorn waits")


def ours(
    asked: Asked, status: int, headers: list[tuple[bytes, bytes]], *, closing: bool
) -> Outcome:
    cycle = asked.cycle()
    try:
        head = begin(cycle, status, headers, closing=closing)
    except (RuntimeError, ValueError) as error:
        return outcome(cycle, b"", type(error))
    return outcome(cycle, head, None)


def lengths(headers: list[tuple[bytes, bytes]]) -> int:
    return [name.lower() for name, _ in headers].count(b"content-length")


@given(
    asked=st.builds(
        Asked, st.sampled_from(("POST", "HEAD")), st.booleans(), st.just(())
    ),
    status=st.sampled_from((200, 204, 304, 404, 500, 599)),
    headers=HEADERS.filter(lambda headers: lengths(headers) < 2),
    closing=st.booleans(),
)
@example(asked=Asked(keeps=False), status=200, headers=[], closing=False)
@example(
    asked=Asked(keeps=False),
    status=200,
    headers=[(b"connection", b"upgrade")],
    closing=False,
)
@settings(max_examples=500)
def test_a_head_is_what_uvicorn_would_write(
    asked: Asked, status: int, headers: list[tuple[bytes, bytes]], *, closing: bool
) -> None:
    expected = uvicorns(asked, status, headers, closing=closing)
    found = ours(asked, status, headers, closing=closing)
    if found.raised and expected.raised:
        # Which of two faults is told, and what was noted before, matters to nobody.
        found = found._replace(keeps=expected.keeps, raised=expected.raised)

    assert found == expected


@pytest.mark.parametrize("byte", b"\0\r\n")
def test_nothing_in_a_header_ends_it(byte: int) -> None:
    bad = b"x%cy" % byte
    for header in ((bad, b"1"), (b"x-y", bad)):
        with pytest.raises(RuntimeError):
            begin(Asked().cycle(), 200, [(b"a", b"b"), header], closing=False)


def test_two_lengths_are_refused_before_anything_is_noted() -> None:
    cycle = Asked().cycle()
    with pytest.raises(ValueError, match="one content-length"):
        begin(
            cycle,
            200,
            [(b"content-length", b"1"), (b"Content-Length", b"1")],
            closing=False,
        )

    assert not cycle.response_started


def test_what_the_server_says_of_itself_comes_first() -> None:
    cycle = Asked(default=((b"Server", b"s"),)).cycle()

    head = begin(cycle, 200, iter([(b"content-length", b"0")]), closing=False)

    assert head == b"HTTP/1.1 200 OK\r\nserver: s\r\ncontent-length: 0\r\n\r\n"
