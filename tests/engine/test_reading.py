"""Long bodies are read member by member, and as strictly as short ones."""

from __future__ import annotations

from typing import Any

import pytest
from bodies import BODIES, VALUES, carried, compact, read, refusal, sent
from hypothesis import example, given
from hypothesis import strategies as st
from narrow import narrow

from imagegate.engine.body import read_body, read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.strict import tighten


@pytest.mark.parametrize(
    ("places", "document", "pointers"),
    [
        (
            ("/items/*/tools",),
            {"items": [{"type": "additional_tools", "tools": [{"type": "x"}]}]},
            ["/items/0/tools"],
        ),
        (
            ("/definition/tools",),
            {"definition": {"tools": [{"type": "x"}], "y": {"tools": []}}},
            ["/definition/tools", "/definition/y/tools"],
        ),
        (("/a/b/tools",), {"a": {"b": {"tools": [{"type": "x"}]}}}, ["/a/b/tools"]),
        (("/a/b/tools", "/a/c/*/tools"), {"a": {"b": None}}, []),
        (("/a/c/*/tools",), {"b": 1}, []),
        (
            (),
            {"tools": [{"type": "x"}], "input": [{"tools": []}]},
            ["/tools", "/input/0/tools"],
        ),
        ((), {"tools": None, "input": "x"}, []),
    ],
)
def test_the_caller_says_where_tools_stand(
    places: tuple[str, ...], document: Any, pointers: list[str]
) -> None:
    """Other routes have other places; elsewhere tools are found as strangers."""
    body = read_body_now(compact(document), places=places)

    assert [carrier.pointer for carrier in body.carriers] == pointers


def test_the_way_to_a_place_is_read_strictly() -> None:
    """Objects above the tools are opened, and so judged, like the top level."""
    place = "/definition/tools"

    assert refusal(b'{"definition":[]}', place) == ("wrong_shape", "/definition")
    assert refusal(b'{"definition":{"Tools":[]}}', place) == (
        "look_alike_key",
        "/definition/Tools",
    )
    assert refusal(b'{"definition":{"tool_choice":1}}', place) == (
        "wrong_shape",
        "/definition/tool_choice",
    )


PAD = b"x" * 140_000
LONG = b'{"role":"user","content":"%b"}' % PAD


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (b'{"input":[%b,]}' % LONG, {"invalid_json"}),
        (b'{"input":[%b, ]}' % LONG, {"invalid_json"}),
        (b'{"input":[%b,,{"a":1}]}' % LONG, {"invalid_json"}),
        (b'{"input":[%b}]' % LONG, {"invalid_json"}),
        (b'{"input":[%b' % LONG, {"invalid_json"}),
        (b'{"input":[%b]' % LONG, {"invalid_json"}),
        (b'{"input":[%b,{"a":' % LONG, {"invalid_json"}),
        (b'{"input":[,%b]}' % LONG, {"invalid_json"}),
        (b'{"input":[%b]}}' % LONG, {"trailing_data"}),
        (b'{"input":[%b],"input":[]}' % LONG, {"duplicate_key"}),
        (b'{"input":[],"input":[%b]}' % LONG, {"duplicate_key"}),
        (b'{"input":[%b],"Input":[]}' % LONG, {"look_alike_key"}),
        (b'{"input":[%b,1]}' % LONG, {"wrong_shape"}),
        (b'{"input":[1,%b]}' % LONG, {"wrong_shape"}),
        (b'{"input":[%b,{}]}' % LONG, {"wrong_shape"}),
        (b'{"input":[%b],"a":1e999}' % LONG, {"number_out_of_range"}),
        (b'{"input":[{"a":1,"b":"%b","a":1}]}' % PAD, {"duplicate_key"}),
        (b'{"input":["%b"]}' % PAD, {"wrong_shape"}),
        (b'{"input":[{"%b":1}]}' % PAD, {"key_too_long"}),
    ],
    ids=lambda value: ascii(value).replace("x" * 99, "")[:50],
)
def test_a_conversation_is_read_before_the_rest_and_as_strictly(
    text: bytes, codes: set[str]
) -> None:
    """What is left out of the second reading leaves no gap in the syntax."""
    assert refusal(text)[0] in codes


def test_places_in_long_bodies_are_those_of_the_body() -> None:
    """A fault behind the conversation is counted from the beginning of the body."""
    text = b'{"input":[%b,%b],"a":@}' % (LONG, LONG)

    assert refusal(text) == ("invalid_json", f"byte {text.index(b'@')}")
    escapes = b'{"input":[%b],"a":"%b\\ud800 "}' % (LONG, rb"\n" * 100_000)
    place = escapes.index(rb"\ud800")
    assert refusal(escapes) == ("lone_surrogate", f"byte {place}")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"input":[%b]}' % LONG,
        b'{"input":[%b,%b,{"role":"user","content":"y"}],"b":[1]}' % (LONG, LONG),
        b'{"x\\"input":[%b],"input":[{"a":1}]}' % LONG,
        b'{"x":{"input":[%b]},"input":[{"a":1}]}' % LONG,
        b'{"x":"%b","input":[{"a":1}]}' % PAD,
        b'{"input":[],"x":"%b"}' % PAD,
        b'{"input":"%b"}' % PAD,
        b'{"input":[{"type":"x","tools":[],"y":"%b"}]}' % PAD,
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_long_compact_bodies_leave_byte_for_byte(text: bytes) -> None:
    """Wherever the conversation stands, and whatever looks like one."""
    assert sent(text) == text


def test_a_place_may_be_named_twice() -> None:
    """The caller's list is a list of places, not of readings."""
    places = ("/x/*", "/input/*/tools", "/input/*/tools", "/items/*/tools")
    text = b'{"input":[{"type":"x"},%b],"items":[%b]}' % (LONG, LONG)
    body = read_body_now(text, places=places)

    assert [item.pointer for item in body.items] == ["/input/0"]
    assert bytes(body.rewritten()) == text


def test_text_full_of_escapes_is_read_in_pieces() -> None:
    """Slow strings are read apart, in items, in tools and at the top."""
    slow = rb"\u4e2d\n" * 100_000
    parts = (
        b'{"input":[{"role":"user","x":"%b"}]}',
        b'{"input":[{"type":"x","x":"%b","tools":[]}]}',
        b'{"tools":[{"type":"x","x":"%b"}],"y":[1]}',
        b'{"x":"%b","y":[1]}',
    )
    for part in parts:
        text = part % slow

        assert sum(1 for _ in read_body(text)) > 10
        assert sent(text) == text


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"x":[%b[]]}' % (b"[]," * 700_000),
        b'{"x":[%b1]}' % (b"1," * 700_000),
        b'{"input":[{"role":"user","content":[%b1]}]}' % (b"1," * 700_000),
        b'{"input":[%b%b]}'
        % (b'{"role":"user","content":[%b1]},' % (b"{}," * 9_000) * 70, LONG),
        b'{"input":[%b%b]}'
        % (b'{"type":"x","content":[%b1]},' % (b"[]," * 9_000) * 70, LONG),
        b'{"input":[%b%b]}' % (b'{"type":"x","tools":[]},' * 9_000, LONG),
    ],
    ids=["strangers", "numbers", "content", "parts", "lists", "special"],
)
def test_structure_nobody_looks_at_is_bounded(bomb: bytes) -> None:
    """What is passed on unread must not burst the reader behind us."""
    with pytest.raises(MalformedRequest) as caught:
        read_body_now(bomb)

    assert (caught.value.code, caught.value.status) == ("too_many_nodes", 413)


@given(st.lists(VALUES, max_size=4), st.sampled_from(["", " "]), st.data())
@example([], "", None)
def test_length_changes_nothing(values: list[str], space: str, data: Any) -> None:
    """A body that is long enough to be read in another way is read the same."""
    inner = f"{space},{space}".join(values)
    if data is not None and inner:
        at = data.draw(st.integers(0, len(inner) - 1))
        wrong = data.draw(st.sampled_from(["", "", ",", "]", "}", '"', "{"]))
        inner = inner[:at] + wrong + inner[at:]
    text = '{"model":"","input":[%s%s%s],"user":"%s"}'
    short = read((text % (space, inner, space, "")).encode())
    long = read((text % (space, inner, space, "x" * 140_000)).encode())

    assert (short is None) == (long is None)
    if short is not None and long is not None:
        assert carried(short) == carried(long)
        assert short.items == long.items
        expected = bytes(short.rewritten([("/user", b'"x"')]))
        assert bytes(long.rewritten([("/user", b'"x"')])) == expected


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b" " * 20_000, "empty_body", ""),
        (b" " * 140_000, "empty_body", ""),
        (b"%b[]", "not_an_object", ""),
        (b'%b"x"', "not_an_object", ""),
        (b"%b1", "not_an_object", ""),
        (b"%bnull", "not_an_object", ""),
        (b"%b@", "invalid_json", "byte 140000"),
        (b"%b{}@", "trailing_data", "byte 140002"),
        (b"%b{} \n{}", "trailing_data", "byte 140004"),
        (b'%b{"Tools":[]}', "look_alike_key", "/Tools"),
        (b'%b{"input":{"a":[]}}', "wrong_shape", "/input"),
        (b'%b{"input":[1]}', "wrong_shape", "/input/0"),
        (b'%b{"a":1e999}', "number_out_of_range", "/a"),
        (b'%b{"tool_choice":[]}', "wrong_shape", "/tool_choice"),
        (b'{"tool_choice":1}', "wrong_shape", "/tool_choice"),
        (b'{"tool_choice":{}}', "wrong_shape", "/tool_choice"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_long_bodies_are_objects(text: bytes, code: str, place: str) -> None:
    """With nothing before them but white space, and nothing behind."""
    assert refusal(text.replace(b"%b", b" " * 140_000)) == (code, place)


@pytest.mark.parametrize("unit", [b'"%b"', b'["%b"]', b'{"a":[1,{"b":"%b"}]}'])
def test_long_members_of_any_kind_stay_as_they_are(unit: bytes) -> None:
    """Known and unknown ones."""
    value = unit % (b"x" * 140_000)
    text = b'{"a":%b,"model":"m","metadata":%b,"input":"%b"}' % (value, value, PAD)

    assert sent(text) == text
    assert sum(1 for _ in read_body(text)) >= 3


@pytest.mark.parametrize(
    "hidden",
    [
        b'{"tools":[{"type":"image_generation"}]}',
        rb'[[{"tool\u0073":[{"type":"image_generation"}]}]]',
    ],
)
@pytest.mark.parametrize("around", [b'{"x":["%b",%b]}', b'{"x":{"y":"%b","z":%b}}'])
def test_tools_in_long_members_are_found(hidden: bytes, around: bytes) -> None:
    """And the members opened, in pieces."""
    text = around % (PAD, hidden)
    (carrier,) = read_body_now(text).carriers

    assert (carrier.kind, len(carrier.tools)) == ("unknown", 1)
    assert sent(text) == text.replace(rb"\u0073", b"s")
    item = b'{"input":[{"type":"y","x":%b}]}' % text
    assert [found.kind for found in read_body_now(item).carriers] == ["unknown"]


@pytest.mark.parametrize("value", [b'"x"', b"1", b"true", b"{}"])
def test_tools_are_an_array_wherever_they_are_not_expected(value: bytes) -> None:
    """What else they may be, nobody knows; nothing is nothing."""
    assert refusal(b'{"tools":%b}' % value, "/a") == ("wrong_shape", "/tools")
    assert refusal(b'{"a":{"tools":%b}}' % value, "/a/b") == ("wrong_shape", "/a/tools")
    assert sent(b'{"tools":null}') == b'{"tools":null}'


def test_special_items_are_read_like_objects_of_the_top() -> None:
    """Their tools in a documented place, and whatever else hides some."""
    tools = [{"type": "image_generation"}]
    items = [
        {"type": "additional_tools", "tools": tools},
        {"tools": None, "x": {"tools": tools}},
        {"type": "z", "tools": tools, "y": [1]},
    ]
    body = read_body_now(compact({"input": items}))

    assert carried(body) == [
        ("/input/0/tools", "additional_tools", ["image_generation"]),
        ("/input/1/x/tools", "unknown", ["image_generation"]),
        ("/input/2/tools", "unknown", ["image_generation"]),
    ]


def test_ways_may_lead_through_long_objects() -> None:
    """They are opened like short ones."""
    text = b'{"a":{"b":{"y":"%b","tools":[{"type":"x"}],"c":[{"tools":[]}]}}}' % PAD
    body = read_body_now(text, places=("/a/b/tools", "/a/b/c/*/tools"))

    assert carried(body) == [
        ("/a/b/tools", "tools", ["x"]),
        ("/a/b/c/0/tools", "unknown", []),
    ]
    assert bytes(body.rewritten()) == text


@given(BODIES, st.integers(40, 80), st.booleans())
@example(
    text='{"input":[{"type":"x","svg":{"tools":[{"type":"namespace","tools":[]}]}}]}',
    near=40,
    spaced=True,
)
def test_windows_change_nothing(
    text: str,
    near: int,
    spaced: bool,  # noqa: FBT001 - drawn
) -> None:
    """A body is read the same when its values are longer than all windows."""
    data = text.replace(":", ": " if spaced else ":").encode()
    whole = read(data)
    with narrow(near):
        found = read(data)

    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert sorted(carried(found)) == sorted(carried(whole))
        assert found.items == whole.items
        edit = [("/model", b"1")]
        assert tighten(bytes(found.rewritten(edit))) == tighten(
            bytes(whole.rewritten(edit))
        )


@given(BODIES, st.data(), st.integers(40, 80))
def test_windows_hide_no_fault(text: str, data: Any, near: int) -> None:
    """Nor do they see one where there is none."""
    at = data.draw(st.integers(0, len(text)))
    wrong = data.draw(
        st.sampled_from(["", ",", "]", "}", '"', "{", "[", ":", "\\", '"a":1,', " "])
    )
    mutant = (text[:at] + wrong + text[at + data.draw(st.integers(0, 2)) :]).encode()
    whole = read(mutant)
    with narrow(near):
        found = read(mutant)

    assert (found is None) == (whole is None)


def test_a_body_is_read_like_the_one_before() -> None:
    """Its tools are known then, and counted with the others."""
    tool = {"type": "custom", "name": "c"}
    message = {"role": "user", "content": "x"}
    items = [{"type": "additional_tools", "tools": [tool] * 998}]
    for given_, counts in [([message], [2]), (items, [2, 998])] * 2:
        body = read_body_now(compact({"input": given_, "tools": [tool] * 2}))

        assert [len(carrier.tools) for carrier in body.carriers] == counts
    for _ in range(2):
        text = compact({"input": items, "tools": [tool] * 3})

        assert refusal(text) == ("too_many_nodes", "/input/0/tools")
