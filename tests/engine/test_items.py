"""Long conversations, read in parts and written as they came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagegate.engine import items
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.spans import Budget
from imagegate.engine.value import DELETE, Changes, Edit, Piece, Pieces, Value


def read(text: bytes) -> items.Items:
    """Read an array of items to its end."""
    found = items.Items(Value(text), parent=Value(b"{"), key="input")
    for _ in found.read():
        pass
    return found


def written(found: items.Items, *edits: Edit) -> bytes:
    """Write items again, with edits by their index."""
    out: list[Piece] = []
    found.write(out, Changes.of(edits) if edits else None)
    return bytes(Pieces(out))


def compact(value: Any) -> bytes:
    """Spell JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()


def message(index: int, text: str = "hello") -> dict[str, Any]:
    """Make a message of two parts."""
    part = {"type": "input_text", "text": f"{index} {text}"}
    return {"type": "message", "role": "user", "content": [part, part]}


TOOLS = {"type": "additional_tools", "tools": [{"type": "image_generation"}]}


def test_plain_messages_are_not_mentioned() -> None:
    """An item is notable unless it is a message, typed or not."""
    found = read(
        compact(
            [
                {"role": "user", "content": "hi"},
                {"type": "message", "role": "user", "content": "hi"},
                {"type": None, "id": None},
                {"id": "msg_1"},
                {"type": "item_reference", "id": "msg_2"},
                {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
                {"role": "user", "id": "msg_3"},
            ]
        )
    )

    assert found.notable == [
        items.Item(pointer="/input/2", type=None),
        items.Item(pointer="/input/3", type=None, id="msg_1"),
        items.Item(pointer="/input/4", type="item_reference", id="msg_2"),
        items.Item(pointer="/input/5", type="image_generation_call"),
        items.Item(pointer="/input/6", type=None, id="msg_3"),
    ]
    assert found.special == {}
    assert found.opened


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'[{"role":"user"},[]]', "wrong_shape", "/input/1"),
        (b'[{"role":"user"},"x"]', "wrong_shape", "/input/1"),
        (b"[{}]", "wrong_shape", "/input/0"),
        (b'[{"type":1}]', "wrong_shape", "/input/0/type"),
        (b'[{"type":"item_reference","id":{}}]', "wrong_shape", "/input/0/id"),
        (b'[{"a":1},{"a":1,"a":1}]', "duplicate_key", "/input/1/a"),
        (b'[{"a":1},{"Tools":[]}]', "look_alike_key", "/input/1/Tools"),
        (b'[{"a":1},{"type\\u0000":1}]', "invalid_key", "/input/1"),
    ],
)
def test_items_are_objects_with_sound_keys(text: bytes, code: str, place: str) -> None:
    """The names and the types of items are read as strictly as the top level."""
    with pytest.raises(MalformedRequest) as caught:
        read(text)

    assert (caught.value.code, caught.value.pointer) == (code, place)


@pytest.mark.parametrize("count", [0, 1, 2, 3_000])
@pytest.mark.parametrize("indent", [None, 1])
def test_items_are_written_compactly(count: int, indent: int | None) -> None:
    """A compact array leaves byte for byte, the levels of another lose white space."""
    value = [{"role": "user", "content": f"{n} }},{{"} for n in range(count)]
    spelled = json.dumps(value, indent=indent, separators=(",", ":")).encode()

    assert written(read(spelled)) == compact(value)


@pytest.mark.parametrize("space", [b"", b" ", b"\n  "])
def test_long_arrays_are_read_in_parts(space: bytes) -> None:
    """Parts end between items, wherever arrays inside the items have commas."""
    comma = space + b"," + space
    text = b"[%b]" % comma.join(compact(message(n)) for n in range(6_000))
    found = items.Items(Value(text), parent=Value(b"{"), key="input")

    assert sum(1 for _ in found.read()) > 5
    assert json.loads(written(found)) == json.loads(text)
    assert found.notable == []


def test_large_items_stay_in_one_part() -> None:
    """Pictures are longer than a part; the items around them are read all the same."""
    call = {"type": "image_generation_call", "id": "ig", "result": "A" * 700_000}
    text = compact([message(0), call, message(1), call, call, message(2), TOOLS])
    found = read(text)

    assert [item.pointer for item in found.notable] == [
        f"/input/{n}" for n in (1, 3, 4, 6)
    ]
    assert list(found.special) == ["6"]
    assert written(found) == text


def test_arrays_that_cannot_be_cut_are_read_whole() -> None:
    """Bounds hold however the commas are arranged."""
    inner = b"[%b{}]" % (b"{}," * 200_000)
    text = b'[{"role":"user","content":%b},{"role":"user","content":1}]' % inner

    assert written(read(text)) == text
    with pytest.raises(MalformedRequest, match="too many"):
        read(b'[{"content":%b},%b{"a":1}]' % (inner, b'{"a":1},' * 110_000))


def test_a_part_with_text_full_of_braces_is_cut_in_time() -> None:
    """Places that only look like an end are tried a few times, then one goes on."""
    for decoy in ("{" * 400_000, "]},{" * 100_000):
        text = compact([message(n, decoy) for n in range(2)])

        assert written(read(text)) == text


def test_bombs_are_refused() -> None:
    """Neither the items nor their different keys may be without number."""
    bombs = (
        b"[%b]" % b",".join([b'{"a":1}'] * (items.MAX_ITEMS + 1)),
        b"[%b]" % b",".join(b'{"k%d":1}' % n for n in range(1_001)),
        b"[{%b}]" % b",".join(b'"k%d":1' % n for n in range(1_001)),
    )
    for bomb in bombs:
        with pytest.raises(MalformedRequest, match="too many"):
            read(bomb)


@pytest.mark.parametrize(
    "item",
    [
        b'{"type":"x","tools":1}',
        rb'{"type":"x","\u0074ools":1}',
        b'{"type":"x","y":{"tools":1}}',
        b'{"type":"x","y":[[{"TOOLS" \n :1}]]}',
        rb'{"type":"x","y":[{"to\u006Fls":1}]}',
        rb'{"type":"x","y":[{"tool\u017f":1}]}',
        '{"type":"x","y":[{"toolſ":1}]}'.encode(),
        b'{"type":"x","y":["%b",{"Tools":1}]}' % (b"A" * 100_000),
        b'{"type":"x","y":["%b",{"tools":1}]}' % (b"A" * (16_384 - 24)),
    ],
)
def test_items_that_may_hold_tools_are_opened(item: bytes) -> None:
    """A `tools` key in any case or escape, at any depth, is found."""
    text = b'[{"role":"user","content":"x"},%b,{"role":"user","content":"y"}]' % item
    found = read(text)

    assert list(found.special) == ["1"]
    assert json.loads(written(found)) == json.loads(text)


@pytest.mark.parametrize(
    "content",
    [
        'He said "tools": they are {"tools":[]}',
        [{"type": "input_text", "text": 'a "tools" b {"tools":[1]}'}],
        [{"type": "input_text", "text": "tools"}, {"my_tools": 1, "tool": 2}],
        [{"type": "input_text", "text": "\x1b[0m é € \x00"}],
    ],
)
def test_text_about_tools_is_text(content: Any) -> None:
    """Whoever writes about tools in a message has brought none."""
    assert read(compact([{"role": "user", "content": content}])).special == {}


def test_special_items_can_be_edited_and_removed() -> None:
    """Items with tools change, the runs of others between them stay."""
    value = [TOOLS, message(1), TOOLS, TOOLS, message(2)]
    found = read(compact(value))
    quality = {**TOOLS, "tools": [{"type": "image_generation", "quality": "low"}]}

    after = written(found, ("/2/tools/0/quality", b'"low"'), ("/0", DELETE))
    assert json.loads(after) == [message(1), quality, TOOLS, message(2)]
    assert json.loads(written(found, ("", b'"x"'))) == "x"
    only = read(compact([TOOLS]))
    assert written(only, ("/0", DELETE)) == b"[]"
    with pytest.raises(LookupError):
        written(found, ("/1/role", b'"system"'))


def test_many_special_and_notable_items_give_way() -> None:
    """Opening thousands of items lets others run in between."""
    found = items.Items(
        Value(compact([{"type": "x", "tools": [1]}] * 2_500)),
        parent=Value(b"{"),
        key="input",
    )

    assert sum(1 for _ in found.read()) == 5
    assert len(found.special) == len(found.notable) == 2_500


def scouted(text: bytes, rest: bytes) -> tuple[items.Items, int]:
    """Read the beginning of an array that stands in a text, then what is left."""
    found = items.Items(
        Value(b"["), parent=Value(b"{"), key="input", budget=Budget(text)
    )
    reading = found.scout(text, 1)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            stop: int = end.value
            break
    for _ in found.read_on(Value(rest)):
        pass
    return found, stop


@pytest.mark.parametrize("count", [1, 300])
def test_an_array_is_read_before_its_end_is_known(count: int) -> None:
    """Up to its bracket; then one value stands for what was read."""
    array = compact([message(n) for n in range(count)])
    found, stop = scouted(array + b',"x":[]}', b"[0]")

    assert stop == len(array) - 1
    assert written(found) == array


def test_scouting_ends_where_the_text_is_no_array_of_items() -> None:
    """Before the comma, so that what follows it has to make sense."""
    first = compact(message(1, "x" * 20_000))
    for rest in (b",]", b", ]", b",{", b',{"a":1', b',{"b":[1}'):
        found, stop = scouted(b"[%b%b" % (first, rest), b'[0,{"a":1}]')

        assert stop == 1 + len(first)
        assert written(found) == b'[%b,{"a":1}]' % first
    assert scouted(b"[]", b"[]")[1] == 0
    assert scouted(b"[%b" % first, b"[0]")[1] == 1 + len(first)


def test_plain_parts_of_unusual_items_cost_little() -> None:
    """Items that are no messages are weighed by their commas and brackets."""
    part = {"type": "input_text", "text": "x" * 100}
    array = compact([{"type": "y", "content": [part]}] * 9_000)
    found, _ = scouted(array + b" " * 1_000_000, b"[0]")

    assert written(found) == array


def test_too_many_items_that_hold_tools_are_refused() -> None:
    """They are kept in memory as objects, unlike the others."""
    with pytest.raises(MalformedRequest, match="too many"):
        read(b"[%b]" % b",".join([compact(TOOLS)] * (3 * items.MAX_SPECIAL)))


def test_slow_items_are_read_in_pieces() -> None:
    """A megabyte of escapes in one item is checked bit by bit."""
    text = compact([{"type": "x", "y": "é\n" * 200_000, "tools": []}])
    found = items.Items(Value(text), parent=Value(b"{"), key="input")

    assert sum(1 for _ in found.read()) > 20
    assert written(found) == text
    easy = compact([{"type": "x", "y": "x" * 2_000_000}])
    assert written(read(easy)) == easy
    with pytest.raises(MalformedRequest, match="object with members"):
        read(b'["%b"]' % (b"x" * 70_000))


_texts = st.text(st.sampled_from('{}[],":\\ tolsé'), max_size=12)
_items = st.dictionaries(
    st.sampled_from(["type", "role", "content", "x", "tools"]),
    _texts | st.lists(st.dictionaries(_texts, _texts, max_size=2), max_size=3),
    min_size=1,
).filter(lambda item: isinstance(item.get("type", ""), str))


@settings(max_examples=40, deadline=None)
@given(st.lists(_items, max_size=5), st.integers(1, 400), st.sampled_from(["", " "]))
@example([{"x": [{"": "},{"}]}], 400, "")
def test_parts_do_not_change_the_reading(
    value: list[dict[str, Any]], times: int, space: str
) -> None:
    """However the array is cut, the items are those of any JSON reader."""
    text = json.dumps(value * times, separators=("," + space, ":" + space))
    escaped = text.replace('"tools": ', '"\\u0074ools": ').encode()

    assert written(read(escaped)) == compact(value * times) or space
    assert json.loads(written(read(escaped))) == value * times
