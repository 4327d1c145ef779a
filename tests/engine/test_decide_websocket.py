"""A header of a WebSocket was sent when it opened, and holds for all its messages."""

from __future__ import annotations

from asking import HEADER, ask, tool

RULES = """
models: { default: gpt-image-1-mini, gpt-image-1-mini: {}, otherwise: block }
deployments: { mini: gpt-image-1-mini, dear: gpt-image-2 }
"""
SOCKET = "WEBSOCKET /openai/v1/responses"
MESSAGE = {"type": "response.create", "tools": [tool(model="mini")]}


def test_a_header_that_agrees_goes_with_the_messages() -> None:
    """It was sent with the handshake."""
    answer = ask(RULES, MESSAGE, at=SOCKET, headers={HEADER: "mini"})

    assert answer.word in {"forward", "rewrite"}


def test_a_message_that_needs_another_header_is_refused() -> None:
    """Nothing can be written where it would be read."""
    answer = ask(RULES, MESSAGE, at=SOCKET)

    assert answer.rules == ["always.header"]
    assert HEADER in answer.violations[0].message
