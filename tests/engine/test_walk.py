"""Long text is gone through in pieces, and read as strictly as in one."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from narrow import count_plainly, narrow, read_plainly

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.outline import Budget
from imagegate.engine.strict import MAX_ELEMENTS
from imagegate.engine.walk import NEAR, Reader, Walk

T = TypeVar("T")


def run(work: Generator[None, None, T]) -> tuple[T, int]:
    """Run to the end: the result, and how often others could run."""
    pauses = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result, pauses
        pauses += 1


def begun(text: bytes) -> Walk:
    """Begin a walk."""
    return Walk(text, Budget(text))


def refusal(work: Generator[None, None, Any]) -> tuple[str, str]:
    """Run into something wrong: give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        run(work)
    return caught.value.code, caught.value.pointer


LONG = 100_000
X = b"x" * LONG


@pytest.mark.parametrize(
    "value",
    [
        b'"%b"' % X,
        rb'"%b\n%b"' % (X, X),
        b'["%b"]' % X,
        b"[%b1]" % (b"1," * LONG),
        b"[%b1]" % (b"[]," * LONG),
        b'{"a":[%b{}],"b":{"c":"%b"}}' % (b'{"a":1}, ' * LONG, X),
        b'{"a":"%b","%b":["%b"]}' % (X, X, X),
        b"[1, %b2]" % (b" " * LONG),
        b"[%b]" % (b" " * LONG),
        b"[%b1]" % (b"\n" * LONG),
        b"%b2%b" % (b"[1,\n" * 60, b"]" * 60),
        b'["%b"]' % (rb"\ud83d\ude00" * LONG),
        b'["%b"]' % (rb"\\" * LONG),
        b'["%b"]' % (rb"\"" * LONG),
        b'[%b""]' % (rb'"\u00e9\"",' * LONG),
        "[{}1]".format('"é",' * LONG).encode(),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_long_values_are_stepped_over(value: bytes) -> None:
    """In pieces; to what follows their last byte."""
    for after in (b"", b",1", b" \n}", b'"'):
        end, pauses = run(begun(value + after).value(0))
        assert end == len(value)
        assert pauses or len(value) < NEAR


@pytest.mark.parametrize(
    ("inside", "pauses"),
    [
        (b"x" * 2_000_000, 1),
        (b"x" * 5_000_000, 3),
        (b"x" * 5_000_000 + rb"\n", 3),
        (rb"\n" * 100_000, 4),
        (rb"\n" + b"x" * 3_000_000 + rb"\n", 3),
    ],
    ids=["short", "long", "escape at the end", "escapes", "escapes around"],
)
def test_a_string_is_checked_in_stretches(inside: bytes, pauses: int) -> None:
    """Two milliseconds each at most: far fewer where it has no escapes."""
    string = b'"%b"' % inside

    assert run(begun(string).value(0)) == (len(string), pauses)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b"", "invalid_json", "byte 0"),
        (b"@", "invalid_json", "byte 0"),
        (b"NaN", "not_a_number", "byte 0"),
        (b"[1,NaN]", "not_a_number", "byte 3"),
        (b"[1", "invalid_json", "byte 2"),
        (b'"a', "invalid_json", "byte 2"),
        (b'"%b' % X, "invalid_json", "byte 100001"),
        (rb'"\n%b' % X, "invalid_json", "byte 100003"),
        (b'"%b\x01"' % X, "invalid_json", "byte 100001"),
        (rb'"%b\x"' % X, "invalid_json", "byte 100002"),
        (rb'"%b\ud800"' % X, "lone_surrogate", "byte 100001"),
        (b"1" * LONG, "number_out_of_range", ""),
        (b"[%b]" % (b"1" * LONG), "number_out_of_range", ""),
        (b"[%b@]" % (b"1," * LONG), "invalid_json", "byte 200001"),
        (b'["%b",@]' % X, "invalid_json", "byte 100004"),
        (rb'["%b","\ud800"]' % X, "lone_surrogate", "byte 100005"),
        (b"[1,%b@]" % (b" " * LONG), "invalid_json", "byte 100003"),
        (b'[,"%b"]' % X, "invalid_json", "byte 1"),
        (b'[[1],{,"%b":1}]' % X, "invalid_json", "byte 6"),
        (b'{"a":["%b",[,[1]]]}' % X, "invalid_json", "byte 100010"),
        (b'{"a":"%b",1}' % X, "invalid_json", "byte 100008"),
        (b"[%b}" % (b"1," * LONG), "invalid_json", "byte 200001"),
        (b"[%b" % (b"1," * LONG), "invalid_json", "byte 200001"),
        (b"[%b1]" % (b"[]," * 700_000), "too_many_nodes", ""),
    ],
    ids=lambda value: ascii(value).replace("x" * 99, "")[:30],
)
def test_what_is_no_json_is_refused(text: bytes, code: str, place: str) -> None:
    """With its place, wherever it stands."""
    assert refusal(begun(text).value(0)) == (code, place)


def test_structure_is_counted_where_it_matters() -> None:
    """In a body that has room for too much of it."""
    short, long = begun(b"[1,2]"), begun(b"[1,2]" + b" " * 700_000)
    for found in (short, long):
        assert run(found.value(0))[0] == 5

    assert (short.budget.spent, long.budget.spent) == (0, 2)


def test_too_deep_is_too_deep() -> None:
    """Brackets without commas, and with."""
    for unit in (b"[", b'{"a":', b"[1,", b"[ "):
        with pytest.raises((RecursionError, MalformedRequest)):
            run(begun(unit * LONG).value(0))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b"1", 1),
        (b"1 ", 1),
        (b"1" + b" " * NEAR + b",", 1),
        (b"1" * (NEAR - 1) + b" 2", NEAR - 1),
        (b"1" * NEAR, NEAR),
        (b"1" * NEAR + b"1", None),
        (b'"%b"' % (b"x" * (NEAR - 2)), NEAR),
        (b'"%b",' % (b"x" * (NEAR - 2)), None),
        (b'"a"  ,', 3),
        (b'"a', None),
        (b"", None),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_the_near_end_of_a_value(text: bytes, end: int | None) -> None:
    """A number may go on beyond what was looked at."""
    assert begun(text).near_end(0) == end


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b"{}", []),
        (b'{ "a" : 1 , "b":2 }', ["a", "b"]),
        (b'{"a":%b1,"b": [1],"c":"%b"}' % (b" " * LONG, X), ["a", "b", "c"]),
        (rb'{"\u0061":1,"B\"":{"a":[]},"":true}', ["a", 'B"', ""]),
        ('{"é":"é","a":null}'.encode(), ["é", "a"]),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_members_are_slices_of_the_text(text: bytes, keys: list[str]) -> None:
    """Each with the place where it begins."""
    (row, end), _ = run(begun(b"   " + text + b",1").members(3, pointer=""))

    assert end == 3 + len(text)
    assert list(row) == list(row.starts) == keys
    expected = json.loads(text)
    assert {key: json.loads(bytes(raw)) for key, raw in row.items()} == expected
    for key, start in row.starts.items():
        assert row.text[start : start + len(row[key])] == bytes(row[key])


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'{"a":1,"a":2}', "duplicate_key", "/p/a"),
        (rb'{"a":1,"\u0061":2}', "duplicate_key", "/p/a"),
        (b'{"a":1,}', "invalid_json", "byte 7"),
        (b'{,"a":1}', "invalid_json", "byte 1"),
        (b'{"a" 1}', "invalid_json", "byte 5"),
        (b'{"a":1 2}', "invalid_json", "byte 7"),
        (b'{"a":}', "invalid_json", "byte 5"),
        (b'{"a":', "invalid_json", "byte 5"),
        (b'{"a"', "invalid_json", "byte 4"),
        (b'{"a', "invalid_json", "byte 3"),
        (b'{"a\x01":1}', "invalid_json", "byte 3"),
        (rb'{"\ud800":1}', "lone_surrogate", "byte 2"),
        (b'{"a":1', "invalid_json", "byte 6"),
        (b"{", "invalid_json", "byte 1"),
        (b"{1:2}", "invalid_json", "byte 1"),
        (b'{"a":1]', "invalid_json", "byte 6"),
        (b'{"a":Infinity}', "not_a_number", "byte 5"),
        (b'{"%b":1}' % X, "key_too_long", ""),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_members_are_read_strictly(text: bytes, code: str, place: str) -> None:
    """Two equal keys, and what is no JSON, have a code and a place."""
    assert refusal(begun(text).members(0, pointer="/p")) == (code, place)


def test_members_and_elements_are_bounded() -> None:
    """And others run between them."""
    members = b",".join(b'"%d":1' % n for n in range(1_001))
    assert refusal(begun(b"{%b}" % members).members(0, pointer="/p")) == (
        "too_many_nodes",
        "/p",
    )
    assert run(begun(b"{%b}" % members[:-9]).members(0, pointer=""))[1] == 3
    elements = b"1," * (MAX_ELEMENTS - 1) + b"1"
    spans, pauses = run(begun(b" [%b]" % elements).elements(1, pointer=""))
    assert (len(spans), pauses) == (MAX_ELEMENTS, 33)
    code = refusal(begun(b"[%b,1]" % elements).elements(0, pointer="/p"))
    assert code == ("too_many_nodes", "/p")


def test_elements_are_places_in_the_text() -> None:
    """From their first byte to what follows their last."""
    text = b'  [ 1 ,[2] , "3"\n]'
    spans, _ = run(begun(text).elements(2, pointer=""))

    assert [text[start:end] for start, end in spans] == [b"1", b"[2]", b'"3"']
    assert run(begun(b"[ ]").elements(0, pointer=""))[0] == []


def test_some_arrays_are_gone_through_by_others() -> None:
    """Whoever reads a member says where it ends; other values are not his."""
    found: list[int] = []

    def read(at: int) -> Generator[None, None, int]:
        found.append(at)
        yield
        return at + 3

    readers: dict[str, Reader] = {"a": read, "b": read}
    text = b'{"a":[1],"b":{},"c":[2]}'
    (row, _), pauses = run(begun(text).members(0, pointer="", readers=readers))

    assert (found, pauses) == ([5], 1)
    assert [bytes(raw) for raw in row.values()] == [b"[1]", b"{}", b"[2]"]


# Properties, on windows so narrow that some example ends one at each place. Each was
# seen to fail when the walk was broken on purpose.

_texts = st.text(st.sampled_from('ab\\"/\n\x00,:[]{}é😀'), max_size=12)
_words = st.sampled_from(
    ["0", "-1.5e3", "true", "null", '""', r'"\ud83d\ude00"', r'"\\\""', '"' + "k" * 60]
)
_leaves = st.one_of(
    _words.map(lambda word: word if word[-1] != "k" else word + '"'),
    _texts.map(json.dumps),
    _texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
_spaces = st.sampled_from(["", " ", "\n\t", " " * 30])


@st.composite
def _spelled(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Spell an array or an object, with white space in some places."""
    space = draw(_spaces)
    values = draw(st.lists(inner, max_size=5))
    if draw(st.booleans()):
        values = [f"{json.dumps(draw(_texts))}{space}:{value}" for value in values]
        return "{" + space + f"{space},{space}".join(values) + "}"
    return "[" + f",{space}".join(values) + space + "]"


_values = st.recursive(_leaves, _spelled, max_leaves=12)
_containers = _spelled(_values)
_faults = st.sampled_from(
    ["", ",", ":", "]", "}", '"', "\\", "{", "[", "1", " ", "@", r"\ud800", "\x01"]
)


def outcome(text: bytes) -> tuple[int, int] | None:
    """Step over a value: where it ends, and what it spent; None when it is refused."""
    found = begun(text)
    try:
        end, _ = run(found.value(0))
    except MalformedRequest:
        return None
    return end, found.budget.spent


@given(_containers, st.sampled_from(["", "]", " ,1", "}"]), st.integers(20, 60))
@example("[" + " " * 100 + "[" + " " * 24 + "-1.5e3]]", "", 20)
@example("[" + r'"\ud83d\ude00\ud83d\ude00\ud83d\ude00\ud83d\ude00"' + "]", "", 24)
def test_values_end_where_the_obvious_reader_says(
    text: str, after: str, near: int
) -> None:
    """And have no less structure than it counts."""
    data = (text + after).encode()
    expected = read_plainly(data)
    assert expected is not None
    with narrow(near):
        found = outcome(data)

    assert found is not None
    assert found[0] == expected[1]
    assert found[1] >= count_plainly(expected[0]) or len(text) <= near


@given(_containers, st.data(), _faults, st.integers(0, 2), st.integers(20, 60))
def test_mutants_are_read_as_the_obvious_reader_reads_them(
    text: str, data: st.DataObject, fault: str, gone: int, near: int
) -> None:
    """A fault at any place is found, or is none."""
    at = data.draw(st.integers(0, len(text)))
    mutant = (text[:at] + fault + text[at + gone :]).encode()
    if mutant[:1] not in (b"[", b"{", b'"'):
        return
    expected = read_plainly(mutant)
    with narrow(near):
        found = outcome(mutant)

    assert (found and found[0]) == (expected and expected[1])


@pytest.mark.parametrize(
    ("value", "lean"),
    [
        (b'["%b"]' % X, b'[""]'),
        (b'["%b" , {"a":"%b"\n}]' % (X, X), b'["" , {"a":""\n}]'),
        (b'[{"%b":1}]' % X, None),
        (b'[{"%b" :1}]' % X, None),
        (b'["%b"%b]' % (X, b" " * LONG), None),
    ],
    ids=["alone", "two", "key", "key and space", "far from what follows"],
)
def test_long_strings_are_known_unless_they_may_be_keys(
    value: bytes, lean: bytes | None
) -> None:
    """What is looked for afterwards is in keys."""
    text = b'{"a":%b,"b":["%b"]}' % (value, X)
    (row, _), _ = run(begun(text).members(0, pointer=""))

    found, start, stop = row.lean("a")

    assert found[start:stop] == (value if lean is None else lean)


@given(_texts, st.integers(0, 80), st.integers(20, 60), st.booleans())
def test_long_strings_are_cut_between_escapes(
    text: str,
    before: int,
    near: int,
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    """Wherever the pieces end."""
    value = json.dumps("x" * before + text * 9, ensure_ascii=ascii_only).encode()
    with narrow(near):
        assert outcome(value + b"x") == (len(value), 0)


@given(st.dictionaries(_texts, _values, max_size=5), _spaces, st.integers(20, 60))
def test_members_are_those_of_the_obvious_reader(
    members: dict[str, str], space: str, near: int
) -> None:
    """In order, with all their bytes."""
    spelled = [f"{json.dumps(key)}{space}:{value}" for key, value in members.items()]
    text = ("{" + f"{space},".join(spelled) + space + "}").encode()
    with narrow(near):
        (row, end), _ = run(begun(text).members(0, pointer=""))

    assert end == len(text)
    assert {key: bytes(raw).decode() for key, raw in row.items()} == members
