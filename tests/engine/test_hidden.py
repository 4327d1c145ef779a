"""A key that may be read as `tools` is found in any spelling, and in no string."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from msgspec import Raw

from imagegate.engine.hidden import is_plain, may_hide_tools, some_may_hide_tools


def ends(search: Generator[None, None, bool]) -> tuple[bool, int]:
    """Run a search: what it found, and how often it gave way."""
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
    assert ends(may_hide_tools(text))[0]
    assert some_may_hide_tools([Raw(b'"x"'), Raw(text)])


@pytest.mark.parametrize(
    "text", [b'"\\"tools\\":1"', b"1", b'["tools"]', b'{"my_tools":1}', rb'["\u00e9"]']
)
def test_text_is_no_key(text: bytes) -> None:
    """What only speaks of tools is not opened."""
    assert not ends(may_hide_tools(text))[0]
    assert not some_may_hide_tools([Raw(text)])


def test_long_searches_give_way() -> None:
    """Every half megabyte."""
    assert ends(may_hide_tools(b'["%b"]' % (b"x" * 2_000_000))) == (False, 3)
    assert ends(may_hide_tools(b'"%b"' % (b"x" * 2_000_000))) == (False, 0)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (b'["x",null,[]]', True),
        (
            b'[[{"type":"input_text","text":"x"},{"annotations":[],"logprobs":[]}]]',
            True,
        ),
        (b'[[{"type":"input_text","\\u0074ext":"x"}]]', True),
        (b'[[{"tools":[]}]]', False),
        (b'[[{"text":{"tools":[]}}]]', False),
        (b'[[{"annotations":[{"tools":[]}]}]]', False),
        (b'[[{"annotations":[null]}]]', False),
        (b"[[[]]]", False),
        (b"[1]", False),
        (b"[", False),
    ],
)
def test_parts_of_messages_are_plain(
    text: bytes,
    plain: bool,  # noqa: FBT001 - a table
) -> None:
    """When every member is known, and is a string."""
    assert is_plain(text) is plain
