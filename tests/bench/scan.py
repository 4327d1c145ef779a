"""What observing an answer costs, in copies of the same bytes.

Run it: `python tests/bench/scan.py [--json FILE]`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import replace

from imagegate.engine.scanner import scanner_for
from ratio import Measured, compare, main, show

SSE = "text/event-stream"


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n"
        % (
            str(event["type"]).encode(),
            json.dumps(event, separators=(",", ":")).encode(),
        )
        for event in events
    )


def delta(number: int) -> dict[str, object]:
    return {
        "type": "response.output_text.delta",
        "sequence_number": number,
        "item_id": "msg_68a1f0c2b4d88190a7d5e3f2b1c0d9e8",
        "output_index": 1,
        "content_index": 0,
        "delta": f" word{number}",
        "logprobs": [],
        "obfuscation": "kX82nFa3QpL",
    }


def turn(name: str) -> dict[str, object]:
    tool = {"type": "image_generation", "quality": "low", "size": "1024x1024"}
    response = {"id": "resp_0a", "status": name, "output": [], "tools": [tool]}
    return {"type": f"response.{name}", "response": response}


def texts(count: int) -> bytes:
    deltas = map(delta, range(count))
    return sse(turn("created"), turn("in_progress"), *deltas, turn("completed"))


def images() -> bytes:
    picture = base64.b64encode(os.urandom(1_500_000)).decode()
    partial = {
        "type": "response.image_generation_call.partial_image",
        "item_id": "ig_0a",
        "partial_image_b64": picture,
        "partial_image_index": 0,
    }
    deltas = map(delta, range(200))
    return sse(turn("created"), *deltas, *[partial] * 3, turn("completed"))


def answer() -> bytes:
    picture = base64.b64encode(os.urandom(3_000_000)).decode()
    item = {"type": "image_generation_call", "result": picture, "id": "ig_0a"}
    return json.dumps(
        {"id": "resp_0a", "object": "response", "output": [item]}
    ).encode()


def measured(name: str, kind: str, data: bytes, size: int) -> Measured:
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

    row = compare(name, scan, copy)
    note = f"{row.ours * 1e12 / len(data):.0f} µs/MB"
    return replace(row, note=note)


def measure() -> Mapping[str, list[Measured]]:
    """Measure every kind of answer in large and in small chunks."""
    found = {}
    for size in (65536, 1400):
        title = f"scan, chunks of {size} B"
        found[title] = [
            measured("3 images in a stream", SSE, images(), size),
            measured("200 deltas", SSE, texts(200), size),
            measured("4000 deltas", SSE, texts(4000), size),
            measured("CRLF deltas", SSE, texts(200).replace(b"\n", b"\r\n"), size),
            measured("JSON answer", "application/json", answer(), size),
        ]
        show(title, found[title], theirs="memcpy", note="scanning")
    return found


if __name__ == "__main__":
    main(measure)
