"""Plain messages are recognised, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.turns import count_turns, leave_out_long


def compact(value: Any) -> bytes:
    """Spell JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()


TEXT = {"type": "input_text", "text": 'a "b" é'}
LISTED = {"type": "message", "role": "user", "content": [TEXT, TEXT]}
IMAGE = {"type": "input_image", "image_url": "data:", "detail": "auto"}
TOLD = {"role": "assistant", "content": "x"}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([LISTED], (1, 4 + 2 * 3)),
        ([LISTED, {"content": [TEXT], "role": "user"}], (2, 8 + 3 * 3)),
        ([TOLD, {**TOLD, "type": "message"}], (2, 8)),
        ([TOLD, LISTED], (2, 8 + 2 * 16)),
        ([{**LISTED, "content": []}], (1, 4)),
        ([{"role": "user", "content": [TEXT, IMAGE]}, TOLD], (2, 8 + 2 * 16)),
    ],
)
def test_plain_messages_are_counted(items: Any, expected: tuple[int, int]) -> None:
    """With or without a type, of one text or of several, in any order of members."""
    text = compact(items)
    found = count_turns(text)

    assert found == expected
    assert found[1] >= sum(map(text.count, (b",", b"[", b"{"))) - 1


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"[ ]",
        b"[",
        compact([TOLD, {**LISTED, "content": [{**IMAGE, "tools": []}]}]),
        compact([TOLD, {**LISTED, "content": [{**IMAGE, "image_url": {"tools": 1}}]}]),
        compact([TOLD, {**LISTED, "content": [[]]}]),
        compact([{**TOLD, "content": None}]),
        compact([{**TOLD, "content": [IMAGE]}])[:-1] + b" ]",
        compact([LISTED])[:-1] + b" ]",
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

    count = sum(len(parts) for _, parts in turns)
    assert count_turns(text) == (len(items), 4 * len(items) + 3 * count)
    assert count_turns(spaced) is None


LONG = "x" * 20_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":"%b","b":"y"}', b'{"a":"","b":"y"}'),
        (b'["%b", {"a":"b\\n"},"%b"]', b'["", {"a":"b\\n"},""]'),
        (b'{"%b":1}', b'{"":1}'),
        (b'["\\"","%b"]', None),
        (b'["%b\\\\"]', None),
        (b"[1,%b]", None),
        (b'["a",' * 300 + b'"%b"', None),
    ],
)
def test_long_strings_are_left_out(text: bytes, expected: bytes | None) -> None:
    """Where it is plain how long they are; and nothing outside them."""
    whole = text.replace(b"%b", LONG.encode())

    assert leave_out_long(whole) == (whole if expected is None else expected)


_long = st.sampled_from(["", "x", "y" * 9_000, '"' * 9_000, "\\" * 9_000, "[{" * 9_000])


@given(
    st.lists(st.dictionaries(_long, _long, max_size=3), min_size=1, max_size=4),
    st.booleans(),
)
def test_nothing_else_is_left_out(value: Any, spaced: bool) -> None:  # noqa: FBT001 - drawn
    """The same JSON but for what is in strings, down to the white space."""
    text = json.dumps(value, indent=1 if spaced else None).encode()
    short = leave_out_long(text)

    def emptied(found: Any) -> Any:
        if isinstance(found, list):
            return [*map(emptied, found)]
        if isinstance(found, tuple):
            return tuple((emptied(key), emptied(entry)) for key, entry in found)
        return found if len(found) < 1_000 else ""

    def loaded(data: bytes) -> Any:
        return json.loads(data, object_pairs_hook=tuple)

    if short != text:
        assert emptied(loaded(text)) == loaded(short)
        assert len(text) - len(short) == _content(text) - _content(short)


def _content(text: bytes) -> int:
    """Count what stands in strings."""
    return sum(
        len(json.dumps(each)) - 2
        for pairs in json.loads(text, object_pairs_hook=tuple)
        for pair in pairs
        for each in pair
    )
