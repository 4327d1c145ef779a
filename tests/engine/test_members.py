"""Objects by the members that are read, whatever else they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.json import encode

from imagegate.engine.members import (
    NO_MEMBERS,
    Members,
    members,
    read_line,
    read_members,
    response,
)


def test_members_are_read_as_they_are() -> None:
    """Words of any kind; absent is not null; `tools` by its bytes."""
    found = members(read_members(b'{"id":"a","status":null,"tools":[ 1 ],"new":{}}'))

    assert (found.id, found.status, found.model) == ("a", None, UNSET)
    assert bytes(found.tools) == b"[ 1 ]"
    assert not NO_MEMBERS.tools


def test_objects_inside_are_read_in_the_same_way() -> None:
    """Where an object is expected, and in lists of them."""
    found = members(read_members(b'{"response":{"output":[{"id":"b"},7,[]],"x":1}}'))
    inside = response(found.response)

    assert isinstance(inside.output, list)
    assert [members(item).id for item in inside.output] == ["b", UNSET, UNSET]


def test_in_place_of_anything_else_stands_an_empty_object() -> None:
    """Whoever reads it finds nothing."""
    assert response(7) == response(UNSET)
    assert (response(7).id, response(7).output) == (UNSET, UNSET)
    assert members(7) is NO_MEMBERS


@pytest.mark.parametrize("name", ["response", "item", "output", "data", "tools"])
@pytest.mark.parametrize("value", ["[]", "[1]", '"x"', "1.5", "true", "null", "{}"])
def test_a_value_of_another_kind_costs_nothing_else(name: str, value: str) -> None:
    """It is there, and the object is read."""
    found = members(read_members(f'{{"{name}":{value},"id":"a"}}'.encode()))

    assert found.id == "a"
    assert getattr(found, name) is not UNSET


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b'{"id":"\xff"}', "\ufffd", id="invalid-utf-8"),
        pytest.param(b'{"id":"\\ud83d"}', "?", id="half-a-pair"),
        pytest.param(b'\xef\xbb\xbf{"id":"a"}', "a", id="byte-order-mark"),
        pytest.param(b'{"id":"a","code":NaN}', "a", id="no-number"),
        pytest.param(b'{"id":"a","code":1E400}', "a", id="too-large"),
        pytest.param(b'{"id":"a","id":"b"}', "b", id="the-last-of-two"),
    ],
)
def test_what_a_client_can_read_is_read(text: bytes, found: str) -> None:
    """What cannot be written again is replaced."""
    assert members(read_members(text)).id == found


@pytest.mark.parametrize("text", [b"[]", b"null", b'"x"', b"[NaN]"])
def test_another_value_is_none(text: bytes) -> None:
    """Which is no error of the JSON."""
    assert read_members(text) is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":\n"\n"}', b"{}]"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """As everywhere."""
    with pytest.raises(ValueError, match=r"."):
        read_members(text)


@given(
    st.dictionaries(
        st.sampled_from(Members.__struct_fields__) | st.text(max_size=3),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3)
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(Members.__struct_fields__), inner, max_size=3
            ),
            max_leaves=9,
        ),
    )
)  # fmt: skip
def test_any_object_is_read(value: dict[str, object]) -> None:
    """And a member that is no object by itself is what it was."""
    found = members(read_members(encode(value)))

    for name in ("type", "id", "error", "usage", "created"):
        assert getattr(found, name) == value.get(name, UNSET)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b'{"custom_id":"a","response":{"status_code":200,"body":{"id":"r"}}}', "r"),
        (b'{"response":{"body":{"id":"r"}},"custom_id":null}', "r"),
        (b'{"custom_id":"a","response":{"body":{"id":"r"}},"x":NaN}', "r"),
        (b'{"custom_id":"a","response":{"body":[{"id":"r"}]}}', UNSET),
        (b'{"custom_id":"a","response":null}', UNSET),
        (b'{"custom_id":"a"}', UNSET),
    ],
)
def test_a_line_of_a_batch_holds_an_answer_or_none(line: bytes, name: object) -> None:
    found = read_line(line)
    assert found is not None
    assert found.id == name


@pytest.mark.parametrize("line", [b'{"id":"r"}', b"[]", b"7", b"null"])
def test_another_line_holds_nothing(line: bytes) -> None:
    assert read_line(line) is None
