"""What stands outside strings is told from what stands in them, without a decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrow import count_plainly, narrow, read_plainly

from imagegate.engine import outline
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.outline import (
    MAX_STRUCTURE,
    Budget,
    Outline,
    hide_escapes,
    nest,
    structure,
)

TEXTS = st.text(st.sampled_from('\\",[]{} é'), max_size=9)
VALUES = st.recursive(
    st.none() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)


def spelled(value: Any) -> bytes:
    """Spell JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def test_escapes_are_hidden_and_nothing_moves() -> None:
    """Each quote that is left bounds a string."""
    assert hide_escapes(rb'"a"') == rb'"a"'
    assert hide_escapes(rb'"\\\"\\" \n') == rb'"......" \n'


@pytest.mark.parametrize(
    ("text", "comma", "outside", "opened"),
    [
        (b',1,"a,b"', 2, b",1", False),
        (b',1,"a,b', 2, b",1", True),
        (b',{"a":1},{"b":"', 8, b",{:1}", True),
        (b',"a":{"b":{"c":1', 0, b"", False),
        (b'["a","b"', 4, b"[", False),
        (b'"', 0, b"", True),
        (rb',"\",",1', 6, b",", False),
        (b',"a","","b""c"', 7, b",,", False),
        (b',"a"' + b'""' * 9, 0, b"", False),
        (b'"a",1', 3, b"", False),
    ],
)
def test_the_last_comma_is_found(
    text: bytes,
    comma: int,
    outside: bytes,
    opened: bool,  # noqa: FBT001 - a table
) -> None:
    """Outside strings, with what stands before it; and whether a string is open."""
    found = Outline(text)

    assert found.before_last_comma() == (comma, outside)
    assert found.open is opened


def test_a_stretch_may_begin_in_a_string() -> None:
    """Whoever cuts a text anywhere knows on which side he was."""
    found = Outline(b'a,",1,"b', inside=True)

    assert found.outside() == b",1,"
    assert found.open
    assert found.last_quote == 6
    assert Outline(b"1").last_quote == -1


@pytest.mark.parametrize(
    ("stack", "outside", "opened", "ended"),
    [
        (b"", b"[{:[]},", b"[", False),
        (b"[", b",{:1},[", b"[[", False),
        (b"[{", b",:1},{:[],", b"[{", False),
        (b"[{", b",:1}],[", b"", True),
        (b"[", b",1],[]", b"", True),
        (b"", b"]", b"", True),
        (b"[", b"[" * 9 + b"]" * 8, b"[[", False),
    ],
)
def test_brackets_are_opened_and_closed(
    stack: bytes,
    outside: bytes,
    opened: bytes,
    ended: bool,  # noqa: FBT001 - a table
) -> None:
    """And the end of the value is noticed."""
    assert nest(stack, outside) == (opened, ended)


@given(VALUES)
def test_structure_is_that_of_the_decoded_value(value: Any) -> None:
    """Whatever its strings hold."""
    text = spelled(value)
    read = read_plainly(text)

    assert read is not None
    outside = Outline(text).outside()
    assert structure(outside) == count_plainly(read[0])
    assert nest(b"[", outside) == (b"[", False)


def spent(text: bytes) -> tuple[bool, int]:
    """Spend too much on a text: whether it was proved good, in how many pieces."""
    budget = Budget(text)
    pauses = sum(1 for _ in budget.spend(outline.MAX_STRUCTURE + 1))
    return budget.proved, pauses


def test_a_budget_is_held_by_counting_once() -> None:
    """What was added may be too much; what is counted is not."""
    text = b'{"a":"%b"}' % (b"," * MAX_STRUCTURE)
    budget = Budget(text)
    pauses = [sum(1 for _ in budget.spend(more)) for more in (MAX_STRUCTURE, 1, 9)]

    assert (pauses, budget.proved) == ([0, 37, 0], True)
    assert not Budget(text).proved


def test_a_backslash_at_the_very_end_is_counted_through() -> None:
    """It is no JSON, but it ends."""
    assert spent(b"x" * MAX_STRUCTURE + b"\\")[0]


def test_a_short_text_is_within_the_budget() -> None:
    """It cannot have more structure than bytes."""
    budget = Budget(b"[]" * 1_000)

    assert (budget.proved, budget.size) == (True, 2_000)


@pytest.mark.parametrize("unit", [b"[],", b"1,", b'"a",', rb'"\"",'])
def test_bombs_are_counted(unit: bytes) -> None:
    """And refused, as a matter of size."""
    with pytest.raises(MalformedRequest) as caught:
        spent(b"[%b1]" % (unit * (MAX_STRUCTURE + 1)))
    assert (caught.value.code, caught.value.status) == ("too_many_nodes", 413)


@given(st.lists(VALUES, min_size=1), st.sampled_from([b"", b"\\\\", b"x\\"]))
def test_windows_do_not_change_what_is_counted(value: Any, before: bytes) -> None:
    """Wherever they end, in an escape or in a run of backslashes."""
    text = b'["%b\\"%b",%b]' % (before * 2, before * 40, spelled(value) * 9)
    long = b'["%b",%b]' % (b"," * 900, text)
    with narrow(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "MAX_STRUCTURE", len(text))
        assert spent(long)[0]


def test_each_escape_at_the_end_of_a_window_is_whole() -> None:
    """A bomb behind it is not taken for text."""
    for length in range(120, 130):
        text = b'["%b\\"",%b1]' % (b"x" * length, b"[]," * 300)
        with narrow(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(outline, "MAX_STRUCTURE", 500)
            with pytest.raises(MalformedRequest):
                spent(text)
