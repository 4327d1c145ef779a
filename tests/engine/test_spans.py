"""Structure is counted outside strings, and long strings are checked in pieces."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from imagegate.engine import spans
from imagegate.engine.errors import MalformedRequest

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


@pytest.mark.parametrize(
    ("text", "stop", "structure"),
    [
        (b"1,2", 1, 0),
        (b'{"a":[1,2]},3', 11, 3),
        (b'{"a":[1,2]}]', 11, 3),
        (b'"a,[\\"{",1', 8, 0),
        (b'"\\\\",1', 4, 0),
        (b'"\\\\\\",",1', 7, 0),
        (b'""}', 2, 0),
        (b'"', 1, 0),
        (b'"\\"', 3, 0),
        (b'"\\', 2, 0),
        (b"", 0, 0),
        (b" " * 70_000 + b",", 70_000, 0),
        (b'"\\"%b\\\\",' % (b"\\\\" * 70_000), 140_006, 0),
        (b'"%b\\"%b\\\\",' % (b"x" * 1_022, b"\\\\" * 70_000), 141_028, 0),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_the_end_of_an_element_is_found(text: bytes, stop: int, structure: int) -> None:
    """A comma or a bracket outside strings and inner brackets, or the end."""
    assert run(spans.element_end(text, 0))[0] == (stop, structure)


def test_steps_are_bounded() -> None:
    """Others can run every few thousand steps, and a bomb is refused as it is met."""
    _, pauses = run(spans.element_end(b"[%b]" % (b"[]," * 100_000), 0))
    assert pauses == 75
    _, pauses = run(spans.element_end(b" " * 10_000_000, 0))
    assert pauses == 19
    _, pauses = run(spans.element_end(b'"%b"' % (b'\\"' * 1_000_000), 0))
    assert pauses > 20

    with pytest.raises(MalformedRequest) as caught:
        run(spans.element_end(b"[" * (spans.MAX_STRUCTURE + 1), 0))
    assert (caught.value.code, caught.value.status) == ("too_many_nodes", 413)


def weigh(text: bytes) -> tuple[int, bool]:
    """Weigh a body: how much is counted, and whether it had to be counted exactly."""
    budget = spans.Budget(text)
    for _ in budget.weigh(text):
        pass
    return budget.spent, budget.proved


def test_a_body_is_weighed_by_its_bytes_first() -> None:
    """Commas in text count, until they are too many; then they do not."""
    assert weigh(b'["%b"]' % (b"," * 500_000 + b"x" * 600_000)) == (500_001, False)
    assert weigh(b'["%b"]' % (b"," * 2_000_000))[1]
    assert weigh(b"[]" * 1_000) == (0, True)
    for bomb in (b"[%b]" % (b"[]," * 400_000), b"[%b]" % (b"1," * 700_000)):
        with pytest.raises(MalformedRequest, match="too many"):
            weigh(bomb)


def test_a_hundred_thousand_items_are_not_too_many() -> None:
    """Of four members each, in ten megabytes."""
    item = b'{"a":"%b","b":1,"c":2,"d":3}' % (b"x" * 70)

    assert weigh(b"[%b]" % b",".join([item] * 100_000)) == (500_000, False)


def shortened(text: bytes) -> tuple[spans.Short, int]:
    """Shorten a text."""
    return run(spans.shorten(text))


def test_long_strings_are_taken_out_and_put_back() -> None:
    """What is left has marks, and no member is lost."""
    long = rb"\u00e9\ud83d\ude00\\\"" * 5_000
    text = b'{"a":"%b","b":["%b",1],"c":"%b"}' % (long, long + b"x", long[:44])
    short, pauses = shortened(text)
    row = msgspec.json.decode(short.text, type=dict[str, Raw])

    assert len(short.text) < 200
    assert pauses >= 4
    assert len(short.text) + sum(gap for _, gap in short.gaps) == len(text)
    assert {key: bytes(raw) for key, raw in short.restore(row).items()} == {
        "a": b'"%b"' % long,
        "b": b'["%bx",1]' % long,
        "c": b'"%b"' % long[:44],
    }


def test_a_text_without_long_strings_stays() -> None:
    """There is nothing to be put back then."""
    short, _ = shortened(b'{"a":"%b"}' % (b"x," * 100))
    row = {"a": Raw(b"1")}

    assert shortened(b'["a",%b]' % (b'"a",' * 9_000))[1] == 2
    assert short.gaps == []
    assert short.restore(row) is row


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'{"%b" \n:1}', "key_too_long", ""),
        (b'{"a":"%b\\ud800 "}', "lone_surrogate", "byte 200107"),
        (b'{"a":"%b\x01"}', "invalid_json", "byte 200107"),
        (b'{"a":"%b\\x"}', "invalid_json", "byte 200108"),
    ],
)
def test_long_strings_are_strings(text: bytes, code: str, place: str) -> None:
    """A fault in one is found at its place in the body."""
    with pytest.raises(MalformedRequest) as caught:
        run(spans.shorten(text % (b"\\n" * 100_000 + b"x"), first=100))

    assert (caught.value.code, caught.value.pointer) == (code, place)


def test_escapes_make_a_text_slow() -> None:
    """Two hundred thousand of them."""

    def slow(text: bytes) -> tuple[bool, int]:
        return run(spans.is_slow(text, 0, len(text)))

    assert slow(b"\\n" * 1_000_000) == (True, 1)
    assert slow(b"x" * 2_000_000) == (False, 1)
    assert slow(b"\\n" * 100_000) == (False, 0)


_strings = st.text(st.sampled_from('\\"xu0d8é'), max_size=9)


@settings(max_examples=100, deadline=None)
@given(st.recursive(_strings, lambda inner: st.lists(inner, max_size=3)), _strings)
@example(["\\"], "\\")
def test_elements_end_where_the_decoder_says(value: object, after: str) -> None:
    """Whatever their strings hold."""
    text = msgspec.json.encode(value)
    rest = msgspec.json.encode(after)

    assert run(spans.element_end(text + b"," + rest, 0))[0][0] == len(text)
    assert run(spans.element_end(text + b"]" + rest, 0))[0][0] == len(text)


def pieces(work: Iterator[None]) -> int:
    """Count how often others can run."""
    return sum(1 for _ in work)


def test_weighing_gives_way() -> None:
    """Every megabyte."""
    text = b"x" * 5_000_000

    assert pieces(spans.Budget(text).weigh(text)) == 4
