"""Plain events, and runs of text deltas that are stepped over."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import NEWLINES, blocks, compact, delta, generating, mutated, runs, sse

from imagegate.engine.deltas import SMALL, Plain, is_delta, newline_of
from imagegate.engine.reducer import WHOLE


def learned(newline: str, *, event: str = "message") -> Plain:
    """A reader that has seen two deltas of a stream."""
    plain = Plain(newline.encode())
    for number in (4, 5):
        text = sse(delta("x", sequence_number=number), event=event, newline=newline)
        found = plain.event(text, 0)
        assert found is not None
        assert plain.learn(found)
    return plain


def deltas(count: int, newline: str = "\n", text: str = "word") -> bytes:
    values = [delta(text, sequence_number=number) for number in range(count)]
    return sse(*values, newline=newline)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"type":"response.output_text.delta","delta":"x"}', True),
        (b'{"type": "response.output_text.delta", "delta": "x"}', True),
        (b'{"type":"response.function_call_arguments.delta",', True),
        (b'{"type":"response.output_text.delta"}', False),
        (b'{"type":"response.output_text.done","x":1}', False),
        (b'{"type":"image_edit.delta","x":1}', False),
        (b'{ "type":"response.output_text.delta","x":1}', False),
        (b'{"type":"response.output_text.d\\u0065lta","x":1}', False),
        (b'{"sequence_number":1,"type":"response.output_text.delta"}', False),
        (b'{"type":"response.a.delta",', True),
        (b'{"type":"response..delta",', False),
        (b'{"type":"response.a.delta.b",', False),
        (b'{"type":"response.' + b"a" * 100 + b'.delta",', False),
        (b"", False),
    ],
)
def test_a_delta_is_known_by_its_first_member(data: bytes, *, told: bool) -> None:
    """All else is decoded, so it may be spelled in any way."""
    assert is_delta(data) is told


@pytest.mark.parametrize(
    ("text", "newline"),
    [(b"a", b"\n"), (b"a\n", b"\n"), (b"a\r", b"\r"), (b"a\r\nb", b"\r\n")],
)
def test_how_lines_end(text: bytes, newline: bytes) -> None:
    """What came before the place does not count."""
    assert newline_of(b"\r\n" + text, 2) == newline


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_a_plain_event_is_read(newline: str) -> None:
    """With its name or without, and a space or none."""
    plain = Plain(newline.encode())
    one, blank = compact(generating()), newline.encode() * 2

    for head in (b"data: ", b"data:", b"event: x" + newline.encode() + b"data: "):
        event = plain.event(b"?" + head + one + blank + b"rest", 1)

        assert event is not None
        assert event[1] == one
        assert event.end() == 1 + len(head) + len(one) + len(blank)
        assert not plain.learn(event)


def test_what_is_read_as_it_stands_would_be_kept_so() -> None:
    """By the exact reader, which cuts long strings out of more."""
    event = Plain(b"\n").event(b"data: " + b"1" * SMALL + b"\n\n", 0)

    assert event is not None
    assert len(event[1]) <= WHOLE


@pytest.mark.parametrize(
    "text",
    [
        b"data: 1\n",
        b"data: 1\n\r\n",
        b"data: 1\nid: 2\n\n",
        b"id: 2\ndata: 1\n\n",
        b": x\n\n",
        b"\n\n",
        b"data: " + b"1" * (SMALL + 1) + b"\n\n",
        b"event: " + b"x" * 200 + b"\ndata: 1\n\n",
    ],
)
def test_what_is_not_plain_is_left_to_others(text: bytes) -> None:
    """Nothing is read of it."""
    assert Plain(b"\n").event(text, 0) is None


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("count", [1, 2, 5, 40, 2000])
def test_a_run_is_stepped_over(newline: str, count: int) -> None:
    """Few deltas or many, up to what is no such delta."""
    plain, run = learned(newline), deltas(count, newline)

    assert plain.skip(b"?" + run, 1) == 1 + len(run)
    assert plain.skip(run + sse(generating(), newline=newline), 0) == len(run)
    assert plain.skip(run[:-1], 0) == len(deltas(count - 1, newline))


def test_nothing_is_stepped_over_before_a_delta_was_seen() -> None:
    """Or when its like is not there."""
    assert Plain(b"\n").skip(deltas(3), 0) == 0
    assert learned("\n", event="other").skip(deltas(3), 0) == 0


@given(
    stream=mutated(runs()),
    newline=st.sampled_from(NEWLINES),
    known=st.sampled_from(["output_text", "refusal"]),
)
def test_only_deltas_are_stepped_over(stream: bytes, newline: str, known: str) -> None:
    """Every event that ends in what was skipped is one, and none is cut."""
    plain = Plain(newline.encode())
    pattern = "event: x\ndata: %s\n\n".replace("\n", newline).encode()
    for number in (1, 2):
        value = {"type": f"response.{known}.delta", "sequence_number": number}
        event = plain.event(pattern % compact(value | {"delta": ""}), 0)
        assert event is not None
        plain.learn(event)

    end = plain.skip(stream, 0)

    whole = [data for data, _, incomplete in blocks(stream[:end]) if not incomplete]
    assert len(whole) == len(list(blocks(stream[:end])))
    assert all(is_delta(data) for data in whole)
    assert not end or stream[:end].endswith(newline.encode() * 2)
    for start, stop in itertools.pairwise([0, *places(stream)]):
        piece = stream[start:stop]
        if piece.startswith(plain.head) and plain.is_one(piece):
            ((data, _, incomplete),) = blocks(piece)
            assert is_delta(data)
            assert not incomplete


def places(stream: bytes) -> list[int]:
    """Where line ends follow on each other, by which a stream may have been sent."""
    return [found.end() for found in re.finditer(rb"[\r\n]{2,4}", stream)]


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_a_delta_in_a_piece_of_its_own_is_told_at_once(newline: str) -> None:
    """More of the stream, less of it, or an odd line end is told in another way."""
    plain, one = learned(newline), deltas(1, newline)
    odd = [one.replace(b"word", b"wo%brd" % end) for end in (b"\n", b"\r", b"\r\n")]

    assert plain.is_one(one)
    for text in (one * 2, one + b"\n", one[:-1], one + one[:9], plain.head, *odd):
        assert not plain.is_one(text)


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("odd", ["\n", "\r", "\r\n", "\ndata: 1\n"])
def test_a_line_end_inside_a_run_stops_before_it(
    newline: str, count: int, odd: str
) -> None:
    """However many deltas are tried at once."""
    plain, run = learned(newline), deltas(count, newline)
    broken = deltas(1, newline).replace(b'"word"', b'"wo%brd"' % odd.encode())

    assert plain.skip(run + broken + run, 0) <= len(run)


def test_a_line_feed_before_its_carriage_return_ends_a_line() -> None:
    """The last delta of a run is looked at like the others."""
    plain, some = learned("\r\n"), deltas(2, "\r\n")
    broken = deltas(1, "\r\n").replace(b'"word"', b'"wo\nrd"')

    assert plain.skip(some + broken, 0) == len(some)
    assert plain.skip(broken + some, 0) == 0


def test_what_hides_one_event_costs_no_second_look_at_the_others() -> None:
    """A run that is not clean is told one by one as far as it was tried."""
    plain, run = learned("\n"), deltas(400)
    text = (run + sse(generating())) * 3

    pos = 0
    for _ in range(12):
        pos = plain.skip(text, pos)
        event = plain.event(text, pos)
        if event is not None:
            pos = event.end()

    assert pos == len(text)


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_large_deltas_are_stepped_over_too(newline: str) -> None:
    """Also where few fit into what is tried."""
    plain = learned(newline)
    text = deltas(9, newline, "x" * 3000)

    for _ in range(99):
        pos = plain.skip(text, 0)
        assert pos == len(text)


def test_the_beginning_of_a_delta_can_wait() -> None:
    """Whatever there is of it, as long as its line has not ended."""
    plain, one = learned("\n"), deltas(1)

    told = [plain.begun(b"?" + one[:size], 1) for size in range(len(one) + 1)]

    assert told == [True] * (len(one) - 1) + [False] * 2
    assert plain.begun(one, len(one))


@pytest.mark.parametrize("rest", [b"data: 1", b"e", b"event: x\ndata: {}", b"\r"])
def test_the_beginning_of_something_else_is_looked_at(rest: bytes) -> None:
    """By whoever reads it exactly."""
    plain = learned("\n")

    assert plain.begun(rest, 0) is (rest == b"e")
    assert not plain.begun(rest + b"x" * 500, 0)
    assert not plain.begun(deltas(1)[:-2] + b"\r", 0)


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_an_event_waits_until_its_blank_line(newline: str) -> None:
    """Of a CRLF the CR is enough."""
    text = sse(generating(), newline=newline)
    plain, late = Plain(newline.encode()), newline == "\r\n"

    assert plain.late == late
    assert not plain.waits(text, 0)
    assert not plain.waits(text[: len(text) - late], 0)
    assert plain.waits(text[: len(text) - late - 1], 0)
    assert plain.waits(text, len(text) - late - 1)


def test_deltas_of_several_kinds_are_known_at_once() -> None:
    """Audio and its transcript come by turns; a few kinds are remembered."""
    plain = learned("\n")
    for number in range(20):
        kind = f"response.{'abcdefghijklmnopqrst'[number]}.delta"
        for value in ({"n": 1, "delta": "x"}, {"n": 2, "delta": "y"}):
            event = plain.event(sse({"type": kind, **value}), 0)
            assert event is not None
            assert plain.learn(event)
        many = sse(*({"type": kind, "n": n, "delta": "z"} for n in range(99)))

        assert plain.skip(many, 0) == len(many)
    assert plain.skip(deltas(2), 0) == 0


def test_kinds_may_alternate() -> None:
    """Each is known again when it comes back."""
    plain, audio = learned("\n"), {"type": "response.audio.delta", "n": 1, "delta": ""}
    for value in (audio, delta("x", sequence_number=7), audio):
        event = plain.event(sse(value), 0)
        assert event is not None
        assert plain.learn(event)
        assert plain.skip(sse(*[value] * 50), 0) == 50 * len(sse(value))


def test_one_delta_is_enough_where_they_are_counted() -> None:
    """The number behind the type is another one each time."""
    plain, kind = Plain(b"\n"), "response.output_text.delta"
    one, *others = [{"type": kind, "number": n, "delta": "x"} for n in range(99)]
    event = plain.event(sse(one), 0)
    assert event is not None
    assert plain.learn(event)

    assert plain.skip(sse(*others), 0) == len(sse(*others))


def test_how_a_delta_begins_ends_with_its_data() -> None:
    """Where there is no number, what follows is no part of it."""
    plain, one = Plain(b"\n"), sse({"type": "response.output_text.delta", "delta": ""})
    event = plain.event(one * 2, 0)
    assert event is not None
    assert plain.learn(event)

    assert plain.head == one[:-2]


def test_what_deltas_have_in_common_is_what_the_next_are_known_by() -> None:
    """Never less than that they are deltas."""
    plain = learned("\n")
    event = plain.event(sse(delta("x", n=1)), 0)
    assert event is not None
    assert plain.learn(event)

    assert plain.head.endswith(b'.delta","')
    assert plain.skip(deltas(99), 0) == len(deltas(99))
