"""One JSON text of any length in bounded memory."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagegate.engine.pixels import HEAD
from imagegate.engine.reducer import (
    LONG,
    REDUCED,
    WHOLE,
    Collector,
    Held,
    Message,
    _Reducer,
    message,
)


def take(collector: Collector, piece: bytes) -> None:
    """Feed or skip a piece, as a scanner does."""
    more = piece and b'"' not in piece and not piece.endswith(b"\\")
    if collector.inside and more:
        collector.skip(len(piece))
    else:
        collector.feed(piece, 0, len(piece))


def collect(data: bytes, cuts: list[int]) -> Message:
    collector = Collector()
    for start, stop in pairwise([0, *sorted(cuts), len(data)]):
        take(collector, data[start:stop])
    return collector.close()


def collected(data: bytes) -> Message:
    """Collect whole and in pieces; the cuts must not show."""
    whole = message(data)
    dice = random.Random(len(data))  # noqa: S311 - the same cuts in every run
    for pieces in (1, 3, 30, 300):
        cuts = [dice.randint(0, len(data)) for _ in range(pieces)]
        assert collect(data, cuts) == whole
    return whole


def test_a_short_text_is_kept_as_it_came() -> None:
    """Even with a long string in it."""
    data = b'{"a":"' + b"x" * (WHOLE - 8) + b'"}'

    assert collected(data) == Message(text=data, length=WHOLE)


def test_a_long_string_is_cut_out() -> None:
    """Its head and length are set aside, all else stays."""
    data = b'{"a": "%s", "b": "' + b"x" * LONG + b'"}'
    data %= b"y" * WHOLE

    assert collected(data) == Message(
        text=b'{"a": "\\u00000", "b": "' + b"x" * LONG + b'"}',
        length=len(data),
        held=(Held(head="y" * HEAD, length=WHOLE),),
    )


def test_a_string_that_looks_like_a_mark_is_set_aside_too() -> None:
    """No provider can point at another string's length."""
    forged = r'["\u00000", "' + "x" * WHOLE + r'", "\u00001"]'
    found = collected(forged.encode())

    lengths = [found.payload(mark)[1] for mark in json.loads(found.text)]
    assert lengths == [7, WHOLE, 7]


def test_in_a_short_text_no_string_is_a_mark() -> None:
    """A string that begins with NUL is what it is."""
    assert message(b"{}").payload("\x000") == ("\x000", 2)


@pytest.mark.parametrize(
    ("written", "head"),
    [
        pytest.param("ab\\/cd", "ab/cd", id="solidus"),
        pytest.param("ab\\u002Bcd", "ab", id="other"),
    ],
)
def test_an_escape_in_a_head_misleads_nobody(written: str, head: str) -> None:
    r"""`\/` is undone; the head ends at any other."""
    found = collected(b'"%s"' % (written.encode() + b"x" * WHOLE))

    assert found.held[0].head.rstrip("x") == head
    assert found.held[0].length == len(written) + WHOLE


TEXTS = st.text('ab"\\/é\u2028\n\0', max_size=12)
STRINGS = st.builds(
    lambda unit, times: unit * times,
    TEXTS,
    st.sampled_from([1, 1, 1, 300, 500, 800, 3000]),
)
VALUES = st.recursive(
    STRINGS | st.integers() | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=8,
)


def expected(value: Any) -> Any:
    match value:
        case dict():
            return {key: expected(kept) for key, kept in value.items()}
        case list():
            return [expected(kept) for kept in value]
        case str():
            written = len(json.dumps(value)) - 2
            long = written > LONG or value.startswith("\0")
            return written if long else value
        case _:
            return value


def lengths(value: Any, held: tuple[Held, ...]) -> Any:
    match value:
        case dict():
            return {
                key(name, held): lengths(kept, held) for name, kept in value.items()
            }
        case list():
            return [lengths(kept, held) for kept in value]
        case str() if value.startswith("\0"):
            return held[int(value[1:])].length
        case _:
            return value


def key(name: str, held: tuple[Held, ...]) -> str:
    """Undo the mark of a key that begins with NUL; keys here are short."""
    if not name.startswith("\0"):
        return name
    head = held[int(name[1:])]
    return f"{head.length}"


def keyed(value: Any) -> Any:
    match value:
        case dict():
            return {
                f"{len(json.dumps(name)) - 2}" if name[:1] == "\0" else name: keyed(
                    kept
                )
                for name, kept in value.items()
            }
        case list():
            return [keyed(kept) for kept in value]
        case _:
            return value


@given(value=VALUES, cuts=st.lists(st.integers(0, 40_000), max_size=8))
@example(value=['a"\\' * 800, "\0", "\\" * 5000], cuts=[4098, 4099, 8000])
@example(value=['a"', "b"], cuts=[4])
@example(value=["a" * 5000 + "\nb", "c"], cuts=[5003, 5005])
@example(value=['"' + "a" * (LONG - 3) + '"', "b"], cuts=[])
@example(value=['a"', "b"], cuts=[5])
@example(value=["a\\\\", "b"], cuts=[4, 5, 6, 7])
@example(value=['a"' + "b" * 9000 + '"', "c"], cuts=[4, 3000])
def test_what_is_left_is_the_same_json(value: Any, cuts: list[int]) -> None:
    """Only long strings are replaced, each by its own mark."""
    data = json.dumps(value).encode()
    reducer = _Reducer()
    inside = sorted(min(cut, len(data)) for cut in cuts)
    for start, stop in pairwise([0, *inside, len(data)]):
        reducer.feed(data[start:stop], 0, stop - start)

    left = lengths(json.loads(reducer.kept), tuple(reducer.held))

    assert left == keyed(expected(value))


@pytest.mark.parametrize(
    "piece", [b'"a":1,', b"[", b'"', b'"' + b"x" * 5000 + b'",', b'\\"', b"\\"]
)
def test_memory_is_bounded(piece: bytes) -> None:
    """What has too many members is given up, and says so."""
    found = message(b'{"a":' + piece * (4_000_000 // len(piece)))

    kept = len(found.text) + sum(len(held.head) for held in found.held)
    assert kept <= REDUCED
    assert found.whole is False or piece in {b'\\"', b"\\"}


def test_a_text_is_skipped_only_inside_a_string_known_to_be_long() -> None:
    """And not behind a backslash, which may escape what comes."""
    collector = Collector()
    assert not collector.inside
    for piece, inside in (
        (b'{"a":"' + b"x" * WHOLE, True),
        (b"x\\", False),
        (b'"', True),
        (b'","b":"', False),
        (b"x" * (LONG - 1), False),
        (b"x", True),
        (b'"}', False),
    ):
        collector.feed(piece, 0, len(piece))
        assert collector.inside is inside

    assert [held.length for held in collector.close().held] == [WHOLE + 3]


def test_what_is_skipped_counts() -> None:
    """In the string's length and in the text's."""
    collector = Collector()
    collector.feed(b'{"a":"' + b"x" * WHOLE, 0, WHOLE + 6)
    collector.skip(1000)
    collector.feed(b'"}', 0, 2)

    assert collector.close() == Message(
        text=b'{"a":"\\u00000"}',
        length=WHOLE + 1008,
        held=(Held(head="x" * HEAD, length=WHOLE + 1000),),
    )


def test_a_short_text_needs_no_count() -> None:
    """It is kept whole; nobody is told to skip in it."""
    collector = Collector()
    collector.skip(3)

    assert collector.close() == Message(text=b"", length=3)


def test_a_skip_takes_the_escaped_character() -> None:
    """A backslash at the end of one chunk escapes nothing in the next but one."""
    collector = Collector()
    for piece in (b'["' + b"x" * WHOLE + b"\\", b"n", b"xx\\", b"nx", b'"]'):
        take(collector, piece)

    assert collector.close().text == b'["\\u00000"]'


def test_many_small_strings_cost_little_python() -> None:
    """They are kept a window at a time, with what stands between them."""
    text = b"[%s]" % b",".join(
        (b'"a\\\\"', b'"b\\"ccccccccccccccc"', b'"\\u0000"', b'""', b"1") * 400
    )

    found = collected(text)

    marked = text.replace(b'"\\u0000"', b'"\\u0000%d"') % tuple(range(400))
    assert found.text == marked
