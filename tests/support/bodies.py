"""Bodies, spelled and read, for the tests of everything that reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st

from imagegate.engine.body import RESPONSES, Body, read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.familiar import MEMORY, Memory


def compact(value: Any) -> bytes:
    """Spell JSON without white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def sent(data: bytes) -> bytes:
    """Read a body and write it again."""
    return bytes(read_body_now(data).rewritten())


def refusal(data: bytes, *places: str) -> tuple[str, str]:
    """Read a body that cannot be read; give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        read_body_now(data, places=places or RESPONSES)
    return caught.value.code, caught.value.pointer


def carried(body: Body) -> list[tuple[str, str, list[str]]]:
    """List every place with tools, what it is and what it holds."""
    return [
        (carrier.pointer, carrier.kind, [tool.type for tool in carrier.tools])
        for carrier in body.carriers
    ]


def read(data: bytes, places: Sequence[str] = RESPONSES) -> Body | None:
    """Read a body; None when it cannot be read."""
    try:
        return read_body_now(data, places=places)
    except MalformedRequest:
        return None


@contextmanager
def forgotten() -> Iterator[None]:
    """Let no array of tools have come before, for a while."""
    before, new = vars(MEMORY).copy(), vars(Memory())
    vars(MEMORY).update(new)
    try:
        yield
    finally:
        vars(MEMORY).update(before)


_keys = st.sampled_from(
    [
        "type",
        "tools",
        "Tools",
        "input",
        "model",
        "quality",
        "svg",
        "\\u0074ools",
        "é",
        "x",
    ]
)
_numbers = st.sampled_from(["0", "-1", "1.10", "1e2", "1" * 30, "NaN", "01"])
_strings = st.sampled_from(
    [
        '""',
        '"image_generation"',
        '"namespace"',
        '"a},{b"',
        r'"\ud800"',
        r'"\u0061\/"',
        '"é"',
    ]
)


def _spell_object(members: list[tuple[str, str]]) -> str:
    inner = ",".join(f'"{key}":{value}' for key, value in members)
    return "{" + inner + "}"


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]"),
        st.lists(inner, max_size=2).map(lambda values: f"[ {' , '.join(values)} ]"),
        st.lists(st.tuples(_keys, inner), max_size=4).map(_spell_object),
    )


VALUES = st.recursive(
    st.one_of(_numbers, _strings, st.sampled_from(["null", "true"])), _containers
)
BODIES = st.lists(st.tuples(_keys, VALUES), max_size=5).map(_spell_object)
