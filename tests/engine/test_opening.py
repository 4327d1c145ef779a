"""What is opened is opened within bounds, and in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagegate.engine import opening
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.opening import MAX_NODES, Opener
from imagegate.engine.outline import Budget
from imagegate.engine.strict import SMALL, Walked
from imagegate.engine.value import Changes, Piece, Pieces, Value

PAD = b"x" * SMALL


def opened(text: bytes, *, all_of_it: bool = True) -> tuple[Value, int]:
    """Open a value: the value, and how often others could run."""
    value, opener = Value(text), Opener(Budget(text))
    work = opener.all(value) if all_of_it else opener.level(value)
    return value, sum(1 for _ in work)


def refusal(text: bytes) -> tuple[str, str]:
    """Open what cannot be opened: give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        opened(text)
    return caught.value.code, caught.value.pointer


@pytest.mark.parametrize("pad", [b"", PAD])
def test_a_level_is_opened(pad: bytes) -> None:
    """Of an object and of an array, short or long; other values have none."""
    row, _ = opened(b'{"a":"%b","b":[1]}' % pad, all_of_it=False)
    array, _ = opened(b'["%b",[1],2]' % pad, all_of_it=False)
    text, pauses = opened(b'"%b"' % pad, all_of_it=False)

    assert list(row.members()) == ["a", "b"]
    assert not row.members()["b"].opened
    assert [value.kind for value in array.elements()] == ["string", "array", "number"]
    assert (text.opened, pauses) == (False, 0)


def test_a_long_value_is_read_where_it_stands() -> None:
    """In the text that holds it, without a copy."""
    text = b'{"x":{"a":"%b","b":[[1],"%b"]}}' % (PAD, PAD)
    inner = text[5:-1]
    value = Value(inner)
    value.where = (text, 5)
    opener = Opener(Budget(text))
    list(opener.level(value))
    member = value.members()["b"]
    list(opener.level(member))

    assert value.members()["a"].where == (text, text.index(b'"xxx'))
    assert member.where == (text, text.index(b"[["))
    assert [child.where for child in member.elements()] == [
        (text, text.index(b"[1]")),
        (text, text.rindex(b'"xxx')),
    ]
    assert isinstance(value._row, Walked)


def test_empty_arrays_are_open_too() -> None:
    """They have been looked at."""
    for text in (b"[]", b"[%b]" % (b" " * SMALL)):
        value, _ = opened(text, all_of_it=False)
        assert value.opened
        assert list(value.elements()) == []


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'{"a":[{"b":1,"b":2}]}', "duplicate_key", "/a/0/b"),
        (b'{"a":["%b",{"b":1,"b":2}]}' % PAD, "duplicate_key", "/a/1/b"),
        (b'{"x":"%b","a\\u0000":1}' % PAD, "invalid_key", ""),
        (b'{"a":["%b",1e999]}' % PAD, "number_out_of_range", "/a/1"),
        (b"[" * 66 + b"]" * 66, "too_deep", "/0" * 64),
        (b"[[%b1],1]" % (b"1," * 10_000), "too_many_nodes", "/0"),
        (b'[["%b",%b1],1]' % (PAD, b"1," * 10_000), "too_many_nodes", "/0"),
        (b"[%b[]]" % (b"[%b0]," % (b"0," * 999) * 51), "too_many_nodes", "/1"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_is_opened_is_bounded_and_strict(
    text: bytes, code: str, place: str
) -> None:
    """At all levels."""
    assert refusal(text) == (code, place)


def test_a_body_is_gone_through_only_so_often() -> None:
    """A long value in a long value in a long value makes that many passes."""
    levels = opening.MAX_PASSES + 1
    text = b'{"a":' * levels + b'"%b"' % PAD + b"}" * levels

    assert refusal(text) == ("too_many_nodes", "/a" * (levels - 1))
    assert opened(text[5:-1])[0].opened


def test_opening_gives_way() -> None:
    """After some hundred values, however they are nested."""
    assert opened(b"[%b1]" % (b"1," * 3_000))[1] >= 6
    assert opened(b"[%b1]" % (b"[1,1]," * 500))[1] >= 3
    assert opened(b'[%b"%b"]' % (b"1," * 3_000, PAD))[1] >= 10
    assert opened(b"[[1],[2]]")[1] == 0


@pytest.mark.parametrize("space", [b"", b" ", b"\n  "])
def test_what_is_open_all_the_way_down_is_spelled_and_forgotten(space: bytes) -> None:
    """So that it is written at once; who looks again opens it again."""
    text = b'{"a":[1,{"b":[]}],"c":{}}'.replace(b":", b":" + space)
    value, opener = Value(b'{"x":%b}' % text).members()["x"], Opener(Budget(text))
    list(opener.level(value))
    value.members()
    list(opener.all(value))
    out: list[Piece] = []
    value.write(out)

    assert (value.frozen, value.opened, value.size) == (True, True, 0)
    assert out == [b'{"a":[1,{"b":[]}],"c":{}}']
    assert value.members()["a"].plain() == [1, {"b": []}]
    out.clear()
    value.write(out, Changes.of([("/a/1/b", b"2")]))
    assert bytes(Pieces(out)) == b'{"a":[1,{"b":2}],"c":{}}'


def test_what_is_long_is_not_copied() -> None:
    """It is written as it stands, and what is short beside it was spelled before."""
    long = b'"%b"' % (b"x" * 300_000)
    value, _ = opened(b'{"a":{ "b":[ 1 ] },"c":%b}' % long)
    out: list[Piece] = []
    value.write(out)

    assert not value.frozen
    assert list(map(bytes, out)) == [b'{"a":', b'{"b":[1]}', b',"c":', long, b"}"]


def test_each_level_is_shown_once_it_is_open() -> None:
    """And each is held against the keys that are known."""
    seen: list[str] = []

    def look(node: Value) -> Iterator[None]:
        seen.append(node.pointer)
        yield

    value = Value(b'{"a":{"b":[{}]},"c":1}')
    opener = Opener(Budget(b""))
    list(opener.all(value, look=look))
    assert seen == ["", "/a", "/a/b", "/a/b/0"]

    with pytest.raises(MalformedRequest, match="looks like 'b'"):
        list(opener.all(Value(b'{"a":{"B":1}}'), known={"b"}))


def test_the_bound_is_for_the_whole_body() -> None:
    """Of all its values together."""
    opener = Opener(Budget(b""))
    array = b"[%b1]" % (b"1," * 9_999)
    for _ in range(MAX_NODES // 10_001):
        list(opener.all(Value(array)))

    with pytest.raises(MalformedRequest, match="too many"):
        list(opener.all(Value(array)))
