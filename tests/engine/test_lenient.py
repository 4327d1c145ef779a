"""Reading JSON that others wrote."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.events import TOO_LONG
from imagegate.engine.lenient import (
    ID,
    MEMBERS,
    WORD,
    Cut,
    as_array,
    as_object,
    completions,
    decode,
    flag,
    identifier,
    number,
    short,
    word,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b'{"a":1}', {"a": 1}, id="plain"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="the-last-of-two"),
        pytest.param(b'{"a":"\xff"}', {"a": "\ufffd"}, id="invalid-utf-8"),
        pytest.param(b'{"a":"\\ud83d"}', {"a": "\ud83d"}, id="half-a-pair"),
        pytest.param(b'{"a":NaN}', {"a": "NaN"}, id="no-number"),
        pytest.param(b'{"a":-1e999}', {"a": -sys.float_info.max}, id="too-large"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte-order-mark"),
    ],
)
def test_what_a_client_can_read_is_read(text: bytes, value: object) -> None:
    """Python's own clients accept all of this."""
    assert decode(text) == value


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":\n"\n"}', b"[1]]", b"9" * 5000])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """One kind of error for every decoder."""
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_deep_nesting_is_a_recursion_error() -> None:
    """It does not bring the process down."""
    with pytest.raises(RecursionError):
        decode(b"[" * 100_000 + b"]" * 100_000)


def test_a_value_of_another_kind_reads_as_absent() -> None:
    """A boolean is no number, a number no word."""
    assert [as_object([]), as_array({})] == [{}, []]
    assert [word(1), number("1"), flag(0)] == [None, None, None]


def test_a_value_of_the_right_kind_is_read() -> None:
    """As it is."""
    yes: object = True

    assert [as_object({"a": 1}), as_array([1])] == [{"a": 1}, [1]]
    assert [word("a"), number(7), flag(yes)] == ["a", 7, True]


@pytest.mark.parametrize("value", [True, -1, 1 << 63, 1.0, None])
def test_what_is_no_count_is_none(value: object) -> None:
    """Nor is a number that no JSON writer takes."""
    assert number(value) is None


def test_a_string_over_the_bound_equals_no_word() -> None:
    """So it can neither be kept nor be taken for absent."""
    assert short("a" * WORD) == "a" * WORD
    assert short("a" * (WORD + 1)) == TOO_LONG
    assert short("\x000") == TOO_LONG


def test_half_an_identifier_is_none() -> None:
    """It would name what begins alike, and somebody else's."""
    assert identifier("a" * ID) == "a" * ID
    assert [identifier("a" * (ID + 1)), identifier(7)] == [None, None]


@given(st.text())
def test_every_string_can_be_written(text: str) -> None:
    """Half a surrogate pair would fail in the audit log."""
    msgspec.json.encode(short(text))
    msgspec.json.encode(short(text + "\ud800"))


def test_a_copy_is_the_value_where_it_is_small() -> None:
    """Every kind of JSON value survives."""
    cut = Cut()
    value = {"a": [1, 1.5, None, True, {"b": "é"}], "c": {}}

    assert cut.object(value) == value
    assert cut.whole


@pytest.mark.parametrize(
    ("value", "copy", "whole"),
    [
        pytest.param({"a": "x" * 9000}, {"a": TOO_LONG}, True, id="long-string"),
        pytest.param({"a": 1 << 70}, {"a": TOO_LONG}, True, id="large-number"),
        pytest.param({"a": [0] * 99}, {"a": [0] * MEMBERS}, False, id="many"),
        pytest.param({"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}},
                     {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}, False, id="deep"),
    ],
)  # fmt: skip
def test_a_copy_has_bounds(
    value: dict[str, object], copy: dict[str, object], *, whole: bool
) -> None:
    """What was left out is told."""
    cut = Cut()

    assert cut.object(value) == copy
    assert cut.whole is whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":[1,{"b":"x', {"a": [1, {"b": "x"}]}),
        (b'{"a":[{"b":"]}"},{"c":', {"a": [{"b": "]}"}]}),
        (b'{"a":1,"b', {"a": 1}),
        (b'{"a":1,"b":tr', {"a": 1}),
        (b'{"a":"x\\u00', {"a": "x"}),
        (b'{"a":"x\\\\', {"a": "x\\"}),
        (b'{"a":"x\\', {"a": "x"}),
        (b'\xef\xbb\xbf {"a":"x', {"a": "x"}),
    ],
)
def test_what_breaks_off_is_completed(text: bytes, value: object) -> None:
    """As far as it came; a value of which nobody knows whether it is whole goes."""
    assert _completed(text) == value


def test_there_are_two_ways_to_complete_it() -> None:
    """The first has all that came, which need not be JSON."""
    assert [*completions(b'{"a":1,"b')] == [b'{"a":1,"b"}', b'{"a":1}']


@pytest.mark.parametrize("text", [b"", b"[1", b"null", b'"x', b'{"a":1}}', b'{"a":'])
def test_what_is_no_object_or_whole_or_has_nothing_in_it_is_not(text: bytes) -> None:
    """There is nothing to be read in it."""
    assert _completed(text) is None


def _completed(text: bytes) -> object:
    for found in completions(text):
        try:
            return decode(found)
        except ValueError:
            continue
    return None


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _values, min_size=1), st.data())
def test_an_object_that_breaks_off_anywhere_is_read(
    value: dict[str, object], data: st.DataObject
) -> None:
    """And says nothing of what comes before that it did not say."""
    text = json.dumps(value).encode()
    end = data.draw(st.integers(1, len(text) - 1))

    found = _completed(text[:end])

    assert found is None or isinstance(found, dict)
    whole = dict(list(value.items())[: max(0, len(found or {}) - 1)])
    assert {key: (found or {})[key] for key in whole} == whole
