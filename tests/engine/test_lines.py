"""Events line by line, to the letter of the standard.

`test_sse` holds the scanner that uses this reader against a reference; here the
reader stands alone.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import CUTS, STREAMS, blocks

from imagegate.engine.lines import Lines, Text
from imagegate.engine.reducer import LONG, WHOLE

Read = list[tuple[bytes, int, bool]]


def read(stream: bytes, cuts: list[int]) -> Read:
    """Read every event: its data, its end, and whether it is incomplete."""
    lines, found = Lines(), Read()
    inside = sorted(min(cut, len(stream)) for cut in cuts)
    for start, stop in pairwise([0, *inside, len(stream)]):
        text, pos = Text(stream[start:stop]), 0
        while pos < len(text.data):
            pos, message = lines.read(text, pos)
            if message is not None:
                found.append((message.text, start + pos, False))
    last = lines.finish()
    return found + ([(last.text, len(stream), True)] if last is not None else [])


@given(
    stream=STREAMS.filter(lambda stream: len(stream) <= WHOLE and stream[:1] != b"\xef")
    | st.lists(
        st.sampled_from([b"\r", b"\n", b"data", b"data:", b" ", b":", b"x", b"\xff"])
    ).map(b"".join),
    cuts=CUTS | st.lists(st.integers(0, 30)),
)
def test_events_are_those_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    """In any chunks; a text is told whole as long as it is short."""
    assert read(stream, cuts) == list(blocks(stream))


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: 1\ndata:2\ndata\n\n", b"1\n2\n"),
        (b"data\ndata:\n\n", b"\n"),
        (b"data:  1\n\n", b" 1"),
        (b"id: 1\ndata: 1\nretry: 2\n\n", b"1"),
    ],
)
def test_lines_of_data_are_joined(stream: bytes, data: bytes) -> None:
    """One space behind the colon is not data, and other fields are none."""
    assert read(stream, []) == [(data, len(stream), False)]
    assert read(stream, [*range(len(stream))]) == read(stream, [])


def test_each_end_of_a_line_is_found_once() -> None:
    """Where lines end in CR the text is not searched again for an LF."""
    text = Text(b"a\rb\rc\nd")

    assert [text.line_end(pos) for pos in (0, 2, 4, 6)] == [1, 3, 5, 7]
    assert text.line_end(7) == 7
    assert Text(b"ab\nc", cr=False).line_end(0) == 2


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ((b"data: 1\r", b"", b"\n", b"\n"), [False, False, False, True]),
        ((b"data: 1\r", b"\n\n"), [False, True]),
        ((b"data: 1\r", b"\r"), [False, True]),
        ((b"data: 1\r", b"id", b"\n", b"\n"), [False, False, False, True]),
        ((b"data: 1\r\r", b"\n", b"\n", b"data: 2\n\n"), [True, False, False, True]),
    ],
)
def test_a_line_feed_behind_a_carriage_return_is_its_own(
    pieces: tuple[bytes, ...], told: list[bool]
) -> None:
    """It may come in a later chunk, and is no blank line."""
    lines = Lines()

    assert [lines.read(Text(piece), 0)[1] is not None for piece in pieces] == told


@pytest.mark.parametrize("before", [b"", b"data: 0\r\r"])
@pytest.mark.parametrize("rest", [b"1\n\n", b"\n\n", b"1\r\ndata:2\r\n\r", b" 1\r\r"])
def test_an_event_can_be_begun_behind_the_name_of_its_data(
    before: bytes, rest: bytes
) -> None:
    """Whoever has seen that name need not show it."""
    shown, begun = Lines(), Lines()
    for lines in (shown, begun):
        lines.read(Text(before), 0)
    whole = b"event: x\ndata: " + rest
    begun.begin()
    fresh = begun.fresh

    end, message = shown.read(Text(whole), 0)

    assert begun.read(Text(rest), 0) == (end - len(whole) + len(rest), message)
    assert (fresh, begun.fresh, begun.inside) == (False, True, False)


@pytest.mark.parametrize(
    ("piece", "inside"),
    [
        (b'data: {"a":"' + b"x" * WHOLE, True),
        (b'data: {"a":"' + b"x" * WHOLE + b"\\", False),
        (b'data: {"a":"' + b"x" * WHOLE + b'"', False),
        (b'data: {"a":"' + b"x" * WHOLE + b"\n", False),
        (b'data: {"a":"' + b"x" * WHOLE + b"\n\n", False),
        (b'datum: {"a":"' + b"x" * WHOLE, False),
        (b'data: {"a":"' + b"x" * LONG, False),
    ],
)
def test_it_says_whether_a_long_string_is_open(piece: bytes, *, inside: bool) -> None:
    """Whoever has more of the same need not show it."""
    lines = Lines()
    lines.read(Text(piece), 0)

    assert lines.inside is inside


def test_what_is_skipped_counts() -> None:
    """In the length of the event's data."""
    lines = Lines()
    lines.skip(5)
    lines.read(Text(b'data: {"a":"' + b"x" * WHOLE), 0)
    lines.skip(1000)
    _, message = lines.read(Text(b'"}\n\n'), 0)

    assert message is not None
    assert message.length == len(b'{"a":""}') + WHOLE + 1000
