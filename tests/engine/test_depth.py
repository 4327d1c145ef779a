"""How deep a value may be nested that nobody opens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.depth import MAX_NESTED, check_depth
from imagegate.engine.errors import MalformedRequest


def passes(text: bytes, around: bytes = b'{"a":1}') -> bool:
    """Check a value that stands in a text."""
    whole, start = around + text + around, len(around)
    try:
        list(check_depth(whole, start, start + len(text), pointer="/x"))
    except MalformedRequest:
        return False
    return True


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


def nested(levels: int, inner: bytes = b"1") -> bytes:
    pairs = [(b"[", b"]"), (b'{"k":', b"}")]
    text = inner
    for level in range(levels):
        before, behind = pairs[level % 2]
        text = before + text + behind
    return text


@pytest.mark.parametrize(
    "inner",
    [
        b"1",
        b'"%b"' % (b"A" * 100_000),
        b'"%b"' % (b'\\"[[{' * 20_000),
        b'"%b\\\\"' % (b"[" * 20_000),
        b'"%b\\""' % (b"A" * 40_000),
        b"[%b]" % b",".join([b'{"a":[]}'] * 5_000),
    ],
    ids=["plain", "base64", "escapes", "brackets", "quote", "wide"],
)
def test_the_bound_is_exact(inner: bytes) -> None:
    """Whatever stands at the bottom, and however long it is."""
    below = 3 if inner.startswith(b"[") else 0
    most = MAX_NESTED - below

    assert passes(nested(most, inner))
    assert not passes(nested(most + 1, inner))
    assert not passes(b"[%b,%b]" % (inner, nested(most + 1, inner)))


def test_many_shallow_values_are_not_deep() -> None:
    """Brackets beside each other, and those in text."""
    assert passes(b"[%b]" % b",".join([b"[{}]"] * 50_000))
    assert passes(b'["%b"]' % (b"[" * 50_000))


def test_a_hundred_thousand_levels_are_refused_at_once() -> None:
    """The first window tells."""
    steps = check_depth(b"[" * 100_000, 0, 100_000, pointer="/x")

    with pytest.raises(MalformedRequest) as raised:
        next(steps)
    assert (raised.value.code, raised.value.pointer) == ("too_deep", "/x")


@given(
    st.recursive(
        st.text(max_size=3) | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=30,
    ),
    st.integers(MAX_NESTED - 12, MAX_NESTED),
)
def test_it_agrees_with_the_obvious_count(value: Any, levels: int) -> None:
    """One recursion, one count."""
    text = nested(levels, json.dumps(value).encode())

    assert passes(text) == (levels + depth_of(value) <= MAX_NESTED)
