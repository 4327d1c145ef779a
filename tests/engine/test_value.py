"""The document tree: decoded where somebody looked, as it came elsewhere."""

from __future__ import annotations

import pytest
from msgspec import Raw

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.strict import Walked, read_rows
from imagegate.engine.value import (
    DELETE,
    MAX_DEPTH,
    Changes,
    Edit,
    Number,
    Piece,
    Pieces,
    Value,
    pointer_to_param,
)


def written(text: bytes, *edits: Edit) -> bytes:
    """Write a value again, with edits."""
    out: list[Piece] = []
    Value(text).write(out, Changes.of(edits) if edits else None)
    return bytes(Pieces(out))


def test_a_value_knows_its_kind_and_place() -> None:
    """The six kinds of JSON, and a pointer that survives odd keys."""
    top = Value(b'{"a/b~c":[0,"",true,false,null,{}],"n":-1}')
    array = top.get("a/b~c")
    assert array is not None

    assert [value.kind for value in array.elements()] == [
        "number",
        "string",
        "boolean",
        "boolean",
        "null",
        "object",
    ]
    assert [value.is_null for value in array.elements()][3:5] == [False, True]
    assert array.elements()[1].pointer == "/a~1b~0c/1"
    assert array.elements()[1].depth == 2
    assert array.key == "a/b~c"
    assert (top.pointer, top.key) == ("", "")


def test_only_strings_have_text_and_only_objects_members() -> None:
    """Asking a value for what it is not gives nothing, never an exception."""
    assert Value(rb'"i\u006dage"').text() == "image"
    assert Value(b"1").text() is None
    assert Value(b"[1]").members() == {}
    assert Value(b"{}").elements() == ()
    assert Value(b"{}").get("a") is None
    assert Value(b"1.50").spelling == b"1.50"


def test_values_decode_exactly() -> None:
    """Integers are exact, other numbers keep their spelling."""
    text = rb'{"a":[30,-0,1.10,1e2],"b":{"c":"\u0061"},"d":null,"e":true}'

    assert Value(text).plain() == {
        "a": [30, 0, Number("1.10"), Number("1e2")],
        "b": {"c": "a"},
        "d": None,
        "e": True,
    }


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'{"a":{"b":1,"b":1}}', "duplicate_key", "/a/b"),
        (b'{"a":[0,{"b":1e999}]}', "number_out_of_range", "/a/1/b"),
        (b'{"a":[0,1e999]}', "number_out_of_range", "/a/1"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep", "/a" * 64),
        (b"[" * 65 + b"]" * 65, "too_deep", "/0" * 64),
    ],
)
def test_every_level_is_read_strictly(text: bytes, code: str, place: str) -> None:
    """What is refused at the top is refused further down."""
    with pytest.raises(MalformedRequest) as caught:
        Value(text).plain()

    assert (caught.value.code, caught.value.pointer) == (code, place)


def test_a_deep_value_is_read_up_to_the_limit() -> None:
    """The limit itself is allowed."""
    assert Value(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).plain()


def test_look_alikes_are_those_of_the_value_that_is_opened() -> None:
    """Each level has its own known keys."""
    value = Value(b'{"Size":{"Size":1}}')
    assert value.get("Size") is not None

    value.members()["Size"].known = {"size"}
    with pytest.raises(MalformedRequest, match="looks like 'size'"):
        value.plain()


def test_opened_levels_are_written_compactly() -> None:
    """What was looked at loses its white space, what was not keeps its bytes."""
    value = Value(rb'{ "\u0061" : { "b": 1 } , "a\"b\/" : [ 1 ] }')
    out: list[Piece] = []
    value.write(out)
    assert bytes(Pieces(out)) == value.raw

    out.clear()
    value.members()
    value.write(out)
    assert bytes(Pieces(out)) == rb'{"a":{ "b": 1 },"a\"b/":[ 1 ]}'

    out.clear()
    value.members()["a"].members()
    value.write(out)
    assert bytes(Pieces(out)) == rb'{"a":{"b":1},"a\"b/":[ 1 ]}'


def test_what_was_opened_can_be_frozen_if_it_is_short() -> None:
    """As it is to be written."""
    for size, frozen in ((1, True), (300_000, False)):
        text = b'{ "a":[ "%b"] }' % (b"x" * size)
        value = Value(text)
        value.members()["a"].elements()
        value.freeze()
        out: list[Piece] = []
        value.write(out)

        assert value.frozen is frozen
        assert bytes(Pieces(out)) == text.replace(b" ", b"")


def test_objects_of_an_array_can_be_taken_over() -> None:
    """A reader of two levels at once hands over both."""
    value = Value(b'[ {"a": 1} ]')
    rows, _ = read_rows(value.raw, pointer="", limit=9)
    value.adopt_rows(rows, known={"a"})

    assert value.elements()[0].known == {"a"}
    assert value.plain() == [{"a": 1}]
    assert [child.pointer for child in value.children()] == ["/0"]
    assert [child.pointer for child in value.elements()[0].children()] == ["/0/a"]


def test_containers_are_what_can_be_opened() -> None:
    """In order, of an object and of an array; a scalar has none."""
    value = Value(b'{"a":[1,{},[]],"b":1,"c":{"d":[]}}')

    assert (value.size, value.nests) == (0, False)
    assert [child.pointer for child in value.containers()] == ["/a", "/c"]
    assert (value.size, value.nests) == (3, True)
    array = value.members()["a"]
    assert [child.pointer for child in array.containers()] == ["/a/1", "/a/2"]
    assert array.size == 3
    assert Value(b"1").containers() == []
    assert Value(b"{}").containers() == []


def test_members_are_looked_at_without_being_made() -> None:
    """What kind they are, and their text."""
    value = Value(rb'{"a":"\u0078","b":1,"c":null}')

    assert [value.text_at(key) for key in "abcd"] == ["x", None, None, None]
    kinds = [value.kind_at(key) for key in "abcd"]
    assert kinds == ["string", "number", "null", None]


def test_members_are_named_and_spelled_without_being_made() -> None:
    """As they came; nothing stands for one that is not there."""
    value = Value(b'{"a": 1.0, "b":{ }}')

    assert list(value.names) == ["a", "b"]
    assert value.spelled("abc") == (b"1.0", b"{ }", b"")


def test_values_of_a_long_text_know_where_they_stand() -> None:
    """So that they can be read there, without a copy."""
    text = b'{"a":1,"b":[2,{}]}'
    row = Walked(text)
    row["b"], row.starts["b"] = Raw(text[11:17]), 11
    value = Value(b"{")
    value.adopt(row)
    array = value.get("b")

    assert array is not None
    assert array.where == (text, 11)
    array.adopt_spans(text, [(12, 13)])
    array.adopt_spans(text, [(14, 16)])
    assert [child.where for child in array.elements()] == [(text, 12), (text, 14)]
    assert [child.pointer for child in array.elements()] == ["/b/0", "/b/1"]
    assert Value(b'{"a":1}').members()["a"].where is None


def test_members_keep_their_order() -> None:
    """Whichever were asked for first, and the same values all the time."""
    value = Value(b'{"a":1,"b":2,"c":3}')
    asked = value.get("c")

    assert list(value.members()) == ["a", "b", "c"]
    assert value.members()["c"] is value.get("c") is asked
    assert value.members() is value.members()


def test_a_value_knows_whether_it_was_opened() -> None:
    """Opening is what makes the difference, and only containers can be."""
    opened = [Value(text) for text in (b"{}", b"[]", b"1")]
    for value in opened:
        list(value.children())

    assert [value.opened for value in opened] == [True, True, False]
    assert not Value(b"{}").opened


def test_another_reading_can_stand_for_a_member() -> None:
    """A reader that knows better puts its own value in place, once opened."""
    value = Value(b'{"a":1}')
    value.put("a", Value(b"2"))
    assert value.get("a") is not None
    value.put("a", Value(b"3"))
    out: list[Piece] = []
    value.write(out)

    assert value.plain() == {"a": 3}
    assert bytes(Pieces(out)) == b'{"a":3}'


@pytest.mark.parametrize(
    ("text", "edits", "expected"),
    [
        (b'{"a":1,"b":2}', [("/a", b"3")], b'{"a":3,"b":2}'),
        (b'{"a":1,"b":2}', [("/a", DELETE)], b'{"b":2}'),
        (b'{"a":1}', [("/a", DELETE)], b"{}"),
        (b'{"a":1}', [("/c", b'"d"')], b'{"a":1,"c":"d"}'),
        (b"{}", [("/c", b'"d"')], b'{"c":"d"}'),
        (b'{"a":1}', [("/c", DELETE)], b'{"a":1}'),
        (b'{"a":1}', [("/c/d", DELETE), ("/c/e/f", DELETE)], b'{"a":1}'),
        (b'{"a":1}', [("/c/d/e", b"1")], b'{"a":1,"c":{"d":{"e":1}}}'),
        (b'{"a":null}', [("/a/b", b"1"), ("/a/c", b"2")], b'{"a":{"b":1,"c":2}}'),
        (b'{"a":null}', [("/a/b", DELETE)], b'{"a":null}'),
        (b'{"a":{"b":{}}}', [("/a/b/c", b"1")], b'{"a":{"b":{"c":1}}}'),
        (b"[1,2,3,4]", [("/0", DELETE), ("/2", DELETE)], b"[2,4]"),
        (b"[1,2]", [("/0", DELETE), ("/1", DELETE)], b"[]"),
        (b"[1,[2]]", [("/1/0", b"9"), ("/0", b"8")], b"[8,[9]]"),
        (b'{"a/b~":1}', [("/a~1b~0", b"2")], b'{"a/b~":2}'),
        (b'{"a":{"b":1}}', [("/a/b", b"2"), ("/a", DELETE)], b"{}"),
        (b'{"a":{"b":1}}', [("/a", b"3"), ("/a/b", b"2")], b'{"a":3}'),
        (b'{"a":1}', [("/a", b"2"), ("/a", b"3")], b'{"a":3}'),
        (b'{"n":1.10,"m":1e2}', [("/x", b"1")], b'{"n":1.10,"m":1e2,"x":1}'),
    ],
)
def test_edits_change_what_they_name(
    text: bytes, edits: list[Edit], expected: bytes
) -> None:
    """Members and elements are set, added and removed by their old places."""
    assert written(text, *edits) == expected


def test_an_edit_that_lands_nowhere_is_an_error() -> None:
    """A change that is decided must not get lost."""
    with pytest.raises(LookupError):
        written(b'{"a":[1]}', ("/a/1/b", b"1"))


def test_large_members_are_views_of_what_came_in() -> None:
    """Ten megabytes are not copied to change one word."""
    big = b'"%b"' % (b"x" * 70_000)
    text = b'{"a":%b,"b":1,"c":%b}' % (big, big)
    out: list[Piece] = []
    Value(text).write(out, Changes.of([("/b", b"2")]))
    pieces = Pieces(out)

    assert [type(part) for part in pieces.parts] == [bytes, memoryview] * 2 + [bytes]
    assert bytes(pieces) == text.replace(b'"b":1', b'"b":2')
    assert len(pieces) == len(text)
    assert Pieces([]).parts == ()


def test_pointers_are_spelled_as_the_api_spells_places() -> None:
    """Errors name a member the way the SDKs' users know it."""
    assert pointer_to_param("/tools/0/quality") == "tools[0].quality"
    assert pointer_to_param("/input/3/tools/0/model") == "input[3].tools[0].model"
    assert pointer_to_param("/tool_choice") == "tool_choice"
    assert pointer_to_param("") == ""


def test_members_are_told_without_being_opened() -> None:
    """What can be opened, what has been, and where each stands."""
    top = Value(b'{"a":[1],"b":{"c":2},"d":3}')

    assert [*top.inner] == ["a", "b"]
    assert [*top.closed()] == ["a", "b"]
    assert top.asked("a") is None
    assert len(top.member("a").elements()) == 1
    assert top.asked("a") is top.member("a")
    assert top.closed() == {"b": top.raw_at("b")}
    assert top.place_of("b") == (b'{"c":2}', 0)


def test_a_member_of_a_long_text_stands_there() -> None:
    """No copy is made of it."""
    text = b'{"a":[1]}'
    row = Walked(text)
    row["a"], row.starts["a"] = Raw(b"[1]"), 5
    top = Value(b"{")
    top.adopt(row)

    assert top.place_of("a") == (text, 5)
    assert top.place_of("a")[0] is text


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_long_members_are_written_like_short_ones(size: int) -> None:
    """Changed, made, left out or left alone."""
    long = b'"%b"' % (b"x" * size)
    text = b'{"a":%b,"b\\"":{"c":%b},"d":[%b],"e":1}' % (long, long, long)
    edits: list[Edit] = [("/a", DELETE), ("/d/0", b"3"), ("/f/g", long)]
    edits.append(('/b"/c', b"2"))

    assert written(text, *edits) == (
        b'{"b\\"":{"c":2},"d":[3],"e":1,"f":{"g":%b}}' % long
    )
    assert written(text, ("/e", DELETE)) == text.replace(b',"e":1', b"")
    gone: list[Edit] = [(f"/{key}", DELETE) for key in ("a", 'b"', "d", "e")]
    assert written(text, *gone) == b"{}"
