"""Plain messages are recognised, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.turns import count_turns


def compact(value: Any) -> bytes:
    """Spell JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()


TEXT = {"type": "input_text", "text": 'a "b" é'}
LISTED = {"type": "message", "role": "user", "content": [TEXT, TEXT]}
TOLD = {"role": "assistant", "content": "x"}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([LISTED], (1, 2)),
        ([LISTED, {"content": [TEXT], "role": "user"}], (2, 3)),
        ([TOLD, {**TOLD, "type": "message"}], (2, 0)),
    ],
)
def test_plain_messages_are_counted(items: Any, expected: tuple[int, int]) -> None:
    """With or without a type, of one text or of several, in any order of members."""
    assert count_turns(compact(items)) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"[ ]",
        b"[",
        compact([LISTED, TOLD]),
        compact([LISTED])[:-1] + b" ]",
        compact([{**LISTED, "content": []}]),
        compact([{**LISTED, "type": None}]),
        compact([{**LISTED, "id": "msg_1"}]),
        compact([{**LISTED, "role": "tool"}]),
        compact([{**LISTED, "content": [{**TEXT, "tools": []}]}]),
        compact([{**LISTED, "content": [{**TEXT, "text": {"tools": []}}]}]),
        compact([{**TOLD, "content": {"tools": []}}]),
        compact([{**TOLD, "tools": []}]),
        compact([{"role": "user"}]),
        compact([TOLD]).replace(b"{", b'{"role":"user",'),
        compact([LISTED]).replace(b'"text":', b'"text":{"tools":[]},"text":'),
        compact([LISTED]).replace(b"role", rb"\u0072ole"),
        compact([LISTED]).replace(b"user", rb"\u0075ser"),
    ],
    ids=lambda text: ascii(text)[:60],
)
def test_anything_else_is_left_to_the_general_reader(text: bytes) -> None:
    """Members of other names, second ones, white space, escapes and other values."""
    assert count_turns(text) is None


_texts = st.text(max_size=5)
_parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["input_text", "output_text"]), "text": _texts}
)
_turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system"])},
    optional={"type": st.just("message")},
)


@given(
    st.lists(st.tuples(_turns, st.lists(_parts, min_size=1, max_size=3)), min_size=1),
    st.booleans(),
    st.data(),
)
def test_what_is_recognised_is_compact_and_complete(
    turns: list[tuple[dict[str, Any], list[Any]]],
    ascii_only: bool,  # noqa: FBT001 - drawn
    data: Any,
) -> None:
    """Whatever the texts are; and not with one more byte of white space."""
    items = [{**turn, "content": parts} for turn, parts in turns]
    spelled = json.dumps(items, separators=(",", ":"), ensure_ascii=ascii_only)
    text = spelled.encode()
    comma = data.draw(st.sampled_from([", ", " ,"]))
    spaced = json.dumps(items, separators=(comma, ":")).encode()

    assert count_turns(text) == (len(items), sum(len(parts) for _, parts in turns))
    assert count_turns(spaced) is None
