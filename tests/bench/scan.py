"""What observing an answer costs: in copies of the same bytes, and event by event.

Run it: `python tests/bench/scan.py [--json FILE]`. The first tables hold a scanner
against `memcpy` of the same chunks, which reading them costs at least. The last holds
one event in a chunk of its own against `json.loads` of its data.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import cycle, islice

from imagegate import shipped
from imagegate.engine.body import read_body_now
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.scanner import scanner_for
from imagegate.engine.surface import find_door
from imagegate.policyfile import load_policy
from ratio import Measured, compare, duration, main, show

SSE = "text/event-stream"
SIZES = (1400, 16 * 1024, 64 * 1024, 256 * 1024)
NEWLINES = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}
WORDS = " a", " tabby", " cat", ",", " sitting", "\n\n", " caf\u00e9", ' "', " on", "."
TOOL = {
    "type": "image_generation",
    "action": "auto",
    "background": "auto",
    "model": "gpt-image-1-mini",
    "moderation": "auto",
    "n": 1,
    "output_compression": 100,
    "output_format": "png",
    "quality": "low",
    "size": "1024x1024",
}
Value = dict[str, object]


def compact(value: Value) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def frame(event: Value) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), compact(event))


def sse(*events: Value) -> bytes:
    return b"".join(map(frame, events))


def delta(number: int, word: str = " word") -> Value:
    return {
        "type": "response.output_text.delta",
        "sequence_number": number,
        "item_id": "msg_68a1f0c2b4d88190a7d5e3f2b1c0d9e8",
        "output_index": 1,
        "content_index": 0,
        "delta": word,
        "logprobs": [],
        "obfuscation": base64.b64encode(os.urandom(9)).decode(),
    }


def deltas(count: int) -> list[Value]:
    words = islice(cycle(WORDS), count)
    return [delta(number, word) for number, word in enumerate(words, 4)]


def turn(name: str, *output: Value) -> Value:
    response = {
        "id": "resp_68a1f0c2b4d88190a7d5e3f2b1c0d9e8",
        "object": "response",
        "status": name,
        "background": False,
        "error": None,
        "model": "gpt-6-astra",
        "output": output,
        "tools": [TOOL],
    }
    return {"type": f"response.{name}", "sequence_number": 0, "response": response}


def call(name: str, **members: object) -> Value:
    kind = f"response.image_generation_call.{name}"
    ids = {"sequence_number": 5, "output_index": 0, "item_id": "ig_68a1f0c2b4d881"}
    return {"type": kind, **ids, **members}


def picture(size: int) -> str:
    return base64.b64encode(os.urandom(size)).decode()


def text(count: int) -> bytes:
    return sse(turn("created"), turn("in_progress"), *deltas(count), turn("completed"))


def images() -> bytes:
    partial = call("partial_image", partial_image_b64=picture(1_500_000))
    return sse(turn("created"), *deltas(200), *[partial] * 3, turn("completed"))


def inside() -> bytes:
    """Return an image and nothing else, up to where it ends."""
    return frame(call("partial_image", partial_image_b64=picture(6_000_000)))[:-9]


def answer() -> bytes:
    item = {"type": "image_generation_call", "result": picture(3_000_000), "id": "ig_0"}
    return compact({"id": "resp_0a", "object": "response", "output": [item]})


def streams() -> dict[str, tuple[str, bytes]]:
    plain = {
        "inside an image": inside(),
        "200 deltas, 3 images": images(),
        "200 deltas": text(200),
        "4000 deltas": text(4000),
    }
    found = {
        f"{name}, {kind}": (SSE, data.replace(b"\n", newline))
        for name, data in plain.items()
        for kind, newline in NEWLINES.items()
    }
    return {**found, "JSON answer with an image": ("application/json", answer())}


def scanned(name: str, kind: str, data: bytes, size: int) -> Measured:
    """Scan and copy `data` in chunks of `size`."""
    chunks = [data[at : at + size] for at in range(0, len(data), size)]

    def copy() -> None:
        for chunk in chunks:
            bytes(memoryview(chunk))

    def scan() -> None:
        scanner = scanner_for(kind)
        assert scanner is not None
        for chunk in chunks:
            scanner.feed(chunk)
        scanner.close()

    row = compare(name, scan, copy, clock=time.process_time)
    each = duration(row.ours / len(chunks))
    note = f"{row.ours * 1e12 / len(data):7.0f} µs/MB  {each:>8} a chunk"
    return replace(row, note=note)


def exchange() -> Exchange:
    """Begin an exchange under the policy that is shipped as standard."""
    today, catalogue = datetime.date(2026, 11, 21), shipped.catalogue()
    data = shipped.find_policy("standard").read_bytes()
    policy = load_policy(data, file="standard", catalogue=catalogue, today=today)
    gate = Gate(policy, catalogue, hash_key=b"key")
    door = find_door("POST", "/v1/responses")
    begun = Exchange(gate, Context(decision_id="d", door=door, date=today))
    body = {"model": "gpt-6-astra", "input": "x", "stream": True, "tools": [TOOL]}
    begun.request(read_body_now(compact(body)))
    begun.response(200, SSE)
    return begun


def fed(
    name: str, feed: Callable[[bytes], object], values: Iterable[Value]
) -> Measured:
    """Feed events one by one, and load their data."""
    events = [(frame(value), compact(value)) for value in values]
    chunks, texts = zip(*events, strict=True)

    def scan() -> None:
        for chunk in chunks:
            feed(chunk)

    def load() -> None:
        for data in texts:
            json.loads(data)

    row = compare(name, scan, load, clock=time.process_time)
    return replace(row, note=f"{duration(row.ours / len(chunks)):>8} an event")


def halved(feed: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Feed a chunk in two halves."""

    def twice(chunk: bytes) -> None:
        feed(chunk[:120])
        feed(chunk[120:])

    return twice


def scanner_feed() -> Callable[[bytes], object]:
    scanner = scanner_for(SSE)
    assert scanner is not None
    return scanner.feed


def crlf(feed: Callable[[bytes], object]) -> Callable[[bytes], object]:
    return lambda chunk: feed(chunk.replace(b"\n", b"\r\n"))


def each() -> list[Measured]:
    item = {"id": "ig_0", "type": "image_generation_call", "status": "in_progress"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    part: Value = {"type": "response.content_part.added", "part": {"type": "text"}}
    others: dict[str, Value] = {
        "generating": call("generating"),
        "an item added": added,
        "created, one image tool": turn("created"),
        "of no concern": part,
    }
    rows = [
        fed("delta", scanner_feed(), deltas(200)),
        fed("delta in two chunks", halved(scanner_feed()), deltas(200)),
        fed("delta, CRLF", crlf(scanner_feed()), deltas(200)),
        fed("delta, the whole exchange", exchange().feed, deltas(200)),
    ]
    return rows + [
        fed(name, scanner_feed(), [one] * 50) for name, one in others.items()
    ]


def measure() -> Mapping[str, list[Measured]]:
    """Measure every kind of answer in chunks of every size, then single events."""
    found, kinds = {}, streams()
    for size in SIZES:
        title = f"scan, chunks of {size} B"
        rows = [scanned(name, *kind, size) for name, kind in kinds.items()]
        found[title] = rows
        show(title, rows, theirs="memcpy", note="scanning")
    title = "one event in a chunk"
    found[title] = each()
    show(title, found[title], theirs="json", note="scanning")
    return found


if __name__ == "__main__":
    main(measure)
