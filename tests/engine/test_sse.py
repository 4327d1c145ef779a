"""Server-sent events: the exact reading, whatever the chunks.

`reference` is the obvious reader: it needs the whole stream at once and decodes
every event. The scanner has to see what it sees, however the bytes are cut.
"""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagegate.engine.events import (
    Event,
    FinishedItem,
    ImageEvent,
    ResponseEvent,
    Undecodable,
    Unobservable,
)
from imagegate.engine.sse import SseScanner

GENERATING = "response.image_generation_call.generating"
DELTA = re.compile(rb'\{"type": ?"response\.[a-z_.]{1,80}\.delta",')

Seen = tuple[list[Event], bool, int]


def scan(stream: bytes, cuts: list[int]) -> Seen:
    scanner = SseScanner()
    events: list[Event] = []
    for start, stop in pairwise([0, *sorted(cuts), len(stream)]):
        events += scanner.feed(stream[start:stop])
    events += scanner.close()
    return events, scanner.started, scanner.boundary


def seen(stream: bytes) -> list[Event]:
    """Scan whole, byte by byte and cut at random; all must tell the same."""
    whole = scan(stream, [])
    if len(stream) < 20_000:
        assert scan(stream, list(range(len(stream)))) == whole
    dice = random.Random(len(stream))  # noqa: S311 - the same cuts in every run
    for pieces in (1, 2, 5, 40):
        cuts = [dice.randint(0, len(stream)) for _ in range(pieces)]
        assert scan(stream, cuts) == whole, cuts
    return whole[0]


def generating(item_id: str = "ig", **more: object) -> dict[str, object]:
    return {"type": GENERATING, "item_id": item_id, **more}


def delta(text: str = "word") -> dict[str, object]:
    return {"type": "response.output_text.delta", "delta": text}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def sse(*values: object, event: str = "message") -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event.encode(), compact(value))
        for value in values
    )


def ids(events: list[Event]) -> list[str | None]:
    return [event.item_id for event in events if isinstance(event, ImageEvent)]


# The oracle.


def blocks(stream: bytes) -> list[tuple[bytes, int, bool]]:
    """Split into (data, end, incomplete) as the standard says."""
    at = 3 if stream.startswith(b"\xef\xbb\xbf") else 0
    found, data = [], list[bytes]()
    while at < len(stream):
        line = re.compile(rb"[^\r\n]*").match(stream, at)
        assert line is not None
        ending = re.compile(rb"\r\n|\n|\r|").match(stream, line.end())
        assert ending is not None
        at = ending.end()
        if not line[0] and ending[0]:
            # The LF of a CRLF may not have come yet when the event is told.
            end = at - (ending[0] == b"\r\n")
            if data:
                found.append((b"\n".join(data), end, False))
            data = []
        name, _, value = line[0].partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
    if data:
        found.append((b"\n".join(data), len(stream), True))
    return found


def facts(  # noqa: PLR0911 - a table in prose
    data: bytes,
) -> tuple[Any, ...] | None:
    """Pick what an image or response event says, the slow way."""
    if data.strip() in {b"", b"[DONE]"} or DELTA.match(data):
        return None
    try:
        value = json.loads(data.decode("utf-8-sig", "replace"))
    except ValueError:
        return ("not_json",)
    if not isinstance(value, dict):
        return ("not_an_object",)
    kind = value.get("type")
    if kind == "response.created":
        return (kind, value["response"]["id"])
    if kind == GENERATING:
        return (kind, value["item_id"])
    if kind == "response.output_item.done":
        return (kind, value["item"]["id"], len(value["item"]["result"]))
    return None


def reference(stream: bytes) -> list[tuple[Any, ...]]:
    return [
        (*found, end, incomplete)
        for data, end, incomplete in blocks(stream)
        if (found := facts(data)) is not None
    ]


def told(event: Event) -> tuple[Any, ...]:
    place = (event.end, event.incomplete)
    match event:
        case Undecodable():
            return (event.reason, *place)
        case ResponseEvent():
            return (event.type, event.response_id, *place)
        case FinishedItem():
            assert event.image is not None
            return (event.type, event.item_id, event.image.length, *place)
        case ImageEvent():
            return (event.type, event.item_id, *place)
        case _:
            raise AssertionError(event)


WORDS = st.text("aé\u2028\u0085\\\"\n'/", max_size=8)
VALUES: st.SearchStrategy[object] = st.one_of(
    st.builds(delta, WORDS),
    st.builds(generating, WORDS, note=WORDS),
    st.builds(
        lambda i, n: {
            "type": "response.output_item.done",
            "item": {
                "result": "QUJD" * n,
                "type": "image_generation_call",
                "id": i,
            },
        },
        WORDS,
        st.sampled_from([0, 1, 1000, 1100, 20_000]),
    ),
    st.builds(lambda i: {"type": "response.created", "response": {"id": i}}, WORDS),
    st.sampled_from([None, [], 1, {}, {"type": "response.x"}]),
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event in any spelling, or something that is none."""
    spaced = draw(st.booleans())
    ascii_only = draw(st.booleans())
    value = draw(VALUES)
    text = (
        json.dumps(value, ensure_ascii=ascii_only)
        if spaced
        else json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    )
    lines = draw(
        st.sampled_from(
            [
                ["data: {}"],
                ["data:{}"],
                ["event: x", "data: {}"],
                ["data: {}", "id: 1"],
                [": note", "data: {}", "data"],
                ["data:", "data: {}"],
                ["dat", "data: {}", "retry", "database: 1"],
                ["data: [DONE]", "", "data: {}"],
                ["data: {} x"],
                ["data: \0"],
                ["\ufeffdata: {}"],
            ]
        )
    )
    newline = draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"]))
    ends = draw(st.sampled_from([1, 1, 1, 0, 2]))
    block = newline.join(lines).replace("{}", text) + newline * (1 + ends)
    return block.encode("utf-8", "surrogatepass")


STREAMS = st.builds(
    lambda bom, parts, tail: bom + b"".join(parts)[: None if tail else -1],
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(events(), max_size=8),
    st.booleans(),
)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 9000), max_size=12))
@example(stream=b"data: 1\n\n\ndata: 2\n", cuts=[])
def test_any_stream_in_any_chunks_is_read_as_the_reference_reads_it(
    stream: bytes, cuts: list[int]
) -> None:
    """The events, their ends and their completeness are the reference's."""
    expected = reference(stream)

    assert [told(event) for event in scan(stream, [])[0]] == expected
    assert scan(stream, [min(cut, len(stream)) for cut in cuts]) == scan(stream, [])


@given(
    stream=st.lists(
        st.sampled_from([
            b"\r", b"\n", b"data:", b"data: ", b"{", b"}", b'"', b"\\", b"event:",
            b"\xef\xbb\xbf", b"\xff", b"\0", b'{"type":"response.a.delta",', b"[",
            b'data: {"type":"response.a.delta",}\n\n', b"x" * 5000, b"[DONE]",
        ])
        | st.binary(max_size=5),
        max_size=40,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)  # fmt: skip
@example(stream=b"data: 1\n\n\r\n", cuts=[8])
@example(stream=b"data: 1\r\r\n\r\n", cuts=[8, 9, 10])
@example(stream=b"data: 1\r\rdata: 2\n\n\n", cuts=[9])
def test_any_bytes_are_read_the_same_in_any_chunks(
    stream: bytes, cuts: list[int]
) -> None:
    """No bytes raise, and no cut shows."""
    assert scan(stream, [min(cut, len(stream)) for cut in cuts]) == scan(stream, [])


ONE = compact(generating())


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: %s\n\n", id="lf"),
        pytest.param(b"data: %s\r\n\r\n", id="crlf"),
        pytest.param(b"data: %s\r\r", id="cr"),
        pytest.param(b"data: %s\r\n\n", id="mixed"),
        pytest.param(b"data: %s\n\r\n", id="mixed-2"),
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


def test_an_event_without_its_blank_line_is_told_at_the_end() -> None:
    """It is marked, for by the standard a client drops it."""
    stream = b"data: " + ONE

    assert seen(stream) == [
        ImageEvent(type=GENERATING, item_id="ig", end=len(stream), incomplete=True)
    ]


def test_the_end_is_told_once() -> None:
    """A second close has nothing to add."""
    scanner = SseScanner()
    scanner.feed(b"data: " + ONE)

    assert len(scanner.close()) == 1
    assert scanner.close() == []


def test_escaped_names_are_names() -> None:
    r"""`gener\u0061ting` is `generating` to every client."""
    stream = b"data: %s\n\n" % ONE.replace(b"generating", b"gener\\u0061ting")

    assert ids(seen(sse(delta()) + stream + sse(delta()))) == ["ig"]


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


def test_deltas_are_stepped_over_and_hide_nothing() -> None:
    """Whatever stands between, before and behind deltas is read."""
    other = {"type": "response.function_call_arguments.delta", "delta": "{"}
    stream = sse(
        *[delta()] * 3, generating("a"), *[delta()] * 3, other, other,
        generating("b"), delta(), generating("c"), *[delta()] * 2,
    )  # fmt: skip

    assert ids(seen(stream)) == ["a", "b", "c"]


def test_a_delta_with_a_second_data_line_is_still_one_event() -> None:
    """What follows such a delta is not taken for its part."""
    two = sse(delta())[:-1] + b"data: x\n\n"

    assert ids(seen(sse(delta(), delta()) + two + sse(generating()))) == ["ig"]


def test_an_incomplete_delta_is_nothing() -> None:
    """A cut-off text says nothing about images."""
    assert seen(sse(delta(), delta())[:-1]) == []


@pytest.mark.parametrize("first", [True, False], ids=["id-first", "result-first"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_a_long_line_is_read_wherever_its_facts_stand(
    newline: bytes, *, first: bool
) -> None:
    """Even the type may stand behind three megabytes of base64."""
    ident, kind = {"id": "ig"}, {"type": "image_generation_call"}
    result = {"result": "QUJD" * 750_000}
    item = ident | result | kind if first else result | ident | kind
    value = {"item": item, "type": "response.output_item.done"}
    stream = (sse(value) + sse(generating())).replace(b"\n", newline)

    events = seen(stream)

    assert [told(event)[:3] for event in events[:1]] == [
        ("response.output_item.done", "ig", 3_000_000)
    ]
    assert ids(events) == ["ig"]
    assert events[0].end == stream.index(b"event", 10) - (newline == b"\r\n")


def test_a_line_that_ends_inside_a_long_string_hides_nothing() -> None:
    """The broken event is told, the next one is read."""
    broken = b'data: {"type":"x","result":"' + b"A" * 200_000

    for newline in (b"\n\n", b"\r\r"):
        stream = broken + newline + sse(generating())
        edges = [len(broken) - 9, len(broken) + 2]

        assert [type(event) for event in seen(stream)] == [Undecodable, ImageEvent]
        assert scan(stream, edges) == scan(stream, [])


def test_an_event_with_too_many_members_is_told_and_passed() -> None:
    """Its type is told when it comes first."""
    many = b'{"type":"response.completed",' + b'"a":1,' * 200_000 + b'"b":1}'
    stream = b"data: " + many + b"\n\n" + sse(generating())

    assert seen(stream) == [
        Unobservable(type="response.completed", length=len(many), end=len(many) + 8),
        ImageEvent(type=GENERATING, item_id="ig", end=len(stream)),
    ]


def test_a_line_without_end_takes_bounded_memory() -> None:
    """Megabytes of anything leave less than one behind."""
    for piece in (b"A" * 65536, b'"a":1,' * 10_000, b"[" * 65536, b'\\"' * 30_000):
        scanner = SseScanner()
        scanner.feed(b'data: {"x":"')
        for _ in range(100):
            assert scanner.feed(piece) == []

        assert held(scanner) < 1_200_000


def held(scanner: SseScanner) -> int:
    """Count the bytes a scanner keeps."""
    data = scanner._lines._data
    assert data is not None
    assert data._reducer is not None
    return (
        len(data._kept)
        + len(scanner._carry)
        + len(data._reducer.kept)
        + sum(len(string.head) for string in data._reducer.held)
    )


def test_nothing_needs_to_wait_once_the_first_event_is_there() -> None:
    """A heartbeat or a foreign event does not count as the first."""
    scanner = SseScanner()
    first = sse({"type": "response.created", "response": {"id": "r"}})

    scanner.feed(b": hi\n\n" + sse({"type": "keepalive"}))
    assert scanner.started is False
    scanner.feed(first[:-1])
    assert scanner.started is False
    scanner.feed(first[-1:])
    assert scanner.started is True


def test_a_resumed_stream_has_started_with_its_first_delta() -> None:
    """There is no echo to wait for."""
    scanner = SseScanner()

    scanner.feed(sse(delta()))

    assert scanner.started is True


def test_a_long_delta_starts_a_stream_too() -> None:
    """The exact reader knows deltas by the same rule."""
    scanner = SseScanner()

    assert scanner.feed(sse(delta("x" * 100_000))) == []
    assert scanner.started is True


def test_the_boundary_is_the_end_of_the_last_complete_event() -> None:
    """The shell may cut there at any time."""
    scanner = SseScanner()
    one = sse(delta())

    scanner.feed(one + one + one[:20])
    assert scanner.boundary == 2 * len(one)
    scanner.feed(one[20:] + sse(generating()) + b": note")
    assert scanner.boundary == 3 * len(one) + len(sse(generating()))


def test_three_hundred_events_in_one_chunk() -> None:
    """Each is told, in order."""
    stream = sse(*(generating(str(number)) for number in range(300)))

    assert ids(scan(stream, [])[0]) == [str(number) for number in range(300)]
