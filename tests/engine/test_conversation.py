"""Long conversations, read in parts and written as they came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from narrow import narrow

from imagegate.engine import conversation
from imagegate.engine.conversation import MAX_ITEMS, Conversation, keep_turns
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.items import MAX_SPECIAL, Item, Items
from imagegate.engine.outline import Budget
from imagegate.engine.strict import tighten
from imagegate.engine.value import Piece, Pieces, Value
from imagegate.engine.walk import Walk


def steps(text: bytes, at: int = 0) -> tuple[Items, int, int]:
    """Read an array of items: the items, its end, and how often others could run."""
    found = Items(parent=Value(b"{"), key="input")
    reading = Conversation(Walk(text, Budget(text)), found).read(at)
    pauses = 0
    while True:
        try:
            next(reading)
        except StopIteration as end:
            stop: int = end.value
            return found, stop, pauses
        pauses += 1


def read(text: bytes) -> Items:
    """Read an array of items to its end."""
    found, stop, _ = steps(text)
    assert stop == len(text)
    return found


def written(found: Items) -> bytes:
    """Write items again."""
    out: list[Piece] = []
    found.write(out)
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
        Item(pointer="/input/2", type=None),
        Item(pointer="/input/3", type=None, id="msg_1"),
        Item(pointer="/input/4", type="item_reference", id="msg_2"),
        Item(pointer="/input/5", type="image_generation_call"),
        Item(pointer="/input/6", type=None, id="msg_3"),
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


@pytest.mark.parametrize("count", [0, 1, 2, 1_000])
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
    text = b"[%b]" % comma.join(compact(message(n)) for n in range(2_000))
    found, _, pauses = steps(text)

    assert pauses > 3
    assert json.loads(written(found)) == json.loads(text)
    assert found.notable == []


def test_small_items_are_stepped_over_where_guessing_fails() -> None:
    """Some hundred at a time."""
    text = b"[%b]" % b",".join([b'{"role":"user","content":""}'] * 1_200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversation, "_TRIES", 0)
        found, end, pauses = steps(text)

    assert (end, pauses) == (len(text), 2)
    assert written(found) == text


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
    inner = b"[%b{}]" % (b"{}," * 50_000)
    text = b'[{"role":"user","content":%b},{"role":"user","content":1}]' % inner

    assert written(read(text)) == text
    with pytest.raises(MalformedRequest, match="too many"):
        read(b'[{"content":%b},%b{"a":1}]' % (inner, b'{"a":1},' * 110_000))


def test_a_part_with_text_full_of_braces_is_cut_in_time() -> None:
    """Places that only look like an end are tried a few times, then one goes on."""
    for decoy in ("{" * 100_000, "]},{" * 30_000):
        text = compact([message(n, decoy) for n in range(2)])

        assert written(read(text)) == text


def test_bombs_are_refused() -> None:
    """Neither the items nor their different keys may be without number."""
    bombs = (
        b"[%b]" % b",".join([b'{"a":1}'] * (MAX_ITEMS + 1)),
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
        b'{"type":"x","y":[{"z":"%b"},{"TOOLS":1}]}' % (b"A" * 50_000),
        b'{"type":"x","y":[{"tools\\u0000%b":1}]}' % (b"A" * 50_000),
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


def test_many_special_and_notable_items_give_way() -> None:
    """Opening thousands of items lets others run in between."""
    found, _, pauses = steps(compact([{"type": "x", "tools": [1]}] * 2_500))

    assert pauses == 15
    assert len(found.special) == len(found.notable) == 2_500


@pytest.mark.parametrize("count", [1, 300])
def test_an_array_is_read_where_it_stands(count: int) -> None:
    """To its bracket, whatever follows."""
    array = compact([message(n) for n in range(count)])
    text = b'{"x":' + array + b',"y":[]}'
    found, end, _ = steps(text, 5)

    assert end == 5 + len(array)
    assert written(found) == array


@pytest.mark.parametrize(
    "rest",
    [
        b",]",
        b", ]",
        b",{",
        b',{"a":1',
        b',{"b":[1}',
        b"",
        b"}",
        b",,",
        b"@",
        b' {"b":1}]',
        b';{"b":1}]',
        b',{"b":1}:{"c":1}]',
    ],
)
def test_what_is_no_array_of_items_is_refused(rest: bytes) -> None:
    """However much of it is read before that is noticed."""
    for size in (10, 20_000, 70_000):
        with pytest.raises(MalformedRequest) as caught:
            read(b"[%b%b" % (compact(message(1, "x" * size)), rest))
        assert caught.value.code == "invalid_json"


@pytest.mark.parametrize(
    "item",
    [b"1", b'"x"', b"[1]", b"{}", b'"%b"' % (b"x" * 70_000), b"{%b}" % (b" " * 70_000)],
    ids=lambda item: ascii(item)[:9],
)
def test_what_is_no_item_is_refused(item: bytes) -> None:
    """With its place, however long it is."""
    for others in (1, 500):
        text = b"[%b%b]" % (compact(message(1)) * 1 + b",", item)
        long = b"[%b%b]" % ((compact(message(1)) + b",") * others, item)
        for array, place in ((text, "/input/1"), (long, f"/input/{others}")):
            with pytest.raises(MalformedRequest) as caught:
                read(array)
            assert (caught.value.code, caught.value.pointer) == ("wrong_shape", place)


def test_plain_parts_of_unusual_items_cost_little() -> None:
    """Items that are no messages are weighed by the parts they have."""
    part = {"type": "input_text", "text": "x, " * 30}
    array = compact([{"type": "y", "content": [part]}] * 9_000)

    assert written(read(array + b"")) == array


def test_too_many_items_that_hold_tools_are_refused() -> None:
    """They are kept in memory as objects, unlike the others."""
    with pytest.raises(MalformedRequest, match="too many"):
        read(b"[%b]" % b",".join([compact(TOOLS)] * (MAX_SPECIAL + 1)))


def test_slow_items_are_read_in_pieces() -> None:
    """A megabyte of escapes in one item is checked bit by bit."""
    text = compact([{"type": "x", "y": "é\n" * 90_000, "tools": []}])
    found, _, pauses = steps(text)

    assert pauses > 10
    assert written(found) == text
    easy = compact([{"type": "x", "y": "x" * 2_000_000}])
    assert written(read(easy)) == easy
    spaced = b'[ {"type": "x", "y":"%b"} ]' % (b"x" * 70_000)
    assert written(read(spaced)) == spaced.replace(b" ", b"")


@pytest.mark.parametrize("count", [2, 900])
def test_white_space_is_left_out(count: int) -> None:
    """Once there is some; escapes in keys are, too."""
    value = [message(1), {"type": "x", "a": [1, {"b": " "}]}] * count
    spaced = json.dumps(value, indent=1).encode()
    escaped = spaced.replace(b'"role"', rb'"\u0072ole"')

    assert written(read(compact(value[:1] * 500)[:-1] + b", " + spaced[1:])) == compact(
        value[:1] * 500 + value
    )
    assert written(read(escaped)) == compact(value)
    assert written(read(escaped.replace(b"\n", b""))) == compact(value)


_texts = st.text(st.sampled_from('{}[],":\\ tolsé'), max_size=12)
_keys = _texts | st.just("tools")
_items = st.dictionaries(
    st.sampled_from(["type", "role", "content", "x", "tools"]),
    _texts | st.lists(st.dictionaries(_keys, _texts, max_size=2), max_size=3),
    min_size=1,
).filter(lambda item: isinstance(item.get("type", ""), str))


def holders(items: list[dict[str, Any]]) -> set[str]:
    """Return the places of items that hold tools, at any depth."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return "tools" in value or any(map(holds, value.values()))
        return isinstance(value, list) and any(map(holds, value))

    return {str(at) for at, item in enumerate(items) if holds(item)}


@given(
    st.lists(_items, max_size=5),
    st.integers(1, 9),
    st.sampled_from(["", " "]),
    st.integers(20, 60),
)
@example([{"x": [{"": "},{"}]}], 9, "", 40)
@example([{"type": "", "role": [{"é": ":", "\\t": ""}]}], 1, "", 20)
def test_parts_do_not_change_the_reading(
    value: list[dict[str, Any]], times: int, space: str, near: int
) -> None:
    """However the array is cut, the items are those of any JSON reader."""
    text = json.dumps(value * times, separators=("," + space, ":" + space))
    escaped = text.replace('"tools": ', '"\\u0074ools": ').encode()
    whole = read(escaped)
    with narrow(near):
        found = read(escaped)

    assert json.loads(written(found)) == json.loads(written(whole)) == value * times
    assert tighten(written(found)) == tighten(written(whole))
    if text.encode() == escaped and not space:
        assert written(found) == escaped
    assert found.notable == whole.notable
    # More may be opened than have to be, and which of them may differ.
    for some in (whole, found):
        assert holders(value * times) <= some.special.keys()


@given(
    st.lists(_items, min_size=1, max_size=5),
    st.data(),
    st.sampled_from(["", ",", "]", "}", '"', "{", "[", ":1", "\\", "{}", " 1"]),
    st.integers(20, 60),
)
def test_parts_hide_no_fault(
    value: list[dict[str, Any]], data: Any, fault: str, near: int
) -> None:
    """What is refused in one go is refused in parts, and the other way round."""
    text = json.dumps(value * 3, separators=(",", ":"))
    at = data.draw(st.integers(1, len(text)))
    mutant = (text[:at] + fault + text[at + 1 :]).encode()
    outcomes: list[tuple[int, bytes, list[Item]] | None] = []
    for size in (near, 70_000):
        with narrow(size):
            try:
                found, end, _ = steps(mutant)
            except MalformedRequest:
                outcomes.append(None)
            else:
                outcomes.append((end, tighten(written(found)), found.notable))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b'[{"role":"user","content":"x"}]', True),
        (b'[{"role":"user","content":[{"type":"input_text","text":"x"}]}]', True),
        (b'[{"role":"user","content":"x"},{"type":"x","tools":[]}]', False),
        (b'[{"role":"user", "content":"x"}]', False),
        (b'[ {"role": "user", "content": "x"} ]', True),
        (b'[{"role":"user","role":"user","content":"x"}]', False),
        (b"[]", False),
    ],
)
def test_a_short_array_of_messages_is_taken_at_once(text: bytes, *, kept: bool) -> None:
    """As it is read otherwise; what is no such array is left for that."""
    found = Items(parent=Value(b"{"), key="input")

    assert keep_turns(text, found) is kept
    assert not kept or (written(found), found.notable) == (written(read(text)), [])
