"""What is decided about: what a request says of itself."""

from __future__ import annotations

import pytest
from asking import IMAGES, RESPONSES, TODAY, body, door

from imagegate.engine.request import Request

SOCKET = "WEBSOCKET /v1/responses"


def asked(at: str, kind: object = None, *, empty: bool = False) -> Request:
    said = {"input": "x"} | ({} if kind is None else {"type": kind})
    return Request(match=door(at), date=TODAY, body=None if empty else body(said))


@pytest.mark.parametrize(
    ("at", "kind", "expected"),
    [
        (RESPONSES, None, True),
        (RESPONSES, "response.steer", True),
        (SOCKET, "response.create", True),
        (SOCKET, "response.steer", False),
        (SOCKET, 7, False),
        (SOCKET, None, False),
    ],
)
def test_a_response_begins_with_a_request_or_a_message_that_says_so(
    at: str, kind: object, *, expected: bool
) -> None:
    """Other messages add to one that is there."""
    assert asked(at, kind).begins is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("response.steer", "response.steer"), (7, None), (None, None)],
)
def test_a_message_names_its_type(kind: object, expected: str | None) -> None:
    """Or none, and then nobody knows what it is."""
    found = asked(SOCKET, kind)

    assert found.is_message
    assert found.message_type == expected
    assert asked(SOCKET, empty=True).message_type is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (RESPONSES, True),
        (SOCKET, True),
        ("POST /v1/responses/compact", False),
        ("POST /v1/responses/input_tokens", False),
        ("POST /v1/conversations", False),
        (IMAGES, False),
    ],
)
def test_a_model_answers_at_some_doors(at: str, *, expected: bool) -> None:
    """Elsewhere tools are only counted, stored or not there."""
    assert asked(at).is_answered is expected
