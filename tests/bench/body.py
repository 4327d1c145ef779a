# ruff: noqa: S311 - a program that prints, on data that only fills
"""How much cheaper the strict reader is than `json.loads` and `json.dumps`.

Run it: `python tests/bench/body.py [--json FILE]`. Both sides read a body, change one
member of a tool and write the body again; of hostile bodies, both only read as far as
they do. The longest hold is what an event loop would wait for: the longest time between
two pauses of reading, or of writing, the best of some runs.
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from imagegate.engine.body import read_body, read_body_now
from imagegate.engine.errors import MalformedRequest
from ratio import Measured, compare, duration, main, show

_CLOCK = time.thread_time
_RUNS = 5
EDIT = ("/tools/0/quality", b'"low"')
TOOL = {"type": "image_generation", "model": "gpt-image-2", "quality": "high"}
SENTENCE = 'The quick brown fox, "très amusé", jumps over {the} lazy dog; and so on.\n'


def _body(content: Any, **more: Any) -> bytes:
    document = {"model": "gpt-5", "input": content, **more, "tools": [TOOL]}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _base64(size: int) -> str:
    return base64.b64encode(random.Random(7).randbytes(size * 3 // 4)).decode()


def _image(size: int) -> bytes:
    url = "data:image/png;base64," + _base64(size)
    parts = [{"type": "input_text", "text": "hi"}]
    parts.append({"type": "input_image", "image_url": url})
    return _body([{"role": "user", "content": parts}])


def _chat(size: int, text: str = SENTENCE * 9) -> bytes:
    def message(index: int) -> Any:
        part = {"type": "input_text", "text": text[: 300 + index % 350]}
        role = "user" if index % 2 else "assistant"
        return {"type": "message", "role": role, "content": [part]}

    return _body([message(index) for index in range(size // 570)])


def _agent(size: int) -> bytes:
    """Make the mixture of items that an agent sends back at every turn."""
    text = SENTENCE * 9
    said = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    items = [
        {"role": "user", "content": text},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "search",
            "arguments": json.dumps({"query": text[:200]}),
        },
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": json.dumps({"rows": [text[:80]] * 10}),
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [said],
        },
    ]
    return _body(items * (size // len(json.dumps(items, ensure_ascii=False))))


def _turns(size: int) -> bytes:
    result = _base64(2_000_000)
    call = {"type": "image_generation_call", "id": "ig_1", "status": "completed"}
    ask = {"role": "user", "content": "again, in blue"}
    return _body([ask, {**call, "result": result}] * (size // 2_000_000))


def _spaced(body: bytes) -> bytes:
    """Spell a body as Python's json does when nobody tells it otherwise."""
    return json.dumps(json.loads(body), ensure_ascii=False).encode()


SMALL = _body("a cat, " * 120, stream=True, tool_choice="auto")
BODIES: dict[str, bytes] = {
    "request 1 KB": SMALL,
    "request 1 KB, spaced": _spaced(SMALL),
    "image 100 KB": _image(100_000),
    "chat 100 KB": _chat(100_000),
    "chat 100 KB, spaced": _spaced(_chat(100_000)),
    "image 10 MB": _image(10_000_000),
    "chat 10 MB": _chat(10_000_000),
    "chat 10 MB, plain text": _chat(10_000_000, "The fox jumps over it. " * 30),
    "chat 10 MB, spaced": _spaced(_chat(10_000_000)),
    "agent 10 MB": _agent(10_000_000),
    "turns 10 MB": _turns(10_000_000),
    "turns, two images of 2 MB": _turns(4_000_000),
}


def _filled(unit: bytes, around: bytes) -> bytes:
    return around % (unit * (10_000_000 // len(unit)))


HOSTILE: dict[str, bytes] = {
    "keys at the top": _filled(b'"a":1,', b'{%b"b":1}'),
    "distinct keys in an item": b'{"input":[{%b}]}'
    % b",".join(b'"%d":1' % index for index in range(900_000)),
    "[], in input": _filled(b"[],", b'{"input":[%b[]]}'),
    "{}, in input": _filled(b"{},", b'{"input":[%b{}]}'),
    'small items "a"': _filled(b'{"a":1},', b'{"input":[%b{"a":1}]}'),
    "{}, in tools": _filled(b"{},", b'{"tools":[%b{}]}'),
    "small tools": _filled(b'{"type":"a"},', b'{"tools":[%b{"type":"a"}]}'),
    "[], in a stranger": _filled(b"[],", b'{"x":[%b[]]}'),
    "[], below tools": _filled(b"[],", b'{"x":{"tools":[%b[]]}}'),
    "braces in text": _filled(b"{},[", b'{"input":[{"role":"user","content":"%b"}]}'),
    "false cuts": _filled(
        b'{"a":[%b]},' % (b"{},{}," * 90_000 + b"{}"), b'{"input":[%b{"a":1}]}'
    ),
    "fake ends of items": _filled(
        b'{"role":"user","content":[%b{"type":"a"}]},'
        % (b'{"type":"message","a":1},' * 800),
        b'{"input":[%b{"a":1}]}',
    ),
    "1, in a stranger": _filled(b"1,", b'{"x":[%b1]}'),
    '"", in a stranger': _filled(b'"",', b'{"x":[%b1]}'),
    "nested in a stranger": _filled(b'{"a":{"a":{"a":[1]}}},', b'{"x":[%b1]}'),
    "brackets in a stranger": _filled(b"[" * 60 + b"]" * 60 + b",", b'{"x":[%b1]}'),
    "messages of a type": _filled(b'{"type":"message"},', b'{"input":[%b{"a":1}]}'),
    "white space in items": _filled(b'{"a": 1},', b'{"input":[%b{"a":1}]}'),
    "items with tools": _filled(
        b'{"type":"x","tools":[{"type":"y"}]},', b'{"input":[%b{"a":1}]}'
    ),
    "items hiding tools": _filled(
        b'{"type":"x","y":{"tools":0}},', b'{"input":[%b{"a":1}]}'
    ),
    "commas in text": _filled(b",", b'{"input":"%b"}'),
    "commas in a chat": _filled(
        b'{"role":"user","content":"%b"},' % (b"," * 600), b'{"input":[%b{"a":1}]}'
    ),
    "100,000 items": _filled(
        b'{"type":"message","role":"user","id":"msg_1","content":"%b"},' % (b"x" * 41),
        b'{"input":[%b{"a":1}]}',
    ),
    "a key": _filled(b"k", b'{"%b":1}'),
    "a key of an item": _filled(b"k", b'{"input":[{"%b":1}]}'),
    "a number": _filled(b"1", b'{"x":%b}'),
    "white space": _filled(b" ", b'{"x":%b1}'),
    "escaped quotes": _filled(rb"\"", b'{"x":"%b"}'),
    "backslashes": _filled(rb"\\", b'{"x":"%b"}'),
    "escapes in short strings": _filled(
        rb'"\u00e9\u00e9\u00e9\u00e9",', b'{"x":[%b1]}'
    ),
    "escapes in a chat": _filled(
        b'{"role":"user","content":"%b"},' % (rb"\u4e2d" * 100),
        b'{"input":[%b{"a":1}]}',
    ),
    "deep": b'{"a":' * 2_000_000,
    "quotes in a stranger": _filled(b'"', b'{"x":[%b1]}'),
    "text of a tool": _filled(b"a", b'{"tools":[{"type":"x","y":"%b"}]}'),
    "a type": _filled(b"a", b'{"tools":[{"type":"%b"}]}'),
    "digits in a stranger": _filled(b"1111111111111111,", b'{"x":[%b1]}'),
    "white space in an array": _filled(b"\n", b'{"x":[1,%b1]}'),
    "dense and spaced": _filled(b'{ "a" : [ ] } , ', b'{"input":[%b{"a":1}]}'),
    "opened below tools": b'{"x":{"tools":[%b[]]}}' % (b'{"a":1},' * 9_990),
    "open, deep and wide": b'{"tools":[{"type":"image_generation","x":[%b1]}]}'
    % (b'{"a":[1]},' * 9_990),
    "escapes": _filled(rb"\u0041", b'{"input":[{"role":"user","content":["%b"]}]}'),
    "surrogate at the end": _filled(rb"\u00e9", rb'{"input":"%b\ud800"}'),
}


def _stdlib(data: bytes) -> bytes:
    document = json.loads(data)
    document["tools"][0]["quality"] = "low"
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _ours(data: bytes) -> None:
    read_body_now(data).rewritten([EDIT])


def holds(data: bytes) -> tuple[list[float], str]:
    """How long each piece of reading, and writing, takes; and how it ends."""
    reading = read_body(data)
    spent: list[float] = []
    while True:
        start = time.thread_time()
        try:
            next(reading)
        except StopIteration as end:
            spent.append(time.thread_time() - start)
            start = time.thread_time()
            end.value.rewritten([("/max_tool_calls", b"1")])
            return [*spent, time.thread_time() - start], "read"
        except MalformedRequest as refusal:
            return [*spent, time.thread_time() - start], refusal.code
        spent.append(time.thread_time() - start)


def longest_piece(data: bytes) -> float:
    """How many seconds the longest piece takes when nothing disturbs it."""
    return min(max(holds(data)[0]) for _ in range(_RUNS))


def _measured(name: str, data: bytes) -> Measured:
    note = duration(longest_piece(data))
    return compare(
        name, lambda: _ours(data), lambda: _stdlib(data), note=note, clock=_CLOCK
    )


def _refused(data: bytes) -> None:
    with suppress(MalformedRequest):
        read_body_now(data)


def _loaded(data: bytes) -> None:
    with suppress(ValueError, RecursionError):
        json.loads(data)


def _hostile(name: str, data: bytes) -> Measured:
    note = f"{duration(longest_piece(data)):9} {holds(data)[1]}"
    return compare(
        name,
        lambda: _refused(data),
        lambda: _loaded(data),
        rounds=3,
        note=note,
        clock=_CLOCK,
    )


def measure() -> Mapping[str, list[Measured]]:
    """Print both tables."""
    rows = [_measured(name, data) for name, data in BODIES.items()]
    show("read, change, write", rows, theirs="json", note="longest hold")
    hostile = [_hostile(name, data) for name, data in HOSTILE.items()]
    show("hostile, 10 MB: read", hostile, theirs="json", note="longest hold, ending")
    return {"read, change, write": rows, "hostile": hostile}


if __name__ == "__main__":
    main(measure)
