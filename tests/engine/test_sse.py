"""Server-sent events: the exact reading, whatever the chunks."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from streams import (
    CUTS,
    GENERATING,
    NEWLINES,
    STREAMS,
    WHOLE_STREAMS,
    blocks,
    compact,
    delta,
    every,
    generating,
    reference,
    scan,
    seen,
    sse,
)

from imagegate.engine.events import (
    Event,
    FinishedItem,
    ImageEvent,
    ResponseEvent,
    StreamError,
    Undecodable,
    Unobservable,
)
from imagegate.engine.sse import SseScanner

DELTA = re.compile(rb'\{"type": ?"response\.[a-z_.]{1,80}\.delta",')


def ids(events: list[Event]) -> list[str | None]:
    return [event.item_id for event in events if isinstance(event, ImageEvent)]


@given(stream=STREAMS, cuts=CUTS, size=st.integers(1, 3000))
@example(stream=b"data: 1\n\n\ndata: 2\n", cuts=[], size=9)
@example(stream=sse(*[delta()] * 99, newline="\r\n"), cuts=[], size=3)
def test_any_stream_in_any_chunks_is_read_as_the_reference_reads_it(
    stream: bytes, cuts: list[int], size: int
) -> None:
    """The events, where they end and whether they are whole."""
    told = reference(stream)

    assert scan(stream, []) == told
    assert scan(stream, cuts) == told
    assert scan(stream, every(size, stream)) == told


def facts(data: bytes) -> tuple[Any, ...] | None:  # noqa: PLR0911 - a table in prose
    """Pick what an event says with the standard library, and nothing of ours."""
    if data.strip() in {b"", b"[DONE]"} or DELTA.match(data):
        return None
    try:
        value = json.loads(data.decode("utf-8-sig", "replace"))
    except ValueError:
        return ("not_json",)
    if not isinstance(value, dict):
        return ("not_an_object",)
    kind = value.get("type")
    if kind is None and isinstance(value.get("error"), dict):
        return ("error",)
    if kind == "response.created":
        return (kind, value["response"]["id"])
    if kind == GENERATING:
        return (kind, value["item_id"])
    if kind == "response.output_item.done":
        return (kind, value["item"]["id"], len(value["item"]["result"]))
    return None


def told(event: Event) -> tuple[Any, ...]:
    match event:
        case Undecodable():
            return (event.reason,)
        case ResponseEvent():
            return (event.type, event.response_id)
        case FinishedItem():
            assert event.image is not None
            return (event.type, event.item_id, event.image.length)
        case ImageEvent():
            return (event.type, event.item_id)
        case StreamError():
            return ("error",)
        case _:
            raise AssertionError(event)


@given(stream=WHOLE_STREAMS)
def test_the_reference_says_what_the_standard_library_reads(stream: bytes) -> None:
    """So nothing that both sides of the comparison share can be wrong unseen."""
    expected = [
        (fact, end, incomplete)
        for data, end, incomplete in blocks(stream)
        if (fact := facts(data)) is not None
    ]

    assert [
        (told(event), event.end, event.incomplete) for event in reference(stream)
    ] == expected


@given(
    stream=st.lists(
        st.sampled_from([
            b"\r", b"\n", b"data:", b"data: ", b"{", b"}", b'"', b"\\", b"event:",
            b"\xef\xbb\xbf", b"\xff", b"\0", b'{"type":"response.a.delta",', b"[",
            b'data: {"type":"response.a.delta",}\n\n', b"x" * 5000, b"[DONE]",
            b'data: {"type":"response.a.delta",}\r\n\r\n', b"y" * 17_000,
        ])
        | st.binary(max_size=5),
        max_size=40,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 400), max_size=12) | CUTS,
)  # fmt: skip
@example(stream=b"data: 1\n\n\r\n", cuts=[8])
@example(stream=b"data: 1\r\r\n\r\n", cuts=[8, 9, 10])
@example(stream=b"data: 1\r\rdata: 2\n\n\n", cuts=[9])
@example(stream=b'data:"' + b"y" * 17_000 + b'\\\n\ndata:"', cuts=[17_000, 17_007])
@example(stream=b'data:"' + b"y" * 17_000 + b"\r\ndata:1", cuts=[17_000, 17_007])
def test_any_bytes_are_read_as_the_reference_reads_them(
    stream: bytes, cuts: list[int]
) -> None:
    """No bytes raise, and no cut shows."""
    assert scan(stream, cuts) == reference(stream)


ONE = compact(generating())


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: %s\n\n", id="lf"),
        pytest.param(b"data: %s\r\n\r\n", id="crlf"),
        pytest.param(b"data: %s\r\r", id="cr"),
        pytest.param(b"data: %s\r\n\n", id="mixed"),
        pytest.param(b"data: %s\n\r\n", id="mixed-2"),
        pytest.param(b"data: %s\r\r\n", id="mixed-3"),
        pytest.param(b"data:%s\n\n", id="no-space"),
        pytest.param(b"event: response.x\ndata: %s\n\n", id="wrong-event"),
        pytest.param(b"event\ndata: %s\n\n", id="field-without-colon"),
        pytest.param(b": note\n:\n\ndata: %s\n\n", id="comments"),
        pytest.param(b"id: 7\nretry: 10\ndata: %s\nid: 8\n\n", id="id-and-retry"),
        pytest.param(b"\xef\xbb\xbfdata: %s\n\n", id="byte-order-mark"),
        pytest.param(b"\n\n\n\r\ndata: %s\n\n", id="blank-lines-first"),
        pytest.param(b"data:\ndata: %s\ndata\n\n", id="empty-data-lines"),
        pytest.param(b'data: "\xff"\n\ndata: %s\n\n', id="invalid-utf-8-before"),
        pytest.param(b"data: [DONE]\n\ndata:\n\ndata: %s\n\n", id="done-and-empty"),
        pytest.param(b"DATA: x\n data: x\ndata : x\ndata: %s\n\n", id="not-data"),
    ],
)  # fmt: skip
def test_every_form_of_an_event_is_read(stream: bytes) -> None:
    """Line endings, fields and comments make no difference."""
    events = seen(stream % ONE)

    assert ids(events) == ["ig"]
    assert events[-1].incomplete is False


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"xdata: %s\n\n", id="other-field"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: %s\n\n", id="second-mark"),
        pytest.param(sse(delta(GENERATING)), id="quoted"),
        pytest.param(b"\xef", id="half-a-mark"),
        pytest.param(b"data: [DONE]\n\n", id="done"),
        pytest.param(b"", id="nothing"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_silent(stream: bytes) -> None:
    """Other fields, one mark too many and quoted names tell nothing."""
    assert seen(stream % ONE if b"%" in stream else stream) == []


def test_data_lines_join_with_a_line_feed() -> None:
    """One JSON object over several data lines is one event."""
    stream = b'data: {"type":\r\ndata:  "%s",\ndata:"item_id":"ig"}\n\n'

    assert ids(seen(stream % GENERATING.encode())) == ["ig"]


def test_a_line_end_inside_a_string_is_no_json() -> None:
    """What no client can read is not pieced together for it."""
    stream = b'data: {"type":"x\ndata: y"}\n\n'

    assert seen(stream) == [Undecodable(reason="not_json", length=14, end=len(stream))]


@pytest.mark.parametrize("more", [0, 9_000], ids=["small", "large"])
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["in-a-line", "behind-a-line"])
def test_an_event_without_its_blank_line_is_told_at_the_end(
    more: int, end: bytes
) -> None:
    """It is marked, for by the standard a client drops it."""
    stream = b"data: " + compact(generating(x=["y"] * more)) + end

    assert seen(stream) == [
        ImageEvent(type=GENERATING, item_id="ig", end=len(stream), incomplete=True)
    ]


def test_the_end_is_told_once() -> None:
    """A second close has nothing to add."""
    scanner = SseScanner()
    scanner.feed(b"data: " + ONE)

    assert len(scanner.close()) == 1
    assert scanner.close() == []


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_an_event_is_told_with_the_chunk_that_ends_it(newline: str) -> None:
    """It is not held back for more to come: its record goes before its bytes."""
    stream = sse(delta(), delta(), generating("a"), newline=newline)
    last = len(stream) - (newline == "\r\n")  # the blank line ends with its CR
    scanner = SseScanner()

    assert scanner.feed(stream[: last - 1]) == []
    assert ids(scanner.feed(stream[last - 1 : last])) == ["a"]


def test_escaped_names_are_names() -> None:
    r"""`gener\u0061ting` is `generating` to every client."""
    stream = b"data: %s\n\n" % ONE.replace(b"generating", b"gener\\u0061ting")

    assert ids(seen(sse(*[delta()] * 50) + stream + sse(*[delta()] * 50))) == ["ig"]


def test_unicode_line_separators_are_not_line_ends() -> None:
    """U+2028 and U+0085 stand in strings as they are."""
    text = json.dumps(generating(note="a\u2028b\u0085c"), ensure_ascii=False)

    assert ids(seen(b"data: %s\n\n" % text.encode())) == ["ig"]


def test_what_cannot_be_decoded_is_told_and_the_scan_goes_on() -> None:
    """`data: null` and broken JSON hide nothing behind them."""
    stream = b"data: null\n\ndata: {x\n\n" + sse(generating())

    assert seen(stream) == [
        Undecodable(reason="not_an_object", length=4, end=12),
        Undecodable(reason="not_json", length=2, end=22),
        ImageEvent(type=GENERATING, item_id="ig", end=len(stream)),
    ]


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_deltas_are_stepped_over_and_hide_nothing(newline: str) -> None:
    """Whatever stands between, before and behind deltas is read."""
    other = {"type": "response.function_call_arguments.delta", "delta": "{"}
    some = [delta("x", sequence_number=number) for number in range(99)]
    stream = sse(
        *some, generating("a"), *some, other, other, generating("b"), delta(),
        generating("c"), *some, newline=newline,
    )  # fmt: skip

    assert ids(seen(stream)) == ["a", "b", "c"]


@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("other", NEWLINES, ids=["lf", "crlf", "cr"])
def test_a_line_end_of_another_kind_hides_nothing_in_a_run(
    newline: str, other: str
) -> None:
    """It ends the line and may begin an event, with no blank line before it."""
    some = sse(*[delta()] * 50, newline=newline)
    hidden = f"{other}data: 1{other}{other}data: ".encode() + ONE
    stream = some + some[: -2 * len(newline)] + hidden + b"\n\n" + some

    assert ids(seen(stream)) == ["ig"]


def test_a_delta_with_a_second_data_line_is_still_one_event() -> None:
    """What follows such a delta is not taken for its part."""
    two = sse(delta())[:-1] + b"data: x\n\n"

    assert ids(seen(sse(delta(), delta()) + two + sse(generating()))) == ["ig"]


def test_an_incomplete_delta_is_nothing() -> None:
    """A cut-off text says nothing about images."""
    assert seen(sse(delta(), delta())[:-1]) == []


@pytest.mark.parametrize("first", [True, False], ids=["id-first", "result-first"])
@pytest.mark.parametrize("newline", NEWLINES, ids=["lf", "crlf", "cr"])
def test_a_long_line_is_read_wherever_its_facts_stand(
    newline: str, *, first: bool
) -> None:
    """Even the type may stand behind three megabytes of base64."""
    ident, kind = {"id": "ig"}, {"type": "image_generation_call"}
    result = {"result": "QUJD" * 750_000}
    item = ident | result | kind if first else result | ident | kind
    value = {"item": item, "type": "response.output_item.done"}
    stream = sse(value, generating(), newline=newline)

    events = seen(stream)

    assert told(events[0]) == ("response.output_item.done", "ig", 3_000_000)
    assert ids(events) == ["ig"]
    assert events[0].end == stream.index(b"event", 10) - (newline == "\r\n")


@pytest.mark.parametrize("newline", [b"\n\n", b"\r\r"], ids=["lf", "cr"])
@pytest.mark.parametrize("size", [500, 3000, 70_000])
def test_a_line_that_ends_inside_a_long_string_hides_nothing(
    newline: bytes, size: int
) -> None:
    """The broken event is told, the next one is read."""
    broken = b'data: {"type":"x","result":"' + b"A" * 200_000
    stream = broken + newline + sse(generating())

    assert [type(event) for event in seen(stream)] == [Undecodable, ImageEvent]
    assert scan(stream, every(size, stream)) == reference(stream)


@pytest.mark.parametrize(
    "end", [b"\n\n", b"\r\r", b"\r\n\r\n"], ids=["lf", "cr", "crlf"]
)
@pytest.mark.parametrize("size", [100, 20_000])
def test_a_line_end_is_found_in_what_has_no_quote(end: bytes, size: int) -> None:
    """In a large chunk, or in many small ones."""
    opened = b'data: {"type":"x","result":"' + b"A" * 20_000
    chunks = [opened, *[b"A" * size] * 300, b"A" * size + end, *[b": A" * size] * 300]
    stream = b"".join(chunks)
    scanner = SseScanner()

    events = [event for chunk in chunks for event in scanner.feed(chunk)]

    assert [*events, *scanner.close()] == reference(stream)
    assert [type(event) for event in events] == [Undecodable]


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_backslash_at_the_end_of_a_chunk_escapes_the_quote(size: int) -> None:
    """So the string goes on behind it."""
    item = {"type": "image_generation_call", "result": "?", "id": "ig"}
    done = compact({"type": "response.output_item.done", "item": item})
    piece = b"A" * size + b"\\"
    chunks = [b"data: " + done.replace(b'?"', b"A" * 20_000), *[piece, b'"'] * 300]
    chunks.append(b'"' + done.partition(b'?"')[2] + b"\n\n")
    scanner = SseScanner()

    events = [event for chunk in chunks for event in scanner.feed(chunk)]

    assert events == reference(b"".join(chunks))


def test_an_event_with_too_many_members_is_told_and_passed() -> None:
    """Its type is told when it comes first."""
    many = b'{"type":"response.completed",' + b'"a":1,' * 200_000 + b'"b":1}'
    stream = b"data: " + many + b"\n\n" + sse(generating())

    assert seen(stream) == [
        Unobservable(type="response.completed", length=len(many), end=len(many) + 8),
        ImageEvent(type=GENERATING, item_id="ig", end=len(stream)),
    ]


def peak(chunks: Iterable[bytes], *, begun: bytes = b'data: {"x":"') -> int:
    """Feed what follows such a beginning, and say how much memory that took."""
    scanner = SseScanner()
    scanner.feed(begun)
    tracemalloc.start()
    for chunk in chunks:
        scanner.feed(chunk)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("size", [16 * 1024, 64 * 1024, 256 * 1024])
def test_an_image_of_any_length_takes_bounded_memory(size: int) -> None:
    """A line of 45 MB is ordinary."""
    assert peak(repeat(b"A" * size, 45_000_000 // size)) < 4 * size + 200_000


@pytest.mark.parametrize(
    "unit",
    [b"A", b'"a":1,', b"[", b'\\"', b"\\", b"\n", b"data: 1\n", b": x\r", b"\n\n1"],
)
def test_a_line_without_end_takes_bounded_memory(unit: bytes) -> None:
    """Whatever it is made of, and in small pieces too."""
    unit *= 1200 // len(unit)

    assert peak(repeat(unit, 2000 if unit[0] == unit[-1] else 40)) < 1_500_000


def test_a_delta_without_end_takes_bounded_memory() -> None:
    """It is not kept to be stepped over when its end comes."""
    begun = sse(delta("a"), delta("b"), delta("c"))[:-4]

    assert peak(repeat(b"A" * 1000, 3000), begun=begun) < 200_000


def test_three_hundred_events_in_one_chunk() -> None:
    """Each is told, in order."""
    stream = sse(*(generating(str(number)) for number in range(300)))

    assert ids(scan(stream, [])) == [str(number) for number in range(300)]
