"""Keyed hashes of prompts and users."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from asking import body, encode

from imagegate.engine.body import Body, read_body_now
from imagegate.engine.fingerprint import Fingerprints, fingerprint
from imagegate.engine.surface import Reading

KEY = b"key"


def hashed(read: Body, reading: Reading = "responses") -> tuple[Fingerprints, int]:
    """Hash to the end; count the moments in between."""
    working, moments = fingerprint(read, reading, KEY), 0
    while True:
        try:
            next(working)
        except StopIteration as end:
            return end.value, moments
        moments += 1


def by_hand(data: bytes) -> str:
    return hmac.new(KEY, data, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("reading", "asked", "expected"),
    [
        ("responses", {"input": "a cat"}, b'"a cat"'),
        ("responses", {"input": [{"role": "user"}]}, b'[{"role":"user"}]'),
        ("images", {"prompt": "a cat", "input": "x"}, b'"a cat"'),
        ("items", {"items": [{"role": "user"}]}, b'[{"role":"user"}]'),
        ("responses", {"input": None}, None),
        ("responses", {"prompt": "a cat"}, None),
        ("agent", {"input": "a cat"}, None),
        ("none", {"input": "a cat"}, None),
    ],
)
def test_a_prompt_is_hashed_as_it_is_sent(
    reading: Reading, asked: dict[str, Any], expected: bytes | None
) -> None:
    """Where the door has one."""
    found, _ = hashed(body(asked), reading)

    assert found == Fingerprints(prompt=None if expected is None else by_hand(expected))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"user": "anna"}, "anna"),
        ({"safety_identifier": "anna", "user": "b"}, "anna"),
        ({"safety_identifier": "", "user": "m\u00fcller"}, "m\u00fcller"),
        ({"safety_identifier": 7, "user": None}, None),
    ],
)
def test_a_user_is_hashed_by_either_name(
    asked: dict[str, Any], expected: str | None
) -> None:
    """The deprecated one counts where the other says nothing."""
    found, _ = hashed(body(asked))

    assert found == Fingerprints(user=expected and by_hand(expected.encode()))


def test_white_space_between_tokens_makes_no_other_prompt() -> None:
    """What is hashed is what would be sent."""
    spaced = read_body_now(b'{ "input" : [ { "role" : "user" } ] }')

    assert hashed(spaced) == hashed(body({"input": [{"role": "user"}]}))


def test_a_large_prompt_gives_way_to_others() -> None:
    """Ten megabytes are hashed in pieces of one."""
    found, moments = hashed(read_body_now(encode({"input": "x" * 10_000_000})))

    assert moments == 9
    assert found.prompt == by_hand(b'"' + b"x" * 10_000_000 + b'"')
