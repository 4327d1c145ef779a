"""What the byte-level reader refuses, and how it says where."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from imagegate.engine import strict
from imagegate.engine.errors import MalformedRequest

KNOWN = frozenset({"tools", "model"})


def read(data: bytes) -> strict.Row:
    """Read the bytes of a body as far as this room does."""
    return strict.read_whole(data, known=KNOWN)


def refusal(data: bytes) -> tuple[str, str]:
    """Read a body that cannot be read; give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        read(data)
    return caught.value.code, caught.value.pointer


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (rb'{"a":"\ud800"}', "lone_surrogate", "byte 6"),
        (rb'{"a":["\\\\", "\udc00x"]}', "lone_surrogate", "byte 15"),
        (rb'{"a":"\ud83d\ude00 \\ud800 \ud800"}', "lone_surrogate", "byte 27"),
        (rb'{"\ud800":1}', "lone_surrogate", "byte 2"),
        (rb'{"a":"\ud83d\ude00', "invalid_json", "byte 18"),
        (b'{"a":NaN}', "not_a_number", "byte 5"),
        (b'{"a":[-Infinity]}', "not_a_number", "byte 7"),
        (b'{"a":1}{"b":2}', "trailing_data", "byte 7"),
        (b'{"a":1}\n{"b":2}', "trailing_data", "byte 8"),
        (b'{"a":1}\x00', "trailing_data", "byte 7"),
        (b")]}',\n{}", "invalid_json", "byte 0"),
        (b'{"a":1 /*x*/}', "invalid_json", "byte 7"),
        (b'{"a":1,}', "invalid_json", "byte 7"),
        (b"{'a':1}", "invalid_json", "byte 1"),
        (rb'{"a":"\x74"}', "invalid_json", "byte 7"),
        (b'{"a":"\x01"}', "invalid_json", "byte 6"),
        (b'{"a":01}', "invalid_json", "byte 6"),
        (b'{"a":1', "invalid_json", "byte 6"),
        (b"[1]", "not_an_object", ""),
        (b'"{}"', "not_an_object", ""),
        (b"null", "not_an_object", ""),
        (b'{"a":1,"a":1}', "duplicate_key", "/a"),
        (rb'{"tools":1,"\u0074ools":1}', "duplicate_key", "/tools"),
        (b'{"a/~b":1,"a/~b":1}', "duplicate_key", "/a~1~0b"),
        (b'{"Tools":1}', "look_alike_key", "/Tools"),
        (b'{"TOOLS":1}', "look_alike_key", "/TOOLS"),
        ('{"toolſ":1}'.encode(), "look_alike_key", "/toolſ"),
        ('{"ｔｏｏｌｓ":1}'.encode(), "look_alike_key", "/ｔｏｏｌｓ"),
        (b'{"tools ":1}', "look_alike_key", "/tools "),
        ('{"to\u200bols":1}'.encode(), "look_alike_key", ""),
        ('{"tools\ufe0f":1}'.encode(), "look_alike_key", "/tools\ufe0f"),
        (rb'{"tools\u0000":1}', "invalid_key", ""),
        (rb'{"x\u009f":1}', "invalid_key", ""),
        (rb'{"x\uffff":1}', "invalid_key", ""),
        (rb'{"x\ufdd0":1}', "invalid_key", ""),
        (b'{"' + b"k" * 1025 + b'":1}', "key_too_long", ""),
        (b'{"' + b"k" * 1025 + b'" :1}', "key_too_long", ""),
        (rb'{"\u006b' + b"k" * 1025 + b'":1}', "key_too_long", ""),
        (b"{%b}" % b",".join(b'"%d":1' % n for n in range(1001)), "too_many_nodes", ""),
        (b'{%b"b":1}' % (b'"a":1,' * 20_000), "too_many_nodes", ""),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_two_readings_are_refused(data: bytes, code: str, place: str) -> None:
    """What two readers could take for two documents has a code and a place."""
    assert refusal(data) == (code, place)


def test_a_place_is_looked_for_only_so_long() -> None:
    """A million good pairs before the bad half must not cost a second."""
    pairs = rb"\ud83d\ude00" * 10_001

    assert refusal(rb'{"a":"%b\ud800"}' % pairs)[0] == "invalid_json"


def test_an_object_keeps_its_spellings() -> None:
    """Order, numbers and escapes in values come out as they went in."""
    row = strict.read_whole(rb' { "b" : 1.10 , "\u0061":["\u0041"] } ', known=KNOWN)

    assert [(key, bytes(raw)) for key, raw in row.items()] == [
        ("b", b"1.10"),
        ("a", rb'["\u0041"]'),
    ]
    assert list(read(b'{"tools":[],"model":""}')) == ["tools", "model"]


def test_a_large_object_is_read_like_a_small_one() -> None:
    """The other decoder, for bodies of any size, sees the same."""
    text = b'{"a":"%b","b":2}' % (b"x" * strict.SMALL)

    assert list(strict.read_whole(text, known=KNOWN)) == ["a", "b"]
    assert refusal(text[:-1] + b',"a":1}') == ("duplicate_key", "/a")


@pytest.mark.parametrize(
    "key", ["x_unknown", "Größe", "mod el", "models", "а", "\U0001f600", ""]
)
def test_unknown_keys_are_left_alone(key: str) -> None:
    """Only keys that resemble a known one are suspicious."""
    strict.check_keys([key], pointer="", known=KNOWN)


def test_rows_say_whether_they_are_compact() -> None:
    """White space, in any place, makes an array not compact."""

    def compact(data: bytes) -> bool:
        return strict.read_rows(data, pointer="", limit=9)[1]

    assert [compact(b"[]"), compact(b'[{"a":1},{"b":"x","c":[]}]')] == [True, True]
    assert [compact(b'[{"a":1}, {"b":1}]'), compact(rb'[{"\u0061":1}]')] == [False] * 2
    assert not compact(b'[{"a":"%b"}]' % (b"x" * strict.SMALL))


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t \r\n"])
def test_white_space_hides_no_duplicates(space: bytes) -> None:
    """It makes a text longer, as a second member of a name makes it."""
    text = b'{"a":1,"bb":2}'.replace(b":", b":" + space).replace(b"{", space + b"{")
    twin = b'{"a":%b1,"a":2,"bb":3}%b' % (space, space)

    assert list(read(text)) == ["a", "bb"]
    assert strict.read_rows(b"[%b]" % text, pointer="", limit=0)[0] == [
        {"a": Raw(b"1"), "bb": Raw(b"2")}
    ]
    assert refusal(twin) == ("duplicate_key", "/a")
    with pytest.raises(MalformedRequest):
        strict.read_rows(b"[%b]" % twin, pointer="", limit=9)


_texts = st.text(st.sampled_from('ab\\"/\x1f\x7f,:[]{} é😀\u2028'), max_size=6)
_flat = st.dictionaries(_texts, st.text(max_size=3) | st.integers(), max_size=4)


@given(
    _flat, st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:")]), st.booleans()
)
def test_nothing_is_dropped_unseen(
    members: dict[str, Any],
    separators: tuple[str, str],
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    """What is read is what any reader reads; twice the same is refused, however."""
    text = json.dumps(members, separators=separators, ensure_ascii=ascii_only)
    row = strict.read_row(text.encode(), pointer="")
    assert {key: json.loads(bytes(raw)) for key, raw in row.items()} == members

    comma = separators[0] if members else ""
    for key in members:
        more = json.dumps(key, ensure_ascii=not ascii_only) + separators[1] + "0"
        with pytest.raises(MalformedRequest):
            strict.read_row((text[:-1] + comma + more + "}").encode(), pointer="")


@given(_texts, st.text(max_size=3))
def test_nothing_is_longer_when_it_is_written_again(key: str, value: str) -> None:
    """On that hangs the proof that nothing was dropped."""
    for ascii_only in (True, False):
        text = json.dumps({key: value}, ensure_ascii=ascii_only).encode()
        row = msgspec.json.decode(text, type=strict.Row)
        assert len(msgspec.json.encode(row)) <= len(text)
        assert strict.spelled_length(row) <= len(text)
        assert json.loads(strict.tighten(text)) == {key: value}


def test_compact_objects_are_as_long_as_is_said() -> None:
    """White space or an escape makes them longer."""

    def gap(text: bytes) -> int:
        row = msgspec.json.decode(text, type=strict.Row)
        return len(text) - strict.spelled_length(row)

    assert gap(b'{"a":1,"b":[1, 2]}') == 0
    assert gap(b'{"a":1, "b":2}') == 1
    assert gap(rb'{"\u0061":1}') == 5


def test_walked_members_know_their_places() -> None:
    """They are members like others besides."""
    row = strict.Walked(b'{"a":1}')
    row["a"], row.starts["a"] = Raw(b"1"), 5

    assert row == {"a": Raw(b"1")}
    assert row.text[5:6] == b"1"


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b'[{"a":1},{"a":1,"a":2}]', "duplicate_key", "/t/3/a"),
        (b'[{"a":1},[]]', "wrong_shape", "/t/3"),
        (b'[{"a":1},{}]', "wrong_shape", "/t/3"),
        (b'{"a":1}', "wrong_shape", "/t"),
        (rb'[{"\u0061":1,"b":1},{"a":1,"b":1}]', "too_many_nodes", "/t"),
    ],
)
def test_rows_are_objects_with_members(data: bytes, code: str, place: str) -> None:
    """An array of tools or items holds objects with distinct keys, not too many."""
    with pytest.raises(MalformedRequest) as caught:
        strict.read_rows(data, pointer="/t", limit=3, first=2)

    assert (caught.value.code, caught.value.pointer) == (code, place)


def test_a_part_cut_inside_an_item_is_no_json() -> None:
    """Whoever cuts arrays learns that the cut was wrong."""
    with pytest.raises(msgspec.DecodeError):
        strict.read_rows(b'[{"a":[{"b":1}]', pointer="", limit=9)


def test_elements_are_bounded() -> None:
    """A level is not taken apart when that would cost too much memory."""

    def read(data: bytes) -> int:
        return len(strict.read_elements(data, pointer=""))

    assert read(b"[1, 2]") == 2
    assert read(b'["%b"]' % (b"," * strict.SMALL)) == 1
    for bomb in (b"[%b1]" % (b"1," * 10_000), b"[%b1]" % (b"1," * 200_001)):
        with pytest.raises(MalformedRequest, match="too many"):
            read(bomb)


@pytest.mark.parametrize("spelling", [b"1e400", b"-1E999", b"9" * 400, b"0" * 1025])
def test_numbers_that_overflow_are_refused(spelling: bytes) -> None:
    """Some readers turn them into infinity, and some of those write that."""
    assert strict.may_overflow(spelling)
    with pytest.raises(MalformedRequest, match="too large"):
        strict.check_number(spelling, pointer="")


def test_numbers_that_do_not_overflow_pass() -> None:
    """Thirty digits are many, and exact."""
    for spelling in (b"1.10", b"-0", b"1e308", b"1e-400", b"9" * 30):
        strict.check_number(spelling, pointer="")
    assert not strict.may_overflow(b"-1.10")


def test_places_are_those_of_the_body() -> None:
    """What is missing in a part is added."""
    said = "JSON is malformed: invalid character (byte 5)"

    assert strict.syntax_error(said, b"[1,2,@]").pointer == "byte 5"
    gaps = [(0, 100), (3, 10), (5, 1_000), (6, 7)]
    assert strict.syntax_error(said, b"[1,2,@]", gaps).pointer == "byte 1115"


def test_folding_keeps_what_is_folded_already() -> None:
    """What a name is taken for is taken for itself."""
    for name in (
        "tools",
        " TOOLS ",
        "toolſ",
        "ｔｏｏｌｓ",
        "to\u200bols",
        "t\u115fools",
    ):
        assert strict.fold(name) == strict.fold(strict.fold(name)) == "tools"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt-image-2", "gptimage2"),
        ("GPT_Image 2", "gptimage2"),
        (" gpt‑image‑2\n", "gptimage2"),
        ("ｇｐｔ-image-2", "gptimage2"),
        ("gpt-image-２", "gptimage2"),
        ("medıum", "medıum"),
        ("STRAẞE", "strasse"),
        ("gpt-image\u115f-2\u3164", "gptimage2"),
        ("", ""),
        ("--", ""),
    ],
)
def test_a_word_is_folded_to_its_letters_and_digits(text: str, expected: str) -> None:
    """Case, width, signs, spaces and what is not seen mean nothing."""
    assert strict.letters_of(text) == expected


def test_a_value_is_looked_at_without_the_long_strings_in_it() -> None:
    """Those before it and behind it do not matter."""
    text = b'{"a":["long",[1,"short"],{"b":"longer"}],"c":"longest"}'
    row = strict.Walked(text, [(45, 52)])
    row["a"], row.starts["a"] = Raw(text[5:40]), 5

    assert row.lean("a") == (text, 5, 40)

    row.strings = [(2, 3), (7, 11), (31, 37), (46, 53)]

    assert row.lean("a") == (b'["",[1,"short"],{"b":""}]', 0, 25)


def test_what_is_long_without_its_long_strings_is_not_copied() -> None:
    """A copy would take as long as a look."""
    text = b'{"a":["long",%b1]}' % (b"1," * strict._LEAN)
    row = strict.Walked(text, [(7, 11)])
    row["a"], row.starts["a"] = Raw(text[5:-1]), 5

    assert row.lean("a") == (text, 5, len(text) - 1)
