"""Streams of server-sent events, and the obvious way to read them.

`reference` needs the whole stream at once and decodes every event. Whatever a
scanner does to be fast, it has to tell the same, however the bytes are cut.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st

from imagegate.engine.events import Event
from imagegate.engine.meaning import read_event
from imagegate.engine.reducer import message
from imagegate.engine.sse import SseScanner

GENERATING = "response.image_generation_call.generating"
NEWLINES = ("\n", "\r\n", "\r")
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


def generating(item_id: str = "ig", **more: object) -> dict[str, object]:
    return {"type": GENERATING, "item_id": item_id, **more}


def delta(text: str = "word", **more: object) -> dict[str, object]:
    return {"type": "response.output_text.delta", **more, "delta": text}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def sse(*values: object, event: str = "message", newline: str = "\n") -> bytes:
    """Frame events as the providers do."""
    frame = f"event: {event}\ndata: %s\n\n".replace("\n", newline).encode()
    return b"".join(frame % compact(value) for value in values)


def blocks(stream: bytes) -> Iterator[tuple[bytes, int, bool]]:
    """Split into (data, end, incomplete), line by line, as the standard says."""
    at = 3 if stream.startswith(b"\xef\xbb\xbf") else 0
    data: list[bytes] = []
    while at < len(stream):
        line = _LINE.match(stream, at)
        assert line is not None
        text, ending = line.groups()
        at = line.end()
        name, _, value = text.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        if not text and data:
            # The LF of a CRLF may not have come yet when the event is told.
            yield b"\n".join(data), at - (ending == b"\r\n"), False
            data = []
    if data:
        yield b"\n".join(data), len(stream), True


def reference(stream: bytes) -> list[Event]:
    return [
        event
        for data, end, incomplete in blocks(stream)
        for event in read_event(message(data), end=end, incomplete=incomplete)
    ]


def scan(stream: bytes, cuts: list[int]) -> list[Event]:
    """Feed a scanner; the cuts are places in the stream, in any order."""
    scanner = SseScanner()
    events: list[Event] = []
    inside = sorted(min(cut, len(stream)) for cut in cuts)
    for start, stop in pairwise([0, *inside, len(stream)]):
        events += scanner.feed(stream[start:stop])
    return events + scanner.close()


def every(size: int, stream: bytes) -> list[int]:
    """Cut into chunks of one size."""
    return list(range(0, len(stream), size))


def seen(stream: bytes) -> list[Event]:
    """Scan in many ways; all must tell what the reference tells."""
    told = reference(stream)
    assert scan(stream, []) == told
    if len(stream) < 20_000:
        assert scan(stream, every(1, stream)) == told
    dice = random.Random(len(stream))  # noqa: S311 - the same cuts in every run
    for pieces in (1, 2, 5, 40):
        cuts = [dice.randint(0, len(stream)) for _ in range(pieces)]
        assert scan(stream, cuts) == told, cuts
    return told


# Streams of any kind, well-formed and not.

WORDS = st.text("aé\u2028\u0085\\\"\n'/{", max_size=8)


def _item(item_id: str, size: int) -> dict[str, object]:
    item = {"result": "QUJD" * size, "type": "image_generation_call", "id": item_id}
    return {"type": "response.output_item.done", "item": item}


VALUES: st.SearchStrategy[object] = st.one_of(
    st.builds(delta, WORDS),
    st.builds(generating, WORDS, note=WORDS),
    st.builds(_item, WORDS, st.sampled_from([0, 1, 1000, 1100, 5000, 20_000])),
    st.builds(lambda i: {"type": "response.created", "response": {"id": i}}, WORDS),
    st.builds(lambda text: delta(GENERATING, type=text), WORDS),
    st.sampled_from(
        [None, [], 1, {}, {"type": "response.x"}, {"error": {"code": "c"}}]
    ),
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event in any spelling, or something that is none."""
    separators = draw(st.sampled_from([None, (",", ":")]))
    ascii_only = draw(st.booleans())
    value = draw(VALUES)
    text = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
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


@st.composite
def runs(draw: st.DrawFn) -> bytes:
    """Many deltas in the plain form, and perhaps something between them."""
    newline = draw(st.sampled_from(NEWLINES))
    kind = draw(st.sampled_from(["output_text", "refusal"]))
    frame = draw(st.sampled_from(["event: x\ndata: %b\n\n", "data:%b\n\n"]))
    words = draw(st.lists(WORDS, min_size=1, max_size=4))
    count = draw(st.sampled_from([2, 12, 60, 400]))
    values: list[object] = [
        {
            "type": f"response.{kind}.delta",
            "sequence_number": number,
            "delta": words[number % len(words)],
        }
        for number in range(count)
    ]
    for _ in range(draw(st.integers(0, 2))):
        values.insert(draw(st.integers(0, count)), draw(VALUES))
    pattern = frame.replace("\n", newline).encode()
    return b"".join(pattern % compact(value) for value in values)


@st.composite
def mutated(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    """A stream in which some bytes are lost, doubled or put in."""
    stream = draw(streams)
    junk = st.sampled_from(
        [b"\n", b"\r", b"\n\n", b"\r\n", b"\\", b'"', b"data: ", b"\ndata: 1\n", b""]
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        lost = draw(st.sampled_from([0, 0, 1, 2, 30]))
        twice = draw(st.sampled_from([0, 0, 1, 40]))
        stream = stream[:at] + draw(junk) + stream[max(0, at + lost - twice) :]
    return stream


WHOLE_STREAMS = st.builds(
    lambda bom, parts, cut: bom + b"".join(parts)[: None if cut else -1],
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(events() | runs(), max_size=6),
    st.booleans(),
)
STREAMS = mutated(WHOLE_STREAMS)
CUTS = st.lists(st.integers(0, 9000), max_size=12)
