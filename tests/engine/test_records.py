"""Records: what they are made of, and what no string can bring into them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.records import (
    SCHEMA,
    AnswerRecord,
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
    Record,
    ident,
    label,
    place,
    word,
)

KINDS = (DecisionRecord, GeneratingRecord, ImageRecord, EchoRecord, CompletionRecord)


def test_a_record_is_one_line_of_json() -> None:
    """With its version and its event in front, whatever the kind."""
    record = GeneratingRecord(
        decision_id="d-1",
        policy="standard",
        policy_digest="5e",
        policy_mode="enforce",
        principal_id="anna\n",
        principal_source="key",
        principal_verified=True,
        transport="sse",
        type="response.image_generation_call.generating",
        sequence_number=4,
        output_index=0,
        item_id="ig_1",
        response_id="resp_1",
    )

    line = msgspec.json.encode(record)

    assert line.startswith(b'{"schema":1,"event":"imagegate.image_generating",')
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=GeneratingRecord) == record
    assert SCHEMA == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_begins_alike(kind: type[Record]) -> None:
    """So that a reader finds who, what and under which policy in one place."""
    shared = Record.__struct_fields__

    assert kind.__struct_fields__[: len(shared)] == shared


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_field_has_room_for_what_must_not_be_there(kind: type[Record]) -> None:
    """Nor for a time, which the sink knows better."""
    never = {"prompt", "image", "key", "url", "headers", "message", "time", "body"}

    assert never.isdisjoint(kind.__struct_fields__)


def test_what_an_answer_gives_is_one_of_four() -> None:
    """Told apart by the event."""
    assert set(KINDS[1:]) == set(AnswerRecord.__args__)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, None),
        ("", ""),
        ("resp_0A-b.c:d==", "resp_0A-b.c:d=="),
        ("a b", "ab"),
        ("a b\r\nc\x00\u2028\u00e9\x7f", "abc"),
        ("\u2026", ""),
        ("x" * 1100, "x" * 1024),
    ],
)
def test_identifiers_are_visible_ascii(text: str | None, kept: str | None) -> None:
    """Nothing that moves a cursor or ends a line."""
    assert ident(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, None),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("gpt-6.1", "gpt-6.1"),
        ("a cat on a mat", "other"),
        ("https://example.com", "other"),
        ("", "other"),
        ("x" * 65, "other"),
    ],
)
def test_words_are_words(text: str | None, kept: str | None) -> None:
    """A code in which somebody writes prose is only another one."""
    assert word(text) == kept


@pytest.mark.parametrize(
    ("pointer", "kept"),
    [
        ("", ""),
        ("/tools/0/svg/model", "/tools/0/svg/model"),
        ("/metadata/sk-12345/tools/0", "/metadata/?/tools/0"),
        ("/metadata/skabcdef/tools/0", "/metadata/?/tools/0"),
        ("/a cat/on~1a/mat", "/?/?/?"),
        ("/tools/0/1234567890", "/tools/0/?"),
        ("/" + "x" * 50, "/?"),
        ("byte 7", "byte 7"),
        ("byte 7 sk-12345", "?"),
    ],
)
def test_places_keep_known_names_and_numbers(pointer: str, kept: str) -> None:
    """A name that a client made up may be a secret in a wrong place."""
    assert place(pointer, {"tools", "svg", "model", "metadata"}) == kept


def test_labels_may_be_in_any_script() -> None:
    """They come from people whom the operator knows."""
    assert (
        label("M\u00fcller, \u5f20\u4f1f\n\x1b[31m") == "M\u00fcller, \u5f20\u4f1f[31m"
    )
    assert len(label("x" * 1000)) == 200


@given(st.text())
def test_nothing_is_too_strange(text: str) -> None:
    """Whatever comes in, what comes out is short and can be written."""
    kept = [ident(text), word(text), place(text, ()), label(text)]

    line = msgspec.json.encode(kept)

    assert len(line) < 4_000
    assert b"\n" not in line
