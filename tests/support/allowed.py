"""Requests that a policy allows, or repairs in a way that is known beforehand.

They must arrive: byte for byte where nothing is to be changed, and with every other
member as it was, in its order and its spelling, where something is.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from random import Random
from typing import Any

import brotli
from case import Case
from hiding import FUNCTION
from spelling import Pairs, Pen, Text
from verdict import HEADER

from imagegate.zstd import zstd

FINE: Mapping[str, Mapping[str, list[Any]]] = {
    "standard": {
        "model": ["gpt-image-1-mini"],
        "quality": ["low", "medium"],
        "size": ["1024x1024", "1536x1024", "1024x1536"],
        "moderation": ["auto"],
        "partial_images": [0, 1],
        "output_format": ["png", "jpeg", "webp"],
    },
    "regulated": {
        "model": ["gpt-image-1.5"],
        "quality": ["low", "medium", "high"],
        "size": ["1024x1024", "1536x1024"],
        "moderation": ["auto"],
        "background": ["opaque"],
        "output_format": ["png"],
        "action": ["generate"],
        "input_fidelity": ["low"],
        "partial_images": [0],
    },
    "azure-foundry": {
        "model": ["img-mini-prod"],
        "quality": ["low", "medium"],
        "size": ["1024x1024", "1536x1024"],
        "moderation": ["auto"],
        "partial_images": [0, 1],
        "output_format": ["png", "jpeg", "webp"],
    },
}
REPAIRED: Mapping[str, tuple[Any, Any]] = {
    "quality": ("high", "medium"),
    "model": ("gpt-image-2.6-sunburst", "gpt-image-1-mini"),
    "moderation": ("low", "auto"),
    "partial_images": (3, 1),
    "output_format": ("gif", "png"),
    "size": ("2048x2048", "1024x1024"),
    "description": ("a description", None),
}
"""What the standard policy makes of a value; None takes the field away."""
_CODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"const": "image"},
        "quality": {"maximum": Text("18446744073709551617"), "minimum": Text("-1E-7")},
    },
}
_OTHERS: list[tuple[str, Any]] = [
    ("temperature", Text("0.70")),
    ("top_p", Text("1E0")),
    ("metadata", {"k": 'zażółć \u2028 "q" \\ / \x7f', "tools": "image_generation"}),
    ("instructions", "draw 😀 no image_generation"),
    ("user", "u"),
    ("store", True),
    ("store", False),
    ("stream", False),
    ("parallel_tool_calls", False),
    ("text", {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA}}),
    ("include", ["reasoning.encrypted_content"]),
    ("reasoning", {"effort": "low", "summary": None}),
    ("truncation", "auto"),
    ("safety_identifier", "x" * 64),
    ("prompt_cache_key", "k"),
    ("max_output_tokens", Text("100000000000000000000000")),
    ("x_future", {"a": [Text("1.50"), None, {}], "b": []}),
]


def _part(kind: str, **fields: str) -> dict[str, str]:
    return {"type": kind, **fields}


_ITEMS: list[Any] = [
    {"role": "user", "content": "draw a cat"},
    {"type": "message", "role": "user", "content": [_part("input_text", text="ó")]},
    {"role": "user", "content": [_part("input_image", image_url="A" * 9_999)]},
    {"type": "function_call_output", "call_id": "c", "output": '{"tools":[1]}'},
    {"type": "image_generation_call", "id": "ig_1", "result": "iVBO"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
]


def allowed(random: Random, policy: str) -> Case:
    """Draw a request, and what must arrive of it."""
    tool = _tool(random, policy)
    repairs: dict[str, Any] = {}
    if policy == "standard" and random.random() < 0.5:
        for name in random.sample(sorted(REPAIRED), random.randint(1, 3)):
            tool[name], repairs[name] = REPAIRED[name]
    tools: list[Any] = [tool, FUNCTION, {**FUNCTION, "parameters": _SCHEMA}]
    random.shuffle(tools)
    members: dict[str, Any] = dict(random.sample(_OTHERS, random.randint(0, 6)))
    members["model"] = "gpt-5"
    members["input"] = random.choice(
        ["x", random.choices(_ITEMS, k=random.randint(1, 8))]
    )
    members["tools"] = tools[: tools.index(tool) + 1]
    if policy != "no-images":
        members["max_tool_calls"] = 1
    pairs = Pairs(members.items())
    random.shuffle(pairs)
    pen = Pen(random=random, mess=random.choice([0.0, 0.0, 0.3]))
    sent = pen.write(pairs).encode("utf-8", "surrogatepass")
    exact = not (pen.mess or repairs or policy == "no-images")

    def wrong(arrived: bytes) -> str | None:
        if exact and arrived != sent:
            return f"changed: {arrived!r}"
        expected = _expected(sent, repairs, strip=policy == "no-images")
        try:
            found = _read(arrived)
        except ValueError as error:
            return f"{error}: {arrived!r}"
        return None if found == expected else f"expected {expected}\n     got {found}"

    return _sent(random, policy, sent, Case(kind="allowed", wire=b"", expect=wrong))


def _tool(random: Random, policy: str) -> dict[str, Any]:
    settings = FINE.get(policy, FINE["standard"])
    pairs = [(name, random.choice(values)) for name, values in settings.items()]
    pairs.append(("type", "image_generation"))
    random.shuffle(pairs)
    return dict(pairs)


def _sent(random: Random, policy: str, body: bytes, case: Case) -> Case:
    azure = policy == "azure-foundry"
    headers = [f"{HEADER}: img-mini-prod"] if azure else ["X-Stainless-Lang: python"]
    if random.random() < 0.3:
        coding = random.choice(sorted(_CODERS))
        body = _CODERS[coding](body)
        headers.append(f"Content-Encoding: {coding}")
    if random.random() < 0.3:
        headers.append("Transfer-Encoding: chunked")
        half = random.randint(1, len(body) - 1)
        pieces = [b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:])]
        body = b"".join([*pieces, b"0\r\n\r\n"])
    else:
        headers.append(f"Content-Length: {len(body)}")
    case.story = [policy, *headers]
    path = "/openai/v1/responses" if azure else "/v1/responses"
    first = [f"POST {path} HTTP/1.1", "Host: x", "Authorization: Bearer k"]
    first.append("Content-Type: application/json")
    case.wire = "\r\n".join([*first, *headers, "", ""]).encode() + body
    return case


def _read(body: bytes) -> Any:
    """Read with the order of keys and the spelling of numbers."""
    return json.loads(body, object_pairs_hook=Pairs, parse_int=Text, parse_float=Text)


def _expected(sent: bytes, repairs: Mapping[str, Any], *, strip: bool) -> Any:
    return Pairs(
        (key, _repaired(value, repairs, strip=strip) if key == "tools" else value)
        for key, value in _read(sent)
    )


def _repaired(tools: list[Pairs], repairs: Mapping[str, Any], *, strip: bool) -> Any:
    found = []
    for tool in tools:
        if dict(tool)["type"] != "image_generation":
            found.append(tool)
        elif not strip:
            found.append(Pairs(_mended(tool, repairs)))
    return found


def _mended(tool: Pairs, repairs: Mapping[str, Any]) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for key, value in tool:
        new = repairs.get(key, value)
        if new is not None:
            pairs.append((key, Text(new) if isinstance(new, int) else new))
    return pairs
