"""A key that may be read as `tools` is found in any spelling, and in no string."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from narrow import narrow

from imagegate.engine.hidden import (
    count_parts,
    may_hide_tools,
    opens,
    some_may_hide_tools,
)


def ends(text: bytes) -> tuple[bool, int]:
    """Search a value that stands in a text: what is found, with how many pauses."""
    search = may_hide_tools(b'"tools":' + text + b',"tools":1', 8, 8 + len(text))
    pauses = 0
    while True:
        try:
            next(search)
        except StopIteration as end:
            return bool(end.value), pauses
        pauses += 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"tools":1}',
        b'[[{"TOOLS" \n :1}]]',
        rb'[{"to\u006Fls":1}]',
        rb'[{"tool\u017f":1}]',
        '[{"toolſ":1}]'.encode(),
        b'["%b",{"Tools":1}]' % (b"A" * 100_000),
        *(b'["%b",{"tools":1}]' % (b"A" * (16_384 - n)) for n in range(2, 20)),
        *(b'["%b",{"tools"%b:1}]' % (b"A" * 16_370, b" " * n) for n in (60, 90, 999)),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_keys_are_found(text: bytes) -> None:
    """Wherever they stand, and however far the colon is away."""
    assert ends(text)[0]
    assert some_may_hide_tools([Raw(b'"x"'), Raw(text)])


@pytest.mark.parametrize(
    "text", [b'"\\"tools\\":1"', b"1", b'["tools"]', b'{"my_tools":1}', rb'["\u00e9"]']
)
def test_text_is_no_key(text: bytes) -> None:
    """What only speaks of tools is not opened."""
    assert not ends(text)[0]
    assert not some_may_hide_tools([Raw(text)])


def test_long_searches_give_way() -> None:
    """Every half megabyte."""
    assert ends(b'["%b"]' % (b'","' * 700_000)) == (False, 4)
    assert ends(b'["%b"]' % (b"x" * 2_000_000)) == (False, 1)
    assert ends(b'"%b"' % (b'","' * 700_000)) == (False, 0)


@pytest.mark.parametrize("text", [b"{}", b"[1]"])
def test_objects_and_arrays_open(text: bytes) -> None:
    """And nothing else does."""
    assert opens(text)
    assert not opens(b'"%b"' % text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"[]", 0),
        (b"[[]]", 0),
        (b'[[{"type":"input_text","text":"x"},{"annotations":[],"logprobs":[]}]]', 2),
        (b'[[{"type":"input_text","\\u0074ext":"x"}],[{}]]', 2),
        (b'[[{"tools":[]}]]', None),
        (b'[[{"text":{"tools":[]}}]]', None),
        (b'[[{"annotations":[{"tools":[]}]}]]', None),
        (b'[[{"annotations":[null]}]]', None),
        (b'["x"]', None),
        (b"[[[]]]", None),
        (b"[1]", None),
        (b"[", None),
    ],
)
def test_parts_of_messages_are_counted(text: bytes, parts: int | None) -> None:
    """When every member of each is known, and is a string."""
    assert count_parts(text) == parts


_spellings = st.sampled_from(
    ['"tools"', '"TOOLS"', r'"\u0074ools"', r'"too\u006cs"', '"toolſ"', r'"tool\u017F"']
)


@given(_spellings, st.integers(0, 140), st.integers(0, 140), st.integers(20, 40))
def test_no_window_ends_hide_a_key(key: str, before: int, gap: int, near: int) -> None:
    """Wherever one ends: before the key, in it, or between it and its colon."""
    for start in ('["%s",{' % ("x" * before), '[%s{"a":"b",' % (" " * before)):
        text = (start + key + " " * gap + ":1}]").encode()
        with narrow(near):
            assert ends(text)[0]


STRANGE = [
    rb'{"tools\u0000":[]}',
    rb'{"to\u0000ols":[]}',
    rb'{"tools\ufffd":[]}',
    rb'{"tools\uFFFD" : []}',
    rb'[{"\ntools":[]}]',
    rb'{"tools\u009f":[]}',
    rb'{"tools\u007F":[]}',
    rb'{"tools\uD83F\uDFFE":[]}',
    rb'{"a\"b\t":1}',
    '{"tools\ufffd":[]}'.encode(),
    b'{"tools\x7f":[]}',
    '{"tools\x85":[]}'.encode(),
    '{"tools\ufdd0":[]}'.encode(),
    '{"tools\U0010ffff":[]}'.encode(),
    b'["%b",{"a\\u0000":1}]' % (b"A" * 100_000),
    *(b'["%b",{"a\\n%b":1}]' % (b"A" * 16_370, b"k" * n) for n in (0, 9, 999)),
    b'{"tools%b":1}' % (rb"\u0000" * 20_000),
]


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: ascii(text)[:24])
def test_keys_with_characters_that_readers_drop_are_found(text: bytes) -> None:
    """What is left of one may be `tools`, for somebody."""
    assert ends(text)[0]
    assert some_may_hide_tools([Raw(text)])


@pytest.mark.parametrize(
    "text",
    [
        rb'{"a":"tools\u0000","b":["x\n"]}',
        rb'{"path":"C:\\name","b":"\"\t"}',
        rb'{"a":"\u0000\" : \u0000"}',
        '["\ufffd","\x7f",{"é漢":"\U0001f600"}]'.encode(),
        b'{"a":"%b"}' % (b"line\\n" * 9_000),
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_such_characters_in_text_are_no_keys(text: bytes) -> None:
    """Every text with a line break has one."""
    assert not ends(text)[0]
    assert not some_may_hide_tools([Raw(text)])


@given(
    key=st.text(max_size=9),
    strange=st.sampled_from("\x00\x1f\n\x7f\x85\ufffd\ufffe\ufdd5\U0001ffff"),
    at=st.integers(0, 9),
    ascii_only=st.booleans(),
    before=st.text(max_size=9),
)
def test_no_spelling_hides_such_a_key(
    key: str,
    strange: str,
    at: int,
    ascii_only: bool,  # noqa: FBT001 - Hypothesis calls it
    before: str,
) -> None:
    """Escaped or not, whatever stands before it."""
    named = key[:at] + strange + key[at:]
    value = [before, {"a": {named: []}}]
    if any("\ud800" <= letter <= "\udfff" for letter in key + before):
        return
    text = json.dumps(value, ensure_ascii=ascii_only).encode()

    assert ends(text)[0]
