"""What follows from names alone is remembered; it must not tell in what is said."""

from __future__ import annotations

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.errors import MalformedRequest
from imagegate.middleware import headers
from imagegate.middleware.headers import Head, Names, describing
from imagegate.middleware.setup import Limits

SECONDS: Final = 2.0
"""Many times what it takes where each line costs the same, on a busy machine."""

NAMES = st.sampled_from(
    [
        b"Host",
        b"host",
        b"Content-Type",
        b"content_type",
        b"content-length",
        b"Transfer-Encoding",
        b"X-HTTP-Method",
        b"x_original_url",
        b"OpenAI-Beta",
        b"openai_beta",
        b"x-ms-oai-image-generation-deployment",
        b"traceparent",
        b"x-other",
    ]
)
VALUES = st.sampled_from([b"", b" a\t", b"chunked", b"\xa0b\xa0", b"7"])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def told(head: Head) -> object:
    """All that a head can say."""
    names = ["host", "content-type", "content_type", "traceparent", "absent"]
    limits = Limits(headers=9, head=200)
    try:
        head.check(limits)
        fault = None
    except MalformedRequest as error:
        fault = error.code, error.message, error.status
    return (
        [(name in head, head.get(name)) for name in names],
        head.tokens("content-type"),
        head.choosing(),
        head.without(),
        describing(head, 3, {"openai-beta": "b"}, kind="application/json"),
        describing(head, None, {}),
        fault,
    )


@given(HEADERS, HEADERS)
def test_a_head_says_the_same_whatever_came_before(
    said: list[tuple[bytes, bytes]], before: list[tuple[bytes, bytes]]
) -> None:
    headers._remembered.cache_clear()
    cold = told(Head(said))
    # The same names with other values, and others altogether.
    told(Head([(name, b"other") for name, _ in said]))
    told(Head(before))

    assert told(Head(said)) == cold


@given(HEADERS)
def test_the_values_of_a_name_are_those_that_came_in_their_order(
    said: list[tuple[bytes, bytes]],
) -> None:
    head = Head(said)

    for name in {name.lower() for name, _ in said}:
        values = [
            v.decode("latin-1").strip(" \t") for n, v in said if n.lower() == name
        ]
        assert head.get(name.decode()) == values


def test_no_value_is_remembered() -> None:
    Head([(b"authorization", b"Bearer secret")])

    kept = headers._remembered((b"authorization",))
    assert isinstance(kept, Names)
    assert b"secret" not in repr(vars(kept)).encode()


def test_a_head_of_very_many_lines_holds_nobody_up() -> None:
    """Not every server has a limit, and the one here is looked at with the head."""
    started = time.process_time()
    head = Head([(b"a", b"")] * 50_000)

    assert time.process_time() - started < SECONDS
    with pytest.raises(MalformedRequest) as caught:
        head.check(Limits())
    assert caught.value.code == "head_too_large"


def test_a_long_head_is_not_remembered() -> None:
    headers._remembered.cache_clear()
    name = b"x" * (headers.MAX_LENGTH + 1)

    assert Head([(name, b"1")]).get(name.decode()) == ["1"]
    assert headers._remembered.cache_info().currsize == 0


@pytest.mark.parametrize("length", [headers.MAX_LENGTH, headers.MAX_LENGTH + 1])
def test_a_head_of_any_length_says_the_same(length: int) -> None:
    name = b"x" * length

    assert Head([(name, b"1"), (b"host", b"h")]).get("host") == ["h"]
    assert Head([(name, b"1")]).without() == [(name, b"1")]


def test_what_is_done_to_the_scopes_list_meanwhile_changes_nothing() -> None:
    sent = [(b"x-one", b"1"), (b"x-two", b"2")]
    head = Head(sent)

    sent.insert(0, (b"x-none", b"0"))

    assert (head.first("x-one"), head.get("x-two")) == ("1", ["2"])
